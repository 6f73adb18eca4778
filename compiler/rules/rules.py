"""What keys mean together: one named function for each rule. They judge and change nothing.

A rule takes the spec, the facts and the document (for places) and yields diagnostics. Each file
lists its own at its end.
"""

from __future__ import annotations

from . import (
    base,
    data,
    deploy,
    experts,
    hardware,
    hub,
    method,
    model,
    optim,
    outputs,
    parallel,
    pinned,
    targets,
    tokens,
    train,
)
from .rule import Rule

FILES = (
    *(train, hardware, parallel, deploy, optim, data, outputs, model),
    *(base, hub, tokens, targets, method, experts, pinned),
)
RULES: tuple[Rule, ...] = tuple(rule for file in FILES for rule in file.RULES)
