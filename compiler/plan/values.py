"""A value with its origin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Literal, NamedTuple, TypeGuard, TypeVar

from ..diagnostics.tree import is_tuple

T = TypeVar("T")


class Origin(NamedTuple):
    """Where a value comes from.

    `detail`: the key (spec, default), the preset's name, or the formula.
    """

    kind: Literal["spec", "default", "preset", "derived"]
    detail: str = ""

    def __str__(self) -> str:
        return {"preset": f"preset {self.detail}", "derived": f"= {self.detail}"}.get(
            self.kind, self.kind
        )


class Value(NamedTuple, Generic[T]):
    value: T
    origin: Origin


def is_value(value: Any) -> TypeGuard[Value[Any]]:
    return isinstance(value, Value)


def leaves(plan: Any, prefix: str = "") -> Iterator[tuple[str, Value[Any]]]:
    """Every value of the plan by its dotted path, as ("optim.learning_rate", Value)."""
    for name, inner in zip(plan._fields, plan, strict=True):
        path = f"{prefix}{name}"
        if is_value(inner):
            yield path, inner
        elif hasattr(inner, "_fields"):
            yield from leaves(inner, f"{path}.")
        elif is_tuple(inner):
            for index, item in enumerate(inner):
                yield from leaves(item, f"{path}[{index}].")
