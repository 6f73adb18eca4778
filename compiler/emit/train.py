"""What of train.py depends on the plan: its imports, its calls, the passages that it is made of."""

from __future__ import annotations

import re
from typing import Any

from ..catalog.optimizers import OPTIMIZERS
from ..plan.plan import Plan
from . import quote
from .train_model import fuses_head, packs


def load_call(plan: Plan) -> str:
    """The call that reads the training rows, with the limits to what may be lost of them."""
    arguments = ["TRAIN", "tokenizer", "MAX_SEQ_LENGTH", "LOSS_ON", "ON_OVERLONG"]
    arguments.append('"logs/data.json"')
    for name in ("max_dropped_fraction", "max_truncated_fraction"):
        arguments += [f"{name}={name.upper()}"] if getattr(plan.data, name) else []
    return quote.call("data.load", arguments, indent=4, before=len("train_set = "))


def watching(plan: Plan) -> dict[str, str]:
    """The calls that log, save and sample, with what the plan adds to them."""
    log = ["engine", "stream", "total_steps", "first_step", "LOG_EVERY", "options.allow_drift"]
    log += ["PEAK_TFLOPS"] if plan.hardware.peak_tflops else []
    save = ["engine", "step + 1", "KEEP_CHECKPOINTS", "stream"]
    save += ["validation_losses=validation_losses"] if plan.train.eval_every else []
    save += ["keep_best=KEEP_BEST"] if plan.train.keep_best else []
    when = ["(step + 1) % SAMPLE_EVERY == 0"] if plan.samples and plan.samples.every else []
    if plan.samples and plan.samples.at_checkpoints:
        when.append("(step + 1) % SAVE_EVERY == 0")
    return {
        "log": quote.call("metrics.start", log, indent=4, before=len("log = ")),
        "save": quote.call("checkpoint.save", save, indent=12, before=0),
        "sample_when": " or ".join([*when, "last"]),
    }


def shares_rows(plan: Plan) -> bool:
    """Whether several samples are laid end to end in one row."""
    return plan.data.packing.value or plan.batch.micro_batch_size.value > 1


def base_arguments(plan: Plan) -> list[str]:
    arguments = ["base" if plan.model.package or plan.model.modelscope else "BASE"]
    arguments += ["revision=REVISION"] if from_hub(plan) else []
    arguments += ["trust_remote_code=True"] if plan.model.trust_remote_code.value else []
    return arguments


def from_hub(plan: Plan) -> bool:
    """Whether transformers fetches the base at a revision; what ModelScope has is fetched before."""
    return plan.model.revision is not None and plan.model.modelscope is None


def load_arguments(plan: Plan) -> list[str]:
    arguments = base_arguments(plan)
    arguments += ["config=config"] if plan.model.rope_scaling else []
    arguments += [] if plan.model.allow_pickle.value else ["use_safetensors=True"]
    return arguments


def auto_class(plan: Plan) -> str:
    return plan.model.auto_class.value if plan.model.auto_class else "AutoModelForCausalLM"


def loads_shares(plan: Plan) -> bool:
    """Whether each weight is loaded as a share on every rank; a quantized one is shared out later."""
    return plan.parallel.zero_stage.value == 3 and plan.method.quantization is None


def imports(plan: Plan) -> dict[str, Any]:
    """What train.py imports beside torch and deepspeed themselves, in isort's order."""
    qlora = plan.method.quantization is not None
    peft = ["LoraConfig"] if plan.method.lora else []
    transformers = [auto_class(plan)]
    transformers += ["BitsAndBytesConfig"] if qlora else []
    runtime = [
        "checkpoint",
        "data",
        "distributed",
        "guards",
        "launch",
        "loaded",
        "metrics",
        "portable",
    ]
    runtime += ["stop"]
    runtime += ["attention"] if plan.model.attention.value == "segment_sdpa" else []
    runtime += ["fused"] if plan.model.fused else []
    runtime += ["evaluate"] if plan.train.eval_every or shares_rows(plan) else []
    runtime += ["adapters"] if plan.method.lora else []
    runtime += ["names"] if plan.method.freeze else []
    runtime += ["neftune"] if plan.method.neftune_noise_alpha else []
    runtime += ["models"] if plan.model.package or plan.model.modelscope else []
    runtime += ["quantized"] if packs(plan) else []
    runtime += ["sequence_parallel"] if plan.parallel.sequence_parallel_size else []
    runtime += ["rope"] if plan.model.rope_scaling else []
    runtime += ["samples"] if plan.samples else []
    runtime += ["towers"] if plan.model.towers else []
    runtime += ["trackers"] if plan.tracking else []
    runtime += ["validation"] if plan.train.early_stopping_patience else []
    names = {
        "ftc.runtime": runtime,
        "liger_kernel.transformers": [f"apply_liger_kernel_to_{plan.model.liger.value}"]
        if plan.model.liger
        else [],
        "peft": peft,
        "torch.nn.functional": [] if fuses_head(plan) else ["cross_entropy"],
        "transformers": transformers,
        "transformers.integrations": ["HfDeepSpeedConfig"] if loads_shares(plan) else [],
    }
    row = OPTIMIZERS[plan.optim.optimizer.value]
    names[row.module] = [*names.get(row.module, ()), row.name]
    computes = plan.optim.lr_scheduler.value not in ("linear", "constant")
    return {
        "imports": "\n".join(
            quote.imports(m, sorted(names[m])) for m in sorted(names) if m and names[m]
        ),
        "math": bool(computes or plan.optim.warmup_ratio or plan.train.num_epochs),
    }


CONSTANT = re.compile(r"^(?P<code>[A-Z][A-Z0-9_]* = .+)  (?P<comment># .+)$")


def tidy(text: str) -> str:
    """Lays out lines that long values made too long: a constant's comment goes above it."""
    lines: list[str] = []
    for line in text.split("\n"):
        match = CONSTANT.match(line) if len(line) > quote.WIDTH else None
        if match is None:
            lines.append(line)
            continue
        target, value = match["code"].split(" = ", 1)
        lines.append(match["comment"])
        if len(match["code"]) > quote.WIDTH and len(value) + 4 <= quote.WIDTH:
            lines += [f"{target} = (", f"    {value}", ")"]
        else:
            lines.append(match["code"])
    return "\n".join(lines)
