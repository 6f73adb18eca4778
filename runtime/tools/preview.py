"""What a run will train on, as the model will see it: tokens, which of them are learnt, what was dropped.

    python -m ftc.runtime.tools.preview RUN_DIRECTORY -n 3 --html preview.html

`ftc preview SPEC` compiles a spec and calls this. It needs the tokenizer, not the weights. The numbers
come from the run's own ftc.lock, the samples from the same functions that train.py calls.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from textwrap import wrap

from ..errors import run
from ..process import distributed
from . import preview_page, with_own_names
from .preview_samples import Preview, Token, preview

MARKS = ("⟦", "⟧")  # around what is learnt, for readers without colour
GREEN, OFF = "\033[32;1m", "\033[0m"


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
