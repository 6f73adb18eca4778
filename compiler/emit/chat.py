"""What a plan says of its use: the words and variants of README.md, chat.py and deploy.sh."""

from __future__ import annotations

from typing import Any

from ..catalog.engines import ENGINES
from ..plan.plan import Plan
from ..plan.values import Value
from . import quote


def chatting(plan: Plan) -> dict[str, Any]:
    """What chat.py can talk to besides the base: the adapter, a merged model, or either of them."""
    merged = not plan.method.lora or plan.export.merge.value
    both = plan.method.lora and merged
    of_base, else_none = "", ""
    cpu = plan.hardware.device.value == "cpu"
    if both:
        of_base = "None if use_merged else "
    elif merged:
        else_none = " if options.base else None"
    arguments = ["source"]
    if plan.model.revision and not plan.model.modelscope:
        arguments.append(f"revision={of_base}REVISION{else_none}")
    arguments += ["trust_remote_code=True"] if plan.model.trust_remote_code.value else []
    return {
        "tokenizer_arguments": ", ".join(arguments),
        "merged": merged,
        "both": both,
        "only_merged": not plan.method.lora,
        "only_adapter": not merged,
        "choices": "--base, --adapter, --merged choose the model"
        if both
        else "--base: with the model before training",
        "trained_model": "export/merged" if merged else "export/adapter",
        "of_base": of_base,
        "else_none": else_none,
        "device_map": '"cpu"' if cpu else '"auto"',
        "device_map_says": "" if cpu else "  # on the GPUs, and in memory what they can't hold",
    }


def serving(plan: Plan) -> dict[str, Any]:
    """What a server is told beyond the plan's own values."""
    key, chosen = plan.deploy.api_key_env, plan.deploy.backend
    engine, dtype = ENGINES[plan.deploy.engine.value], plan.model.dtype.value
    flags = {backend.name: backend.flags for backend in engine.backends}
    return {
        "serve_dtype": "float16" if dtype == "float32" and not engine.float32 else dtype,
        "backend_flags": flags[chosen.value] if chosen else (),
        "api_key_env": f'"{quote.name(key)}"' if key else "",
    }


def numbers(plan: Plan) -> list[dict[str, str]]:
    """The rows of the README's table."""
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
    return [
        {"label": label, "value": quote.comment(v.value), "origin": quote.origin(v)}
        for label, v in wanted
        if v is not None
    ]
