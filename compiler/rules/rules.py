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

RULES: tuple[Rule, ...] = (
    *train.RULES,
    *hardware.RULES,
    *parallel.RULES,
    *deploy.RULES,
    *optim.RULES,
    *data.RULES,
    *outputs.RULES,
    *model.RULES,
    *base.RULES,
    *hub.RULES,
    *tokens.RULES,
    *targets.RULES,
    *method.RULES,
    *experts.RULES,
    *pinned.RULES,
)
