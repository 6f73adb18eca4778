"""The run in words: the first lines of train.py and of the README, and what `ftc check` prints."""

from __future__ import annotations

from textwrap import fill

from ...runtime.train.duration import about
from ..facts.gather import Facts
from .duration import Duration, duration
from .plan import Plan

WIDTH = 80  # columns


def summary(plan: Plan, facts: Facts, estimated: bool = True) -> str:
    """The run in two sentences, in numbers: what it is and how long, and what a step takes.

    `estimated`: with what the compiler can only reckon by the bytes of the rows.
    """
    kind = {"full": "Full fine-tuning", "lora": "LoRA", "qlora": "QLoRA"}[plan.method.kind.value]
    world, accelerator = plan.batch.world_size.value, plan.hardware.accelerator
    processes = "in one process" if world == 1 else f"in {world} processes"
    target = f"on {world} x {accelerator.value}" if accelerator else f"on the CPU, {processes}"
    found = duration(plan, facts) if estimated else None
    what = f"{kind} of {plan.model.base.value} on {_rows(plan, facts)}, {target}"
    text = f"{what}: {_span(plan, found)}. {_step(plan, found)}."
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _rows(plan: Plan, facts: Facts) -> str:
    """What the run trains on: rows where they are counted, else sources."""
    counted: list[int] = []
    for number, source in enumerate(plan.data.train):
        file = facts.files.get(("train", number))
        if file and file.rows is not None:
            most = source.max_samples.value if source.max_samples else file.rows
            counted.append(min(file.rows, most))
    whole = len(counted) == len(plan.data.train)
    return plural(sum(counted), "row") if whole else plural(len(plan.data.train), "source")


def _span(plan: Plan, found: Duration | None) -> str:
    """How long the run is, in epochs and steps."""
    if plan.train.max_steps:
        steps = plural(plan.train.max_steps.value, "step")
        if found and found.epochs < 10:
            return f"{steps}, about {found.epochs:.2g} epoch{'s' * (f'{found.epochs:.2g}' != '1')}"
        return f"{steps}, about {about(found.epochs, 'epoch')}" if found else steps
    epochs = plural(plan.train.num_epochs.value if plan.train.num_epochs else 1, "epoch")
    return f"{epochs}, about {about(found.steps, 'step')}" if found else epochs


def _step(plan: Plan, found: Duration | None) -> str:
    """What a step takes, packed sequences in rows, too, and how many tokens that makes."""
    batch, length = plan.batch.global_batch_size.value, plan.model.max_seq_length.value
    packed = plan.data.packing.value
    unit = plural(batch, "packed sequence" if packed else "sample")
    text = f"A step takes {unit} of at most {length:,} tokens"
    if found and packed:
        text += f", about {about(found.rows_per_sequence, 'row')}{' each' * (batch > 1)}"
    return text + (f"; the whole run, about {about(found.all_tokens, 'token')}" if found else "")


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """ "1 step", "1,000 steps"; `nouns` where the plural is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
