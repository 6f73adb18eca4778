"""Answers generated while training: the loss can't tell what the model says."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..model.generate import generate
from ..process.clock import apart
from .metrics import say

FILE = Path("logs/samples.jsonl")


def answer(
    model: Any, tokenizer: Any, messages: Sequence[dict[str, str]], max_new_tokens: int
) -> str:
    """The likeliest answer to a conversation, rendered with the tokenizer's chat template.

    Raises RunError for a prompt with a token that the model has no embedding for.
    """
    likeliest = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    settings = {**likeliest, "max_new_tokens": max_new_tokens, "use_cache": True}
    return generate(model, tokenizer, list(messages), settings, stream=False).strip()


def start(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    system: str | None = None,
) -> Callable[[int], None]:
    """What answers the prompts after a step of that number; see `write`."""
    return partial(write, model, tokenizer, prompts, system, max_new_tokens)


@apart
def write(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    system: str | None,
    max_new_tokens: int,
    step: int,
) -> None:
    """Answers each prompt, shows the answers and appends them to logs/samples.jsonl.

    Every rank generates, as a model partitioned over ranks needs them all; rank 0 writes.
    """
    training = model.training
    model.eval()
    first = [{"role": "system", "content": system}] if system else []
    with torch.no_grad():
        answers = [
            answer(model, tokenizer, [*first, {"role": "user", "content": prompt}], max_new_tokens)
            for prompt in prompts
        ]
    model.train(training)
    if torch.distributed.get_rank() != 0:
        return
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("a", encoding="utf-8") as file:
        for prompt, text in zip(prompts, answers, strict=True):
            line = {"step": step, "prompt": prompt, "answer": text}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    shown = [f"  > {p}\n    {a}" for p, a in zip(prompts, answers, strict=True)]
    say(f"After {step} steps:\n" + "\n".join(shown))
