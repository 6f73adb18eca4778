"""README.md of a run: how it is started, and the numbers that were decided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...runtime.train.duration import about
from ..facts.gather import Facts
from ..plan.duration import duration
from ..plan.parameters import trainable_parameters
from ..plan.plan import Plan
from ..plan.values import Value, leaves
from . import quote, templates
from .deploy import is_served

ADAMW = ("adamw", "paged_adamw")  # all float32: the weight and both moments
ADAMW_BYTES = 12


def files(plan: Plan, facts: Facts, run: dict[str, str]) -> dict[str, str]:
    exports = "PEFT adapter" if plan.method.lora else "Hugging Face model"
    if plan.method.lora and plan.export.merge.value:
        exports = "PEFT adapter -> merged Hugging Face model"
    ftc = ", and ftc itself (`pip install .` in its clone)"
    parts = {
        "exports": exports,
        "merged": is_served(plan),
        "numbers": [*_decided(plan), *_estimated(plan, facts)],
        "flash": plan.model.attention.value == "flash_attention_2",
        "and_ftc": "" if plan.vendor_runtime.value else ftc,
    }
    return {"README.md": templates.fill("README.md", {"plan": plan, "run": run, "parts": parts})}


def _decided(plan: Plan) -> Iterator[dict[str, str]]:
    """The rows of the table that are of the plan."""
    wanted: list[tuple[str, Value[Any] | None]] = [
        ("base model", plan.model.base),
        ("method", plan.method.kind),
        ("dtype", plan.model.dtype),
        ("attention", plan.model.attention),
        ("chat template", plan.model.chat_template),
        ("date in the chat template", plan.model.date),
        ("longest sequence", plan.model.max_seq_length),
        ("sequences a step", plan.batch.global_batch_size),
        ("processes", plan.batch.world_size),
        ("accumulated micro-batches", plan.batch.gradient_accumulation_steps),
        ("ZeRO stage", plan.parallel.zero_stage),
        ("processes that share a sequence", plan.parallel.sequence_parallel_size),
        ("epochs", plan.train.num_epochs),
        ("steps", plan.train.max_steps),
        ("peak learning rate", plan.optim.learning_rate),
        ("seed", plan.seed),
    ]
    for label, value in wanted:
        if value is not None:
            yield _row(label, quote.comment(value.value), quote.origin(value))


def _estimated(plan: Plan, facts: Facts) -> Iterator[dict[str, str]]:
    """What the plan comes to, as far as the compiler can tell."""
    found = duration(plan, facts)
    if found and not plan.train.max_steps:
        yield _row("steps", _about(found.steps), "estimated from the rows")
    if found:
        yield _row("tokens", _about(found.all_tokens), "estimated from the rows")
    trained = trainable_parameters(dict(leaves(plan)), facts.architecture)
    if trained:
        yield _row("trained parameters", f"{trained:,}", "from the shapes of the base")
    if trained and plan.optim.optimizer.value in ADAMW:
        size = f"about {trained * ADAMW_BYTES // 10**6:,} MB"
        yield _row("a checkpoint", size, f"{ADAMW_BYTES} bytes a trained parameter")


def _about(number: float) -> str:
    return f"about {about(number, 'of them').split()[0]}"


def _row(label: str, value: str, origin: str) -> dict[str, str]:
    return {"label": label, "value": value, "origin": origin}
