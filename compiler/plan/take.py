"""Values with their origin: out of a spec, or derived."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import get_annotations
from typing import Any, TypeVar

from ..spec.spec import Spec
from .values import Origin, Value

T = TypeVar("T")


class Taker:
    """Takes values out of a spec by their path, as in "data.train[0].source", with their origin: the spec, or its
    default."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __call__(self, path: str) -> Value[Any]:
        table: Any = self.spec
        *parents, key = re.findall(r"[^.\[\]]+", path)
        for parent in parents:
            table = table[int(parent)] if parent.isdigit() else getattr(table, parent)
        return Value(
            getattr(table, key),
            Origin("spec" if key in table.model_fields_set else "default", path),
        )

    def given(self, path: str) -> Value[Any] | None:
        """The same, but None for a value that says "not at all" (None, 0, false)."""
        value = self(path)
        return value if value.value else None

    def set(self, path: str) -> Value[Any] | None:
        """The same, but None for a value that was left open; 0 is a value."""
        value = self(path)
        return None if value.value is None else value

    def default(self, path: str, value: Any) -> Value[Any]:
        """The same, with a default of what was left open."""
        return self.set(path) or Value(value, Origin("default", path))

    def fill(self, plan: Callable[..., T], table: str, **others: Any) -> T:
        """The plan of a table: `others`, and for each field beside them the key of its name, `given` where the
        field may be None."""
        for name, annotation in get_annotations(plan).items():
            if name not in others:
                take = self.given if "| None" in str(annotation) else self
                others[name] = take(f"{table}.{name}".lstrip("."))
        return plan(**others)


def derived(value: T, formula: str) -> Value[T]:
    return Value(value, Origin("derived", formula))


def target(spec: Spec) -> str:
    return "a CPU" if spec.hardware.device == "cpu" else str(spec.hardware.accelerator)
