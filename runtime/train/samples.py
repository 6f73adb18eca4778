"""Answers generated while training: the loss can't tell what the model says."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..model.generate import Messages, generate, prompt_ids
from ..process.clock import apart
from .metrics import say

FILE = Path("logs/samples.jsonl")


def answer(
    model: Any, tokenizer: Any, messages: Sequence[dict[str, str]], max_new_tokens: int
) -> str:
    """The likeliest answer to a conversation, rendered with the tokenizer's chat template.

    Raises RunError as `generate` does.
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
    """What answers the prompts after a step of that number; see `write`.

    Raises RunError for a prompt that can't be asked, before any step is trained.
    """
    first = [{"role": "system", "content": system}] if system else []
    asked = [[*first, {"role": "user", "content": prompt}] for prompt in prompts]
    for messages in asked:
        prompt_ids(model, tokenizer, messages)
    return partial(write, model, tokenizer, asked, max_new_tokens)


@apart
def write(
    model: Any,
    tokenizer: Any,
    asked: Sequence[Messages],
    max_new_tokens: int,
    step: int,
) -> None:
    """Answers each of the conversations asked, shows the answers and appends them to logs/samples.jsonl.

    Every rank generates, as a model partitioned over ranks needs them all; rank 0 writes.
    """
    training = model.training
    model.eval()
    with torch.no_grad():
        answers = [answer(model, tokenizer, messages, max_new_tokens) for messages in asked]
    model.train(training)
    if torch.distributed.get_rank() != 0:
        return
    prompts = [messages[-1]["content"] for messages in asked]
    FILE.parent.mkdir(exist_ok=True)
    with FILE.open("a", encoding="utf-8") as file:
        for prompt, text in zip(prompts, answers, strict=True):
            line = {"step": step, "prompt": prompt, "answer": text}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    shown = [f"  > {p}\n    {a}" for p, a in zip(prompts, answers, strict=True)]
    say(f"After {step} steps:\n" + "\n".join(shown))
