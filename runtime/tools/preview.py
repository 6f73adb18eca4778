"""What a run will train on, as the model will see it: tokens, which of them are learnt, what was dropped.

    python -m ftc.runtime.tools.preview RUN_DIRECTORY -n 3 --html preview.html

`ftc preview SPEC` compiles a spec and calls this. It needs the tokenizer, not the weights. The numbers
come from the run's own ftc.lock, the samples from the same functions that train.py calls.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from .. import data
from ..data.tokens import Sample
from ..errors import run
from ..process import distributed, lock
from . import preview_page, with_own_names
from .check_data import how_long, load_tokenizer, sources

MARKS = ("⟦", "⟧")  # around what is learnt, for readers without colour
SEQUENCES = 4  # so many are shown
GREEN, OFF = "\033[32;1m", "\033[0m"


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


def as_text(found: Preview, colour: bool) -> str:
    """For a terminal: what is learnt stands between marks, and in colour where there is some."""
    lines = [f"Learnt is what stands between {' and '.join(MARKS)}.", ""]
    for sample, tokens in found.shown:
        learnt = int(sample.loss.sum())
        lines += [f"{sample.row}: {len(sample.ids)} tokens, {learnt} of them learnt", ""]
        lines += [_marked(tokens, colour), ""]
    lines.append(found.how_long)
    kind = "several samples" if found.packed else "one sample"
    lines.append(f"A sequence holds {kind}, {found.max_seq_length:,} tokens at most.")
    lines += ["Positions restart at each sample, and none sees another.", ""]
    for number, sequence in enumerate(found.sequences, 1):
        parts = " | ".join(f"{len(sample.ids)} {sample.row}" for sample in sequence)
        total = sum(len(sample.ids) for sample in sequence)
        lines += wrap(f"  {number}. {total:,} tokens: {parts}", 80, subsequent_indent="     ")
    lines += ["", "Lengths:"]
    most = max((count for _, _, count in found.lengths), default=1)
    for low, high, count in found.lengths:
        bar = "#" * -(-40 * count // most)
        lines.append(f"  {low:6,} to {high:6,} tokens  {count:8,}  {bar}")
    return "\n".join(lines)


def _marked(tokens: list[Token], colour: bool) -> str:
    """The text with line ends shown, two spaces in front of each line."""
    text, learnt = "", False
    for token in [*tokens, Token("", [], False)]:
        if token.learnt != learnt:
            colours = (GREEN if token.learnt else OFF) if colour else ""
            text += colours + MARKS[0] if token.learnt else MARKS[1] + colours
            learnt = token.learnt
        text += "".join(_visible(character) for character in token.text)
    return "  " + text.replace("\n", "\n  ").rstrip()


def _visible(character: str) -> str:
    """Itself, but for what a terminal would obey or not show."""
    if character == "\n":
        return "⏎\n"
    return character if character.isprintable() else f"\\u{ord(character):04x}"


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="ftc preview", allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="a run directory")
    parser.add_argument("-n", "--number", type=int, default=3, help="how many samples to show")
    parser.add_argument("--html", type=Path, help="write a page, too")
    parser.add_argument("--colour", choices=["auto", "always", "never"], default="auto")
    options = parser.parse_args(argv)
    distributed.quiet()
    page = options.html.absolute() if options.html else None
    os.chdir(options.folder)  # the paths in the lock start here
    found = preview(Path(), options.number)
    auto = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    colour = options.colour == "always" or (options.colour == "auto" and auto)
    if page:
        page.write_text(preview_page.page(found), "utf-8")
    print(as_text(found, colour))
    if page:
        print(f"\n{page}")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # | head
    run(lambda: with_own_names(main))
