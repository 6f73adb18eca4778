"""Values with their origin: out of a spec, or derived."""

from __future__ import annotations

from typing import Any, TypeVar

from ..spec.spec import Spec
from .values import Origin, Value

T = TypeVar("T")


class Taker:
    """Takes values out of a spec by dotted path, with their origin: the spec, or its default.

    `root`, found in the spec at `prefix`, is another table to start from.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __call__(self, path: str, root: Any = None, prefix: str = "") -> Value[Any]:
        table: Any = self.spec if root is None else root
        *parents, key = path.split(".")
        for parent in parents:
            table = getattr(table, parent)
        kind = "spec" if key in table.model_fields_set else "default"
        return Value(getattr(table, key), Origin(kind, prefix + path))

    def given(self, path: str, root: Any = None, prefix: str = "") -> Value[Any] | None:
        """The same, but None for a value that says "not at all" (None, 0, false)."""
        value = self(path, root, prefix)
        return value if value.value else None

    def set(self, path: str) -> Value[Any] | None:
        """The same, but None for a value that was left open; 0 is a value."""
        value = self(path)
        return None if value.value is None else value


def derived(value: T, formula: str) -> Value[T]:
    return Value(value, Origin("derived", formula))


def target(spec: Spec) -> str:
    return "a CPU" if spec.hardware.device == "cpu" else str(spec.hardware.accelerator)
