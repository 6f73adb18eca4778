"""Answers generated while training: the loss can't tell what the model says."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .clock import apart
from .exported import stops
from .metrics import say

FILE = Path("logs/samples.jsonl")


def answer(
    model: Any, tokenizer: Any, messages: Sequence[dict[str, str]], max_new_tokens: int
) -> str:
    """The likeliest answer to a conversation, rendered with the tokenizer's chat template."""
    ids = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    ids = ids.to(model.device)
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        use_cache=True,
        pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
        eos_token_id=stops(tokenizer, model.generation_config),
    )
    return tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True).strip()


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
