"""Training data: rows become samples, samples share sequences, sequences stand in an order.

A micro-batch is one row of T tokens: its samples laid end to end, without padding. Positions restart at
each sample and attention stays inside it.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from . import packing
from .errors import RunError
from .reading import Source, read
from .tokens import Sample, chat_samples, read_template, text_samples

__all__ = [
    "Batch",
    "Ledger",
    "Source",
    "Stream",
    "load",
    "one_by_one",
    "pack",
    "read_template",
    "split",
]


@dataclass
class Ledger:
    """What became of a source's rows. Tokens are counted after dropping and truncation."""

    source: str
    rows: int = 0
    samples: int = 0
    dropped_overlong: int = 0
    dropped_without_loss: int = 0
    truncated: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    first_dropped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lost = self.dropped_overlong + self.dropped_without_loss
        text = (
            f"{self.source}: {self.rows:,} rows, {self.samples:,} samples, {self.tokens:,} tokens, "
            f"{self.supervised_tokens:,} with loss"
        )
        if lost:
            text += (
                f"; dropped {self.dropped_overlong:,} too long and {self.dropped_without_loss:,} "
                f"without loss (first: {', '.join(self.first_dropped)})"
            )
        return text + (f"; truncated {self.truncated:,}" if self.truncated else "")


def num_supervised(sample: Sample) -> int:
    """How many tokens of the sample are predicted; the first one never is."""
    return int(sample.loss[1:].sum())


def load(
    sources: Sequence[Source],
    tokenizer: PreTrainedTokenizerBase,
    max_seq_length: int,
    loss_on: str,
    on_overlong: str,
    ledger: str | Path,
) -> list[Sample]:
    """Reads, renders and tokenizes the sources; each fate of a row is counted, shown and written down.

    `on_overlong` is "drop", "truncate" or "error". `ledger` is the JSON file for the counts. Raises
    RunError for a row that can't be read, or when no sample is left.
    """
    samples: list[Sample] = []
    counts = []
    for source in sources:
        count = Ledger(source.name)
        for sample in _tokenize(source, tokenizer, max_seq_length, loss_on, count):
            kept = _fit(sample, max_seq_length, on_overlong, count)
            if kept is not None:
                samples.append(kept)
                count.samples += 1
                count.tokens += len(kept.ids)
                count.supervised_tokens += num_supervised(kept)
        counts.append(count)
    if int(os.environ.get("RANK", "0")) == 0:
        print("\n".join(str(count) for count in counts), flush=True)
        Path(ledger).parent.mkdir(parents=True, exist_ok=True)
        Path(ledger).write_text(json.dumps([asdict(c) for c in counts], indent=2) + "\n", "utf-8")
    if not samples:
        raise RunError(
            "no-samples",
            "no row is left to train on: " + "; ".join(str(count) for count in counts),
            'raise model.max_seq_length or set data.on_overlong = "truncate" if rows are too long',
        )
    return samples


def _tokenize(
    source: Source,
    tokenizer: PreTrainedTokenizerBase,
    max_seq_length: int,
    loss_on: str,
    count: Ledger,
) -> list[Sample]:
    rows = list(read(source))
    count.rows = len(rows)
    places = [place for place, _ in rows]
    contents = [content for _, content in rows]
    if contents and isinstance(contents[0], str):
        return text_samples(tokenizer, contents, places, max_seq_length)
    return chat_samples(tokenizer, contents, places, loss_on)


def _fit(sample: Sample, max_seq_length: int, on_overlong: str, count: Ledger) -> Sample | None:
    """The sample as it will be trained on, or None if it is dropped."""
    if len(sample.ids) > max_seq_length:
        if on_overlong == "error":
            raise RunError(
                "overlong-row",
                f"{len(sample.ids)} tokens are more than max_seq_length, which is {max_seq_length}",
                'raise model.max_seq_length, or set data.on_overlong to "drop" or "truncate"',
                where=sample.row,
            )
        if on_overlong == "drop":
            count.dropped_overlong += 1
            count.first_dropped = [*count.first_dropped, sample.row][:3]
            return None
        sample = Sample(sample.ids[:max_seq_length], sample.loss[:max_seq_length], sample.row)
        count.truncated += 1
    if num_supervised(sample) == 0:
        count.dropped_without_loss += 1
        count.first_dropped = [*count.first_dropped, sample.row][:3]
        return None
    return sample


def split(
    samples: Sequence[Sample], fraction: float, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Holds out at least `fraction` of the samples: (training, validation).

    Which ones is a function of content and seed; equal samples stay on one side.
    """

    def rank(sample: Sample) -> bytes:
        return hashlib.sha256(seed.to_bytes(8, "big") + sample.ids.tobytes()).digest()

    ranks = [rank(sample) for sample in samples]
    border = sorted(ranks)[int(np.ceil(fraction * len(ranks))) - 1] if fraction > 0 else b""
    train = [s for s, r in zip(samples, ranks, strict=True) if r > border]
    if not train:
        raise RunError("no-samples", "data.validation_fraction leaves no row to train on")
    return train, [s for s, r in zip(samples, ranks, strict=True) if r <= border]


def pack(samples: Sequence[Sample], max_seq_length: int) -> list[list[int]]:
    """Sequences of several samples' numbers, each of at most `max_seq_length` tokens."""
    return packing.pack([len(sample.ids) for sample in samples], max_seq_length)


def one_by_one(samples: Sequence[Sample]) -> list[list[int]]:
    """Sequences of one sample's number each."""
    return [[number] for number in range(len(samples))]


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


@dataclass(frozen=True)
class Step:
    """This rank's micro-batches of an optimizer step, and the counts over all ranks."""

    micro_batches: list[Batch]
    num_supervised: int
    num_tokens: int
    epoch: float


@dataclass(frozen=True)
class Stream:
    """The order of training: which sequences make up step n is a pure function of (seed, n).

    The epochs follow each other without a seam: a step that straddles two takes from both, so every
    sequence is seen exactly once an epoch. The last step may be short; `end` is where the stream ends
    (a number of sequences), None never.
    """

    samples: Sequence[Sample]
    sequences: Sequence[Sequence[int]]
    seed: int
    rank: int
    world_size: int
    micro_batch_size: int
    gradient_accumulation_steps: int
    end: int | None = None
    device: str = "cpu"

    @property
    def global_batch_size(self) -> int:
        return self.world_size * self.micro_batch_size * self.gradient_accumulation_steps

    def sequence(self, cursor: int) -> list[Sample]:
        """The samples of the sequence at a place in the stream."""
        epoch, place = divmod(cursor, len(self.sequences))
        order = shuffled(self.seed, epoch, len(self.sequences))
        return [self.samples[number] for number in self.sequences[order[place]]]

    def step(self, number: int) -> Step:
        """Step `number`, from 0. Ranks take micro-batches in turn."""
        first = number * self.global_batch_size
        last = first + self.global_batch_size
        cursors = range(first, last if self.end is None else min(last, self.end))
        sequences = [self.sequence(cursor) for cursor in cursors]
        everything = [sample for sequence in sequences for sample in sequence]
        size = self.micro_batch_size
        turns = range(self.rank, self.global_batch_size // size, self.world_size)
        return Step(
            [
                batch([s for seq in sequences[t * size : (t + 1) * size] for s in seq], self.device)
                for t in turns
            ],
            sum(num_supervised(sample) for sample in everything),
            sum(len(sample.ids) for sample in everything),
            cursors.stop / len(self.sequences),
        )
