"""Training data: rows become samples, samples share sequences, sequences stand in an order.

A micro-batch is one row of T tokens: its samples laid end to end, without padding. Positions restart at
each sample and attention stays inside it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ..errors import RunError
from ..process import distributed
from . import cache, packing
from . import ledger as ledgers
from .ledger import Ledger
from .packing import Sequences
from .reading import Source
from .sample_set import Samples
from .tokenizer import load_tokenizer
from .tokenizing import Settings
from .tokens import Sample, read_template

__all__ = [
    "Batch",
    "Source",
    "Stream",
    "check_ids",
    "load",
    "load_tokenizer",
    "one_by_one",
    "pack",
    "read_template",
    "split",
    "weigh",
]


def load(
    sources: Sequence[Source],
    tokenizer: PreTrainedTokenizerBase,
    max_seq_length: int,
    loss_on: str,
    on_overlong: str,
    ledger: str | Path,
    *,
    max_dropped_fraction: float | None = None,
    max_truncated_fraction: float | None = None,
    apart_from: Samples | None = None,
) -> Samples:
    """Reads, renders and tokenizes the sources; each fate of a row is counted, shown and written down.

    `on_overlong` is "drop", "truncate" or "error". `ledger` is the JSON file for the counts. `apart_from`:
    samples that must not be among these, as those of training in validation; they are dropped. The tokens
    are on disk (see `cache`): what is tokenized once is only opened the next time. Raises RunError for a
    row that can't be read, when no sample is left, or a source lost more of its rows than it may.
    """
    settings = Settings(max_seq_length, loss_on, on_overlong)
    found = [cache.tokens(source, tokenizer, settings) for source in sources]
    counts = [one.ledger for one in found]
    samples = Samples.of([one.table for one in found], [one.moved for one in found])
    if apart_from is not None:
        samples = _without(samples, apart_from, counts)
    doubles = np.bincount(samples.source[samples.doubles()], minlength=len(counts))
    for count, double in zip(counts, doubles.tolist(), strict=True):
        count.duplicates = double
    if distributed.place()[0] == 0:
        said = [f"{source.name}: {one.said}" for source, one in zip(sources, found, strict=True)]
        parts = [*said, ledgers.table(counts), ledgers.many_dropped(counts)]
        print("\n".join(filter(None, parts)), flush=True)
        ledgers.write(counts, ledger)
    ledgers.check(counts, max_dropped_fraction, max_truncated_fraction)
    return samples


def check_ids(model: Any, tokenizer: PreTrainedTokenizerBase, *sets: Samples) -> None:
    """Raises RunError for a row with a token that the model has no embedding for."""
    rows = model.config.get_text_config().vocab_size
    if sample := next(filter(None, (samples.beyond(rows) for samples in sets)), None):
        require_embeddings(model, tokenizer, sample.ids, sample.row)


def require_embeddings(
    model: Any, tokenizer: PreTrainedTokenizerBase, ids: Iterable[int], where: str
) -> None:
    """Raises RunError for a token that the model has no embedding for."""
    rows, number = model.config.get_text_config().vocab_size, int(max(ids))
    if number < rows:
        return
    closes = number == tokenizer.eos_token_id
    raise RunError(
        "id-beyond-model",
        f"this has the token {number} ({tokenizer.convert_ids_to_tokens(number)}"
        f"{', the eos_token, which closes each text' if closes else ''}): the tokenizer "
        f"has {len(tokenizer):,} tokens, and the model {rows:,} embeddings",
        "choose a base whose tokenizer was saved with the model",
        "or set eos_token in its tokenizer_config.json to a token that the model has"
        if closes
        else "or take that token out of the text, and out of the chat template",
        "or give the model more rows in transformers: "
        f"resize_token_embeddings({len(tokenizer)}), save it, and train them with method.modules_to_save",
        where=where,
    )


def _without(samples: Samples, others: Samples, counts: Sequence[Ledger]) -> Samples:
    """The samples whose tokens are not among the others'; `counts` (one a source) say what went."""
    leaked = np.isin(samples.digests, others.digests)
    for number, count in enumerate(counts):
        own = samples.source == number
        gone, left = np.flatnonzero(own & leaked), samples.lengths[own & ~leaked]
        for place in gone:
            count.drop("also in the training data", samples[int(place)].row)
        count.supervised_tokens = int(samples.supervised[own & ~leaked].sum())
        count.samples, count.tokens = len(left), int(left.sum())
        count.longest = int(left.max(initial=0))
    return samples.take(np.flatnonzero(~leaked))


def split(samples: Samples, fraction: float, seed: int) -> tuple[Samples, Samples]:
    """Holds out at least `fraction` of the samples: (training, validation).

    Which ones is a function of content and seed; equal samples stay on one side.
    """
    ranks = _mixed(samples.digests, seed)
    border = np.sort(ranks)[int(np.ceil(fraction * len(ranks))) - 1]
    held_out = ranks <= border
    if held_out.all():
        raise RunError("no-samples", "data.validation_fraction leaves no row to train on")
    return samples.take(np.flatnonzero(~held_out)), samples.take(np.flatnonzero(held_out))


def _mixed(digests: np.ndarray, seed: int) -> np.ndarray:
    """The digests (uint64) in an order of the seed's own (splitmix64)."""
    x = digests + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def weigh(samples: Samples, sources: Sequence[Source], seed: int) -> Samples:
    """The samples of an epoch: `source.weight` times those of each source.

    A weight of 2 takes each sample twice, 0.5 half of them, 1.25 each once and a quarter twice. Which
    ones is a function of the seed, and the same in every epoch. The number of samples is exact, rounded
    to a whole one.
    """
    taken = []
    for number, source in enumerate(sources):
        own = np.flatnonzero(samples.source == number)
        wanted = round(source.weight * len(own))
        if len(own) and not wanted:
            raise RunError(
                "no-samples",
                f"weight {source.weight} of {len(own)} samples is none of them",
                f"raise its weight in [[data.train]]: {1 / len(own):.2g} is one sample",
                "or take the source out",
                where=source.name,
            )
        whole, part = divmod(wanted, max(len(own), 1))
        chosen = np.random.default_rng((seed, number)).permutation(len(own))[:part]
        taken += [own] * whole + [own[np.sort(chosen)]]
    return samples.take(np.concatenate(taken))


def pack(samples: Samples, max_seq_length: int) -> Sequences:
    """Sequences of several samples' numbers, each of at most `max_seq_length` tokens."""
    return packing.pack(samples.lengths, max_seq_length)


def one_by_one(samples: Samples) -> Sequences:
    """Sequences of one sample's number each."""
    return Sequences(np.arange(len(samples)), np.arange(len(samples) + 1))


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
