"""What a rule is, and the key paths that several of them name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.data import Source
from ..spec.spec import Spec

Rule = Callable[[Spec, Facts, Document], Iterator[Diagnostic]]
SourceRule = Callable[[Source, KeyPath, Facts, Document], Iterator[Diagnostic]]
BASE: KeyPath = ("model", "base")
DEVICE: KeyPath = ("hardware", "device")
STAGE: KeyPath = ("parallel", "zero_stage")
SHARED: KeyPath = ("parallel", "sequence_parallel_size")


def conflict(document: Document, path: KeyPath, message: str, **more: Any) -> Diagnostic:
    """Keys that don't go together, told at one of them; `more`: the rest of what `at` takes."""
    return at(document, path, "conflict", message, **more)
