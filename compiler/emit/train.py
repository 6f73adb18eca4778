"""train.py, made of passages: of the schedule, the objective, the model, the data, the optimizer."""

from __future__ import annotations

from typing import Any

from ..catalog.optimizers import OPTIMIZERS
from ..facts.gather import Facts
from ..plan.plan import Plan
from ..plan.summary import plural
from . import imports, quote, templates
from .base_model import from_modelscope
from .layout import tidy
from .templates import Fill
from .train_model import SEGMENTS, fuses_head, method_constants, model_parts, shares_rows

LOSS_ON = {
    "assistant": 'Of "user: Hi, assistant: Hello" loss is on "Hello" and on the token that ends it.',
    "last_assistant": "Of a conversation loss is on the last answer and on the token that ends it.",
    "all": "Loss is on all tokens of a row, those of its users and of the template, too.",
}


def files(plan: Plan, facts: Facts, run: dict[str, str]) -> dict[str, str]:
    parts: dict[str, Any] = {}
    variables = {"plan": plan, "run": run, "parts": parts}

    def fill(passage: str) -> str:
        return templates.fill(f"train/{passage}", variables).rstrip("\n")

    modules = imports.of_train(plan)
    parts["imports"] = quote.all_imports(modules)
    parts |= _schedule(plan, fill)
    floor = "_floor" if plan.optim.min_lr_ratio else ""
    parts["schedule"] = fill(f"schedule_{plan.optim.lr_scheduler.value}{floor}")
    parts |= model_parts(plan, fill)
    parts["method"] = method_constants(plan, fill)
    if plan.method.lora:
        parts["adapter"] = fill("adapter")
    parts["model"] = fill(f"model_{plan.method.kind.value}")
    parts["modelscope"] = from_modelscope(plan)
    parts |= _forward(plan)
    parts["objective"] = fill("objective_fused" if fuses_head(plan) else "objective_logits")
    parts |= _data(plan, fill) | _batch(plan) | _optimizer(plan, fill, parts)
    parts |= _engine(plan, fill) | _watching(plan)
    return {"train.py": tidy(templates.fill("train.py", variables))}


def _schedule(plan: Plan, fill: Fill) -> dict[str, Any]:
    optim = plan.optim
    warmup = "ratio" if optim.warmup_ratio else "steps" if optim.warmup_steps else "none"
    words = {
        "ratio": "Linear warm-up over WARMUP_RATIO of the steps, then",
        "steps": "Linear warm-up over WARMUP_STEPS steps, then",
        "none": "No warm-up:",
    }
    name = optim.lr_scheduler.value
    counts = warmup != "none" or name in ("cosine", "linear")  # whether it reads warmup_steps
    computes = name not in ("linear", "constant")
    parts: dict[str, Any] = {
        "warmup_words": words[warmup],
        "warmup": fill(f"warmup_{warmup}") if counts else "",
        "math": bool(computes or optim.warmup_ratio or plan.train.num_epochs),
        "checks_warmup": bool(optim.warmup_steps and plan.train.num_epochs),
        "clipping": "in ds_config.json" if optim.max_grad_norm.value else "which clips nothing",
    }
    return parts


def _forward(plan: Plan) -> dict[str, str]:
    """How an objective calls the model, and how samples of a row stay apart."""
    isolation, segments = SEGMENTS[plan.model.attention.value]
    arguments = ["input_ids=batch.input_ids", "position_ids=batch.position_ids"]
    arguments += ["logits_to_keep=batch.predict_at", "use_cache=False", *segments]
    forward = quote.call("model", arguments, indent=4, before=len("output = "))
    return {"isolation": isolation, "forward": f"output = {forward}"}


def _data(plan: Plan, fill: Fill) -> dict[str, Any]:
    load = ["TRAIN", "tokenizer", "MAX_SEQ_LENGTH", "loss_on=LOSS_ON", "on_overlong=ON_OVERLONG"]
    for name in ("max_dropped_fraction", "max_truncated_fraction"):
        load += [f"{name}={name.upper()}"] if getattr(plan.data, name) else []
    shares = shares_rows(plan)
    pack = "data.pack(validation_set, MAX_SEQ_LENGTH)"
    return {
        "loss_on_words": LOSS_ON[plan.data.loss_on.value],
        "load": quote.call("data.load", load, indent=4, before=len("train_set = ")),
        "weighted": any(source.weight for source in plan.data.train),
        "sequences": fill("sequences_packed" if plan.data.packing.value else "sequences_single"),
        "validation_sequences": pack if shares else "data.one_by_one(validation_set)",
        "shares_rows": shares,
    }


def _batch(plan: Plan) -> dict[str, Any]:
    shared = plan.parallel.sequence_parallel_size is not None
    ranks = "DATA_PARALLEL_SIZE" if shared else "WORLD_SIZE"
    backward = [f"loss_sum * {ranks} / batch.num_supervised", "scale_wrt_gas=False"]
    return {
        "batch_words": _batch_words(plan),
        "ranks": ranks,
        "turn": "rank // SEQUENCE_PARALLEL_SIZE" if shared else "rank",
        "backward": quote.call("engine.backward", backward, indent=12),
    }


def _batch_words(plan: Plan) -> str:
    batch = plan.batch
    shared, groups = plan.parallel.sequence_parallel_size, batch.data_parallel_size
    factors = [
        f"{plural(groups.value, 'group')} of {shared.value} processes"
        if groups and shared
        else plural(batch.world_size.value, "process", "processes"),
        f"{batch.micro_batch_size.value} a micro-batch",
        f"{batch.gradient_accumulation_steps.value} accumulated",
    ]
    return f"{plural(batch.global_batch_size.value, 'sequence')} = {' x '.join(factors)}"


def _optimizer(plan: Plan, fill: Fill, parts: dict[str, Any]) -> dict[str, Any]:
    optimizer = OPTIMIZERS[plan.optim.optimizer.value]
    parts["optimizer_class"] = optimizer.name
    plus = plan.method.lora is not None and plan.method.lora.loraplus_lr_ratio is not None
    parts["trained"] = fill("trained_loraplus" if plus else "trained")
    return {
        "optimizer": fill(f"optimizer_{optimizer.passage}"),
        # LoRA+ and Muon have groups with learning rates of their own.
        "group_rate": 'rate * group["lr_scale"]' if plus or optimizer.own_rates else "rate",
    }


def _engine(plan: Plan, fill: Fill) -> dict[str, Any]:
    stage, shared = plan.parallel.zero_stage.value, plan.parallel.sequence_parallel_size
    return {
        "engine": fill("engine_shared" if shared else "engine"),
        "phantom_step": stage == 0 and plan.model.dtype.value != "float32",
    }


def _watching(plan: Plan) -> dict[str, str]:
    """The calls that log, save and sample, with what the plan adds to them."""
    log = ["engine", "stream", "total_steps", "first_step=first_step", "log_every=LOG_EVERY"]
    log += ["drift=options.allow_drift"]
    log += ["peak_tflops=PEAK_TFLOPS"] if plan.hardware.peak_tflops else []
    save = ["engine", "step + 1", "KEEP_CHECKPOINTS", "stream=stream"]
    save += ["validation_losses=validation_losses"] if plan.train.eval_every else []
    save += ["keep_best=KEEP_BEST"] if plan.train.keep_best else []
    trackers = ["log", "TRACKERS", "PROJECT", "name=RUN_NAME", "online=ONLINE"]
    sample = ["model", "tokenizer", "SAMPLE_PROMPTS"]
    sample += ["system=SAMPLE_SYSTEM"] if plan.samples and plan.samples.system else []
    sample += ["max_new_tokens=SAMPLE_MAX_NEW_TOKENS"]
    when = ["(step + 1) % SAMPLE_EVERY == 0"] if plan.samples and plan.samples.every else []
    if plan.samples and plan.samples.at_checkpoints:
        when.append("(step + 1) % SAVE_EVERY == 0")
    return {
        "prompts": quote.constant("SAMPLE_PROMPTS", plan.samples.prompts) if plan.samples else "",
        "log": quote.call("metrics.start", log, indent=4, before=len("log = ")),
        "trackers": quote.call("trackers.start", [*trackers, "first_step=first_step"], indent=4),
        "save": quote.call("checkpoint.save", save, indent=12, before=0),
        "sample": quote.call("samples.start", sample, indent=4, before=len("sample = ")),
        "sample_when": " or ".join([*when, "last"]),
    }
