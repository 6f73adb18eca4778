"""Sequences in an order: steps, batches, and where a run stands among them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from .packing import Sequences
from .sample_set import Samples
from .tokens import Sample


@dataclass(frozen=True)
class Batch:
    """One row of T tokens: samples laid end to end.

    `input_ids`, `position_ids`: (1, T). `lengths`: of the samples, they sum to T. `predict_at`: (K,)
    the positions whose next token carries loss. `targets`: (K,) those tokens.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    lengths: list[int]
    predict_at: torch.Tensor
    targets: torch.Tensor

    @property
    def cu_seq_lens(self) -> torch.Tensor:
        """(samples + 1,) int32: where each sample starts, and T; what flash attention asks for."""
        ends = torch.tensor([0, *self.lengths], device=self.input_ids.device)
        return ends.cumsum(0).to(torch.int32)


def batch(samples: Sequence[Sample], device: str = "cpu") -> Batch:
    """Lays samples end to end. No samples: one token that predicts nothing, to keep ranks in step."""
    if not samples:
        samples = [Sample(np.zeros(1, np.int32), np.zeros(1, bool), "")]
    lengths = [len(sample.ids) for sample in samples]
    ids = np.concatenate([sample.ids for sample in samples]).astype(np.int64)
    positions = np.concatenate([np.arange(length) for length in lengths])
    loss = np.concatenate([sample.loss for sample in samples])
    loss[positions == 0] = False  # no label crosses from one sample to the next
    (targets,) = np.nonzero(loss)
    return Batch(
        torch.from_numpy(ids)[None].to(device),
        torch.from_numpy(positions)[None].to(device),
        lengths,
        torch.from_numpy(targets - 1).to(device),
        torch.from_numpy(ids[targets]).to(device),
    )


@lru_cache(maxsize=2)
def shuffled(seed: int, epoch: int, size: int) -> np.ndarray:
    """The numbers 0 to size - 1 in the order of an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(size)


@lru_cache(maxsize=2)
def grouped(
    seed: int, epoch: int, sequences: Sequences, samples: Samples, batch_size: int
) -> np.ndarray:
    """The order of an epoch in which the sequences of a batch are about equally long.

    Of the shuffled sequences, each 50 batches are sorted by length; the batches are shuffled again.
    """
    order = shuffled(seed, epoch, len(sequences))
    lengths = np.add.reduceat(samples.lengths[sequences.members], sequences.bounds[:-1])[order]
    within = np.lexsort((-lengths, np.arange(len(order)) // (50 * batch_size)))
    whole = len(order) // batch_size * batch_size
    batches = order[within][:whole].reshape(-1, batch_size)
    batches = batches[np.random.default_rng((seed, epoch, 1)).permutation(len(batches))]
    return np.concatenate([batches.ravel(), order[within][whole:]])


@dataclass(frozen=True)
class Step:
    """This rank's micro-batches of an optimizer step, and the counts over all ranks.

    `num_pairs`: of two tokens of a sample, which is what attention computes on. `rows`: where they all come
    from (`file:line`).
    """

    micro_batches: list[Batch]
    num_supervised: int
    num_tokens: int
    num_pairs: int
    num_samples: int
    epoch: float
    rows: Callable[[], list[str]] = list


MANY = 16  # rows that a message names


def listed(rows: Sequence[str]) -> str:
    """Rows in a message, the first of them if they are many."""
    more = f" and {len(rows) - MANY} more" if len(rows) > MANY else ""
    return ", ".join(rows[:MANY]) + more


@dataclass(frozen=True)
class Stream:
    """The order of training: which sequences make up step n is a pure function of (seed, n).

    The epochs follow each other without a seam: a step that straddles two takes from both, so every
    sequence is seen exactly once an epoch. The last step may be short; `end` is where the stream ends
    (a number of sequences), None never. `group_by_length`: see `grouped`.
    """

    samples: Samples
    sequences: Sequences
    seed: int
    rank: int
    world_size: int
    micro_batch_size: int
    gradient_accumulation_steps: int
    end: int | None = None
    device: str = "cpu"
    group_by_length: bool = False

    @property
    def global_batch_size(self) -> int:
        return self.world_size * self.micro_batch_size * self.gradient_accumulation_steps

    def turn(self, number: int) -> int:
        """Which micro-batch of a step this rank takes as its `number`th."""
        return self.rank + number * self.world_size

    def seen(self, steps: int) -> int:
        """How many sequences so many steps take."""
        taken = steps * self.global_batch_size
        return taken if self.end is None else min(taken, self.end)

    def sequence(self, cursor: int) -> np.ndarray:
        """The numbers of the samples in the sequence at a place in the stream."""
        epoch, place = divmod(cursor, len(self.sequences))
        if self.group_by_length:
            order = grouped(self.seed, epoch, self.sequences, self.samples, self.global_batch_size)
        else:
            order = shuffled(self.seed, epoch, len(self.sequences))
        return self.sequences[order[place]]

    def numbers(self, step: int, turn: int | None = None) -> np.ndarray:
        """The numbers of the samples of a step, or of one of its micro-batches."""
        cursors = range(self.seen(step), self.seen(step + 1))
        if turn is not None:
            size = self.micro_batch_size
            cursors = cursors[turn * size : (turn + 1) * size]
        return np.concatenate([np.empty(0, np.int64), *(self.sequence(c) for c in cursors)])

    def rows(self, step: int, turn: int | None = None) -> list[str]:
        """Where the samples of a step come from (`file:line`), or those of one of its micro-batches."""
        return list(dict.fromkeys(self.samples[int(n)].row for n in self.numbers(step, turn)))

    def step(self, number: int) -> Step:
        """Step `number`, from 0. Ranks take micro-batches in turn."""
        everything = self.numbers(number)
        lengths = self.samples.lengths[everything].astype(np.int64)
        mine = [self.numbers(number, self.turn(n)) for n in range(self.gradient_accumulation_steps)]
        return Step(
            [batch([self.samples[int(n)] for n in each], self.device) for each in mine],
            int(self.samples.supervised[everything].sum()),
            int(lengths.sum()),
            int((lengths**2).sum()),
            len(everything),
            self.seen(number + 1) / len(self.sequences),
            lambda: self.rows(number),
        )
