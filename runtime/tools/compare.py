"""Asks two models the same questions and shows their answers side by side.

    python -m ftc.runtime.tools.compare --base FOLDER --tuned FOLDER --questions heldout.jsonl

A question is a line {"question": "...", "accept": ["...", ...]}. An answer is right if it contains one of
the accepted texts, in upper or lower case. Both models answer with their likeliest tokens.
"""

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from ..data.tokens import read_template
from ..errors import RunError, run
from ..process import distributed
from ..train.samples import answer

WIDTH = 38  # columns for each answer: two, and three between them, fit 80


def questions(path: Path) -> list[dict[str, Any]]:
    """Reads the questions; raises RunError naming the line of one that can't be read."""
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            found.append({"question": str(row["question"]), "accept": list(row["accept"])})
        except (ValueError, KeyError, TypeError) as error:
            raise RunError("bad-row", f"no question: {error!r}", where=f"{path}:{number}") from None
    return found


def right(text: str, accept: list[str]) -> bool:
    """Whether an answer contains one of the accepted texts."""
    return any(wanted.lower() in text.lower() for wanted in accept)


def ask(folder: str, template: str, asked: list[dict[str, Any]], max_new_tokens: int) -> list[str]:
    """The model's answer to each question."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    return [
        answer(model, tokenizer, [{"role": "user", "content": row["question"]}], max_new_tokens)
        for row in asked
    ]


def _cell(text: str, accept: list[str]) -> str:
    line = " ".join(text.split())
    line = line if len(line) <= WIDTH - 2 else line[: WIDTH - 3] + "…"
    return f"{'✓' if right(text, accept) else '·'} {line:<{WIDTH - 2}}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="ftc.runtime.compare", allow_abbrev=False)
    parser.add_argument("--base", required=True, help="folder of the model before training")
    parser.add_argument("--tuned", required=True, help="folder of the tuned model")
    parser.add_argument("--chat-template", required=True, help="the run's chat template")
    parser.add_argument("--questions", required=True, type=Path)
    parser.add_argument("--max-new-tokens", type=int, default=48)
    parser.add_argument("--at-least", type=float, help="exit with 1 if the tuned share is lower")
    options = parser.parse_args()
    distributed.quiet()

    asked, template = questions(options.questions), read_template(options.chat_template)
    base = ask(options.base, template, asked, options.max_new_tokens)
    tuned = ask(options.tuned, template, asked, options.max_new_tokens)
    print(f"{'base':<{WIDTH}}   tuned")
    for row, before, after in zip(asked, base, tuned, strict=True):
        print(
            "\n" + textwrap.fill(row["question"], 79, initial_indent="> ", subsequent_indent="  ")
        )
        print(f"{_cell(before, row['accept'])}   {_cell(after, row['accept']).rstrip()}")
    shares = [
        sum(right(text, row["accept"]) for text, row in zip(answers, asked, strict=True))
        / len(asked)
        for answers in (base, tuned)
    ]
    print(f"\nAnswered rightly of {len(asked)}: base {shares[0]:.0%}, tuned {shares[1]:.0%}.")
    return 1 if options.at_least is not None and shares[1] < options.at_least else 0


if __name__ == "__main__":
    run(lambda: sys.exit(main()))
