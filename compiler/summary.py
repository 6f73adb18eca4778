"""The run in words: the first lines of train.py and of the README, and what `ftc check` prints."""

from __future__ import annotations

from .facts import Facts
from .plan import Plan


def summary(plan: Plan, facts: Facts) -> str:
    """The run in two sentences, in numbers."""
    kind = {"full": "Full fine-tuning", "lora": "LoRA", "qlora": "QLoRA"}[plan.method.kind.value]
    counted: list[int] = []
    for number, source in enumerate(plan.data.train):
        file = facts.files.get(("train", number))
        if file and file.rows is not None:
            most = source.max_samples.value if source.max_samples else file.rows
            counted.append(min(file.rows, most))
    whole = len(counted) == len(plan.data.train)
    what = plural(sum(counted), "row") if whole else plural(len(plan.data.train), "source")
    batch, length = plan.batch.global_batch_size.value, plan.model.max_seq_length.value
    unit = "packed sequence" if plan.data.packing.value else "sample"
    long = plan.train.max_steps
    epochs = plan.train.num_epochs
    span = plural(long.value, "step") if long else plural(epochs.value if epochs else 1, "epoch")
    world = plan.batch.world_size.value
    accelerator = plan.hardware.accelerator
    target = (
        f"{world} x {accelerator.value}"
        if accelerator
        else ("the CPU, in one process" if world == 1 else f"the CPU, in {world} processes")
    )
    return (
        f"{kind} of {plan.model.base.value} on {what}: {span}, {plural(batch, unit)} of at most\n"
        f"{length:,} tokens a step, on {target}."
    )


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """ "1 step", "1,000 steps"; `nouns` where the plural is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
