"""Warnings about how long a run is, which need the plan: too few steps, too many rows left out."""

from __future__ import annotations

from collections.abc import Iterator

from ...runtime.train.duration import FEW, about
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at, first_set
from ..document.load import Document
from ..facts.gather import Facts
from ..plan.duration import Duration, duration
from ..plan.plan import Plan
from ..plan.values import Origin, Value

GOAL = 50  # steps that a way out aims at
EPOCHS = 12  # that a way out asks for, at most
LOST = 0.2  # share of the rows that may be too long, by an estimate, without a word

BATCH: KeyPath = ("train", "global_batch_size")
EPOCHS_KEY: KeyPath = ("train", "num_epochs")
LENGTH: KeyPath = ("model", "max_seq_length")


def of_duration(plan: Plan, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """What deserves a word about the length of the run; nothing where it can't be told."""
    found = duration(plan, facts)
    if found is None:
        return
    if plan.train.max_steps is None and found.steps < FEW:
        yield _few_steps(plan, facts, document, found)
    if plan.data.on_overlong.value == "drop" and found.overlong > LOST:
        yield _many_dropped(plan, document, found)


def _few_steps(plan: Plan, facts: Facts, document: Document, found: Duration) -> Diagnostic:
    batch, packed = plan.batch.global_batch_size.value, plan.data.packing.value
    units = about(found.sequences, "packed sequence" if packed else "sample")
    each = " each" * (found.sequences > 1)
    held = f" of about {about(found.rows_per_sequence, 'row')}{each}" if packed else ""
    epochs = plan.train.num_epochs.value if plan.train.num_epochs else 1
    return at(
        document,
        first_set(document, BATCH, EPOCHS_KEY),
        "few-steps",
        f"the run has about {about(found.steps, 'optimizer step')}, in which a model learns little",
        on="value",
        why=f"an epoch is about {units}{held}; {about(epochs, 'epoch')}, {batch} "
        f"{'sequence' if packed else 'sample'}{'s' * (batch > 1)} a step",
        hints=_ways_out(plan, facts, found),
        severity="warning",
    )


def _ways_out(plan: Plan, facts: Facts, found: Duration) -> list[str]:
    """Changes that give enough steps, each with how many; the best one where none gives enough."""
    sizes = _smaller(plan)
    batch = next(
        (s for s in sizes if _steps(_with_batch(plan, s), facts) >= GOAL), min(sizes, default=0)
    )
    epochs = min(EPOCHS, -(-round(found.epochs) * GOAL // found.steps))
    length = max(64, found.longest)
    changes: dict[str, Plan] = {}
    if batch:
        changes[f"set train.global_batch_size to {batch}"] = _with_batch(plan, batch)
    if epochs > found.epochs:
        more = plan._replace(train=plan.train._replace(num_epochs=_set(epochs)))
        changes[f"set train.num_epochs to {epochs}"] = more
    if plan.data.packing.value and length * 2 <= plan.model.max_seq_length.value:
        shorter = plan._replace(model=plan.model._replace(max_seq_length=_set(length)))
        changes[f"set model.max_seq_length to {length}, for fewer rows a sequence"] = shorter
    steps = {change: _steps(other, facts) for change, other in changes.items()}
    if batch and max(steps.values()) < FEW:
        steps = _both(plan, facts, batch) | steps
    enough = max(found.steps + 1, min(FEW, max(steps.values(), default=0)))
    ways = [f"{way}: about {about(n, 'step')}" for way, n in steps.items() if n >= enough]
    ways.append("add rows")
    return [ways[0], *(f"or {way}" for way in ways[1:])]


def _both(plan: Plan, facts: Facts, batch: int) -> dict[str, int]:
    """A smaller batch with more epochs, and the steps that they make; {} where they are too few, too."""
    smaller = _with_batch(plan, batch)
    found = duration(smaller, facts)
    if found is None or not found.steps:
        return {}
    epochs = min(EPOCHS, -(-round(found.epochs) * GOAL // found.steps))
    more = smaller._replace(train=smaller.train._replace(num_epochs=_set(epochs)))
    change = f"set train.global_batch_size to {batch} and train.num_epochs to {epochs}"
    steps = _steps(more, facts)
    return {change: steps} if steps >= FEW else {}


def _with_batch(plan: Plan, size: int) -> Plan:
    return plan._replace(batch=plan.batch._replace(global_batch_size=_set(size)))


def _steps(plan: Plan, facts: Facts) -> int:
    found = duration(plan, facts)
    return found.steps if found else 0


def _smaller(plan: Plan) -> list[int]:
    """Smaller global batches that can be shared out evenly, largest first."""
    devices = plan.batch.data_parallel_size or plan.batch.world_size
    unit = devices.value * plan.batch.micro_batch_size.value
    sizes = [unit * 2**power for power in range(12)]
    return sorted((s for s in sizes if s < plan.batch.global_batch_size.value), reverse=True)


def _set(value: int) -> Value[int]:
    """A value as a change of the spec would set it."""
    return Value(value, Origin("spec"))


def _many_dropped(plan: Plan, document: Document, found: Duration) -> Diagnostic:
    limit = plan.model.max_seq_length.value
    return at(
        document,
        LENGTH if document.key(LENGTH) else ("model", "base"),
        "many-dropped",
        f"about {found.overlong:.0%} of the rows are longer than {limit:,} tokens, and would be dropped",
        on="value",
        why="by the bytes of the rows; `ftc check --data` counts their tokens",
        hints=[
            f"set model.max_seq_length to {found.longest}: that would keep about 99% of the rows",
            'or set data.on_overlong = "truncate", which cuts them off',
        ],
        severity="warning",
    )
