"""What a difference does to a run, in numbers that are known before data are packed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..plan.parameters import trainable_parameters
from .sides import Side


@dataclass(frozen=True)
class Effect:
    """`old` and `new` are None where a side has no such number, or it is not known."""

    name: str
    old: int | None
    new: int | None


def effects(old: Side, new: Side) -> tuple[Effect, ...]:
    """Those of the numbers that differ."""
    pairs = ((name, measure(old), measure(new)) for name, measure in MEASURES.items())
    return tuple(Effect(name, *values) for name, *values in pairs if values[0] != values[1])


def _of(side: Side, path: str) -> Any:
    value = side.plan.get(path)
    return value.value if value else None


def tokens_per_step(side: Side) -> int | None:
    """At most so many: the sequences of a global batch at their full length."""
    batch, length = _of(side, "batch.global_batch_size"), _of(side, "model.max_seq_length")
    return batch * length if batch and length else None


MEASURES: dict[str, Callable[[Side], int | None]] = {
    "tokens per step, at most": tokens_per_step,
    "epochs": lambda side: _of(side, "train.num_epochs"),
    "steps": lambda side: _of(side, "train.max_steps"),
    "trainable parameters": lambda side: trainable_parameters(side.plan, side.architecture),
}
