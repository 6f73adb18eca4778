"""How long a run is: optimizer steps, sequences, rows and tokens, as far as the compiler can tell.

Steps are exact where the spec sets them (`train.max_steps`); the rest is by the bytes of the rows (see
`lengths`), and said with "about". Sequences hold whole samples, best fit, so they are nearly full.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import ceil
from typing import NamedTuple

from ..facts.gather import Facts
from ..rows.lengths import AROUND, BYTES
from .plan import Plan

TEXTS = ("pretrain", "pretokenized")  # formats that no chat template is for
LARGEST = 10**12  # of steps, epochs, samples: what is larger is a slip, no number to reckon with


class Measured(NamedTuple):
    """A source in an epoch: `rows` rows, of which `lengths` are some (about so many tokens each)."""

    rows: float
    lengths: Sequence[int]
    cut: bool  # whether a row that is too long makes several samples


class Duration(NamedTuple):
    """`rows`, `tokens` and `sequences` are an epoch's, without what is dropped; `epochs` may be a part.

    `overlong`: the share of the rows that are longer than max_seq_length; `longest`: the length that would
    keep 99 % of them.
    """

    rows: float
    tokens: float
    sequences: int
    steps: int
    epochs: float
    overlong: float
    longest: int

    @property
    def rows_per_sequence(self) -> float:
        return self.rows / self.sequences

    @property
    def all_tokens(self) -> float:
        return self.tokens * self.epochs


def duration(plan: Plan, facts: Facts) -> Duration | None:
    """How long the run is about; None if a source can't be measured, as one of the Hub."""
    sources = list(_sources(plan, facts))
    if not sources or None in sources:
        return None
    limit = plan.model.max_seq_length.value
    batch = min(plan.batch.global_batch_size.value, LARGEST)
    held_out = plan.data.validation_fraction.value if plan.data.validation_fraction else 0
    drops = plan.data.on_overlong.value == "drop"
    whole: list[tuple[int, float]] = []  # lengths of rows that are not cut, and how many have them
    rows = samples = tokens = large = 0.0
    for source in (source for source in sources if source is not None):
        count = source.rows * (1 - held_out) / len(source.lengths)
        for length in source.lengths:
            if not source.cut:
                whole.append((length, count))
                if length > limit and drops:
                    continue
                length = min(length, limit)
            rows += count
            samples += count * ceil(length / limit)
            tokens += count * length
            large += count * (length // limit + (length % limit > limit / 2))
    if rows <= 0:
        return None
    packed = max(tokens / limit, large)  # two samples of more than half of it share none
    sequences = max(1, ceil(packed if plan.data.packing.value else samples))
    if plan.train.max_steps:
        steps = min(plan.train.max_steps.value, LARGEST)
        epochs = steps * batch / sequences
    else:
        epochs = float(min(plan.train.num_epochs.value, LARGEST) if plan.train.num_epochs else 1)
        steps = ceil(epochs * sequences / batch)
    overlong = sum(count for length, count in whole if length > limit)
    share = overlong / sum(count for _, count in whole) if whole else 0.0
    return Duration(rows, tokens, sequences, steps, epochs, share, _keeps(whole) if whole else 0)


def _keeps(lengths: list[tuple[int, float]]) -> int:
    """The length that 99 % of the rows have at most, up to a multiple of 64."""
    left = sum(count for _, count in lengths) * 0.99
    for length, count in sorted(lengths):
        left -= count
        if left <= 1e-9:
            return ceil(length / 64) * 64
    return ceil(max(lengths)[0] / 64) * 64


def _sources(plan: Plan, facts: Facts) -> Iterator[Measured | None]:
    """The training sources; None for one that can't be measured. The files of a pattern count one by one."""
    for number, source in enumerate(plan.data.train):
        file = facts.files.get(("train", number))
        parts = (file.parts or (file,)) if file else ()
        counts = [part.about if part.rows is None else part.rows for part in parts]
        if not parts or not all(part.lengths for part in parts) or None in counts:
            yield None
            continue
        share = source.weight.value if source.weight else 1.0
        total = sum(count or 0 for count in counts)
        if source.max_samples:
            share *= min(source.max_samples.value, total) / total
        name = source.format.value
        more = 0 if name in TEXTS else _system(facts.template or "")
        for part, count in zip(parts, counts, strict=True):
            lengths = [length + more for length in part.lengths]
            yield Measured((count or 0) * share, lengths, name == "pretrain")


# How the system text begins that a chat template puts before a conversation that has none.
SYSTEM = re.compile(r"(?:You are |A chat between |Cutting Knowledge Date)[^'\"<{]*")


def _system(template: str) -> int:
    """About how many tokens the system text of a chat template has."""
    found = SYSTEM.search(template)
    return len(found[0]) // BYTES + AROUND + 1 if found else 0
