"""What a run will train on, as values: its first samples and sequences, token by token."""

import json
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from .. import data
from ..data.tokens import Sample
from ..process import lock
from .check_data import how_long, load_tokenizer, sources

SEQUENCES = 4  # so many are shown


@dataclass(frozen=True)
class Token:
    """Some text with its ids: one, or several where only together they make characters."""

    text: str
    ids: list[int]
    learnt: bool


@dataclass(frozen=True)
class Preview:
    """`shown`: the first samples. `sequences`: what the first ones in training's order hold."""

    name: str
    summary: str
    ledger: list[dict[str, Any]]
    shown: list[tuple[Sample, list[Token]]]
    sequences: list[list[Sample]]
    num_sequences: int
    max_seq_length: int
    how_long: str
    lengths: list[tuple[int, int, int]]  # (from, to, how many samples)
    packed: bool


def preview(folder: Path, number: int) -> Preview:
    """Reads the run's data as train.py will. Raises RunError as train.py would."""
    plan = lock.plan(folder)
    length = plan["model.max_seq_length"]
    train = sources(plan, "train")
    with tempfile.TemporaryDirectory() as temporary, redirect_stdout(sys.stderr):
        tokenizer = load_tokenizer(plan)
        ledger = Path(temporary, "data.json")
        settings = (plan["data.loss_on"], plan["data.on_overlong"])
        samples = data.load(train, tokenizer, length, *settings, ledger)
        counts = json.loads(ledger.read_text("utf-8"))
    shown, lengths = samples[:number], samples.lengths.tolist()
    if fraction := plan.get("data.validation_fraction"):
        samples, _ = data.split(samples, fraction, plan["seed"])
    samples = data.weigh(samples, train, plan["seed"])
    packed = plan["data.packing"]
    sequences = data.pack(samples, length) if packed else data.one_by_one(samples)
    names = ("micro_batch_size", "gradient_accumulation_steps")
    stream = data.Stream(
        samples,
        sequences,
        seed=plan["seed"],
        rank=0,
        world_size=plan.get("batch.data_parallel_size") or plan["batch.world_size"],
        group_by_length=bool(plan.get("data.group_by_length")),
        **{name: plan[f"batch.{name}"] for name in names},
    )
    return Preview(
        plan["name"],
        plan["summary"].replace("\n", " "),
        counts,
        [(sample, spell(tokenizer, sample)) for sample in shown],
        [
            [samples[int(number)] for number in stream.sequence(cursor)]
            for cursor in range(min(SEQUENCES, len(sequences)))
        ],
        len(sequences),
        length,
        how_long(plan, samples.lengths, len(sequences)),
        histogram(lengths),
        packed,
    )


def spell(tokenizer: PreTrainedTokenizerBase, sample: Sample) -> list[Token]:
    """The text of each token where it stands: a tokenizer may spell it otherwise when it stands alone."""
    tokens: list[Token] = []
    ids = sample.ids.tolist()
    before, start = 0, 0  # ids[before:start] are the last that were spelt
    for end in range(1, len(ids) + 1):
        known = tokenizer.decode(ids[before:start])
        text = tokenizer.decode(ids[before:end])[len(known) :]
        if text.endswith("\ufffd") and end < len(ids) and end - start < 8:
            continue  # a part of a character
        tokens.append(Token(text, ids[start:end], bool(sample.loss[end - 1])))
        before, start = start, end
    return tokens


def histogram(lengths: list[int]) -> list[tuple[int, int, int]]:
    """How many samples have from `low` to `high` tokens, in at most 12 equal steps."""
    if not lengths:
        return []
    width = max(1, -(-(max(lengths) - min(lengths) + 1) // 12))
    edges = np.arange(min(lengths), max(lengths) + width + 1, width)
    counts, _ = np.histogram(lengths, edges)
    pairs = zip(edges[:-1], edges[1:] - 1, counts, strict=True)
    return [(int(low), int(high), int(count)) for low, high, count in pairs]
