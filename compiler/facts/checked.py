"""What a spec is once it was judged."""

from __future__ import annotations

from typing import NamedTuple

from ..diagnostics.diagnostic import Diagnostic
from ..spec.spec import Spec
from .gather import Facts


class Checked(NamedTuple):
    """A valid spec with the facts that it was judged by, and what deserves a word all the same."""

    spec: Spec
    facts: Facts
    warnings: tuple[Diagnostic, ...]
