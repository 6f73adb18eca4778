"""Plan -> Files. Which template serves which plan is chosen here; templates hold no logic."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple

from ..facts.gather import CopyKey, Facts
from ..plan.plan import Plan
from ..plan.summary import plural
from ..plan.values import leaves
from . import quote
from .chat import chatting, numbers, serving
from .ds_config import ds_config
from .requirements import serving_requirements, training_requirements
from .templates import fill
from .train_model import SEGMENTS, fuses_head, lora_arguments, mutates, packs, rope_parts, swaps
from .vendor import vendored_files


class File(NamedTuple):
    content: bytes
    executable: bool = False


Files = dict[str, File]

IGNORED = "checkpoints/\nlogs/\nexport/\nprevious/\n.running\n.deploy-venv/\n__pycache__/\n"


def plan_values(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, dotted path -> value: what the lock records and the id covers."""
    return {path: value.value for path, value in leaves(plan)}


def plan_id(plan: Plan) -> str:
    """Eight hexadecimal digits that stand for the plan's values and its chat template."""
    text = json.dumps([plan_values(plan), plan.template], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def render(
    plan: Plan, facts: Facts, names: dict[CopyKey, str], spec_name: str, spec_text: str
) -> Files:
    """Every file of the run directory but ftc.lock. `names`: where copied data files go."""
    variables: dict[str, Any] = {
        "plan": plan,
        "run": {"spec_name": spec_name, "plan_id": plan_id(plan)},
        "parts": {},
    }
    variables["parts"] = _parts(plan, variables)
    texts = {
        "README.md": fill("README.md", variables),
        "train.py": tidy(fill("train.py", variables)),
        "launch.sh": fill("launch.sh", variables),
        "convert.sh": fill("convert.sh", variables),
        "chat.py": tidy(fill("chat.py", variables)),
        "ds_config.json": json.dumps(ds_config(plan), indent=2) + "\n",
        "chat_template.jinja": plan.template,
        "requirements.txt": training_requirements(plan, facts),
        "spec.toml": spec_text,
        ".gitignore": IGNORED,
    }
    if variables["parts"]["merged"]:  # which is what a server serves
        texts["deploy.sh"] = fill(f"deploy_{plan.deploy.engine.value}.sh", variables)
        texts["requirements-deploy.txt"] = serving_requirements(plan)
    files = {
        path: File(text.encode("utf-8", "surrogateescape"), path.endswith(".sh"))
        for path, text in texts.items()
    }
    for key, _, content in facts.copied():
        files[names[key]] = File(content)
    if plan.vendor_runtime.value:
        files |= {path: File(content) for path, content in vendored_files().items()}
    return dict(sorted(files.items()))


def _parts(plan: Plan, variables: dict[str, Any]) -> dict[str, Any]:
    """The passages whose variant depends on the plan, rendered, and words that depend on it."""
    parts = variables["parts"]

    def part(path: str) -> str:
        return fill(f"train/{path}", variables).rstrip("\n")

    optim, hardware = plan.optim, plan.hardware
    warmup = "ratio" if optim.warmup_ratio else "steps" if optim.warmup_steps else "none"
    parts["warmup_words"] = {
        "ratio": "Linear warm-up over WARMUP_RATIO of the steps, then",
        "steps": "Linear warm-up over WARMUP_STEPS steps, then",
        "none": "No warm-up:",
    }[warmup]
    schedule = optim.lr_scheduler.value
    counts = warmup != "none" or schedule in ("cosine", "linear")  # whether it reads warmup_steps
    parts["warmup"] = part(f"warmup_{warmup}") if counts else ""
    parts["schedule"] = part(f"schedule_{schedule}{'_floor' if optim.min_lr_ratio else ''}")
    attention = plan.model.attention
    own = attention.value == "segment_sdpa"  # transformers doesn't ship this one
    parts["attention"] = "attention.SEGMENT_SDPA" if own else quote.py(attention)
    parts["mutates"] = plan.method.lora is not None and mutates(plan.method.lora)
    if plan.method.lora:
        parts["lora_arguments"] = lora_arguments(plan.method.lora)
        parts["adapter"] = part("adapter")
    parts["base_list"] = _base_arguments(plan)
    parts["load_list"] = _load_arguments(plan)
    parts |= rope_parts(plan, parts["base_list"])
    parts["base_arguments"] = ", ".join(parts["base_list"])
    parts["batch_words"] = _batch_words(plan)
    parts["auto_class"] = _auto_class(plan)
    of = [*parts["base_list"][:1], *(["REVISION"] if _from_hub(plan) else [])]
    parts["fetched"] = bool(plan.model.package or plan.model.modelscope)
    parts["hub_revision"] = _from_hub(plan)
    parts["modelscope"] = ", ".join(["BASE", *(["REVISION"] if plan.model.revision else [])])
    parts["proof"] = quote.call("loaded.prove", ["model", "loading", *of], indent=4)
    parts["packs"] = packs(plan)
    if plan.method.quantization:
        parts["quantization"] = part(f"quantization_{plan.method.quantization.bits.value}bit")
    parts["model"] = part(f"model_{plan.method.kind.value}")
    parts["zero3"] = part("zero3") if _loads_shares(plan) else ""
    parts["load"] = _load(plan)
    shared = plan.parallel.sequence_parallel_size is not None
    parts["ranks"] = "DATA_PARALLEL_SIZE" if shared else "WORLD_SIZE"
    share = f"loss_sum * {parts['ranks']} / batch.num_supervised"
    parts["backward"] = quote.call("engine.backward", [share, "scale_wrt_gas=False"], indent=12)
    parts["turn"] = "rank // SEQUENCE_PARALLEL_SIZE" if shared else "rank"
    parts["weighted"] = any(source.weight for source in plan.data.train)
    parts["shares_rows"] = _shares_rows(plan)
    parts["phantom_step"] = (
        plan.parallel.zero_stage.value == 0 and plan.model.dtype.value != "float32"
    )
    parts["sequences"] = part("sequences_packed" if plan.data.packing.value else "sequences_single")
    parts["validation_sequences"] = (
        "data.pack(validation_set, MAX_SEQ_LENGTH)"
        if _shares_rows(plan)
        else "data.one_by_one(validation_set)"
    )
    kind, parts["optimizer_class"] = OPTIMIZERS[optim.optimizer.value]
    plus = plan.method.lora is not None and plan.method.lora.loraplus_lr_ratio is not None
    parts["trained"] = part("trained_loraplus" if plus else "trained")
    parts["loraplus"] = plus
    parts["optimizer"] = part(f"optimizer_{kind}")
    parts["lr_scale"] = plus or kind == "muon"  # groups have learning rates of their own
    parts["isolation"], parts["segment_arguments"] = SEGMENTS[plan.model.attention.value]
    parts["swaps"] = swaps(plan)
    parts["losses"] = part("losses_fused" if fuses_head(plan) else "losses_plain")
    parts |= _imports(plan)
    vendored = plan.vendor_runtime.value
    needs = "requirements.txt" if vendored else "ftc, with requirements.txt,"
    parts["python_check"] = fill("python_check.sh", {"needs": needs}).rstrip("\n")
    parts["and_ftc"] = "" if vendored else ", and ftc itself (`pip install .` in its clone)"
    parts["flash"] = attention.value == "flash_attention_2"
    parts["cpu"] = hardware.device.value == "cpu"
    parts["gpu"] = not parts["cpu"]
    parts["deterministic"] = plan.deterministic.value and not parts["cpu"]
    parts["repeats"] = plan.deterministic.value or parts["cpu"]
    parts["eager"] = kind == "muon"
    parts["multi_node"] = hardware.nodes.value > 1
    parts["last_node"] = hardware.nodes.value - 1
    parts["target"] = _target(plan)
    merged = (
        "PEFT adapter -> merged Hugging Face model" if plan.export.merge.value else "PEFT adapter"
    )
    parts["exports"] = merged if plan.method.lora else "Hugging Face model"
    parts["checkpoint"] = "best" if plan.train.keep_best else "newest"
    parts |= _watching(plan) | chatting(plan)
    parts["numbers"] = numbers(plan)
    parts |= serving(plan)
    return parts


def _load(plan: Plan) -> str:
    """The call that reads the training rows, with the limits to what may be lost of them."""
    arguments = ["TRAIN", "tokenizer", "MAX_SEQ_LENGTH", "LOSS_ON", "ON_OVERLONG"]
    arguments.append('"logs/data.json"')
    for name in ("max_dropped_fraction", "max_truncated_fraction"):
        arguments += [f"{name}={name.upper()}"] if getattr(plan.data, name) else []
    return quote.call("data.load", arguments, indent=4, before=len("train_set = "))


def _watching(plan: Plan) -> dict[str, str]:
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


# What makes each optimizer: the passage of train.py, and the class where several share one.
OPTIMIZERS = {
    "adamw": ("adamw", ""),
    "adamw_8bit": ("bitsandbytes", "AdamW8bit"),
    "paged_adamw": ("bitsandbytes", "PagedAdamW32bit"),
    "paged_adamw_8bit": ("bitsandbytes", "PagedAdamW8bit"),
    "lion": ("lion", "Lion32bit"),
    "lion_8bit": ("lion", "Lion8bit"),
    "adafactor": ("adafactor", ""),
    "muon": ("muon", ""),
}


def _shares_rows(plan: Plan) -> bool:
    """Whether several samples are laid end to end in one row."""
    return plan.data.packing.value or plan.batch.micro_batch_size.value > 1


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


def _base_arguments(plan: Plan) -> list[str]:
    arguments = ["base" if plan.model.package or plan.model.modelscope else "BASE"]
    arguments += ["revision=REVISION"] if _from_hub(plan) else []
    arguments += ["trust_remote_code=True"] if plan.model.trust_remote_code.value else []
    return arguments


def _from_hub(plan: Plan) -> bool:
    """Whether transformers fetches the base at a revision; what ModelScope has is fetched before."""
    return plan.model.revision is not None and plan.model.modelscope is None


def _load_arguments(plan: Plan) -> list[str]:
    arguments = _base_arguments(plan)
    arguments += ["config=config"] if plan.model.rope_scaling else []
    arguments += [] if plan.model.allow_pickle.value else ["use_safetensors=True"]
    return arguments


def _auto_class(plan: Plan) -> str:
    return plan.model.auto_class.value if plan.model.auto_class else "AutoModelForCausalLM"


def _loads_shares(plan: Plan) -> bool:
    """Whether each weight is loaded as a share on every rank; a quantized one is shared out later."""
    return plan.parallel.zero_stage.value == 3 and plan.method.quantization is None


def _imports(plan: Plan) -> dict[str, Any]:
    """What train.py imports beside torch and deepspeed themselves, in isort's order."""
    qlora = plan.method.quantization is not None
    peft = ["LoraConfig"] if plan.method.lora else []
    kind, optimizer = OPTIMIZERS[plan.optim.optimizer.value]
    transformers = ["Adafactor"] if kind == "adafactor" else []
    transformers += [_auto_class(plan)]
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
    runtime += ["evaluate"] if plan.train.eval_every or _shares_rows(plan) else []
    runtime += ["adapters"] if plan.method.lora else []
    runtime += ["names"] if plan.method.freeze else []
    runtime += ["neftune"] if plan.method.neftune_noise_alpha else []
    runtime += ["models"] if plan.model.package or plan.model.modelscope else []
    runtime += ["optimizers"] if kind == "muon" else []
    runtime += ["quantized"] if packs(plan) else []
    runtime += ["sequence_parallel"] if plan.parallel.sequence_parallel_size else []
    runtime += ["rope"] if plan.model.rope_scaling else []
    runtime += ["samples"] if plan.samples else []
    runtime += ["towers"] if plan.model.towers else []
    runtime += ["trackers"] if plan.tracking else []
    runtime += ["validation"] if plan.train.early_stopping_patience else []
    names = {
        "bitsandbytes.optim": [optimizer] if optimizer else [],
        "ftc.runtime": sorted(runtime),
        "liger_kernel.transformers": [f"apply_liger_kernel_to_{plan.model.liger.value}"]
        if plan.model.liger
        else [],
        "peft": peft,
        "torch.nn.functional": [] if fuses_head(plan) else ["cross_entropy"],
        "transformers": transformers,
        "transformers.integrations": ["HfDeepSpeedConfig"] if _loads_shares(plan) else [],
    }
    computes = plan.optim.lr_scheduler.value not in ("linear", "constant")
    return {
        "imports": "\n".join(quote.imports(m, n) for m, n in names.items() if n),
        "math": bool(computes or plan.optim.warmup_ratio or plan.train.num_epochs),
    }


def _target(plan: Plan) -> str:
    nodes, devices = plan.hardware.nodes.value, plan.hardware.devices_per_node.value
    if plan.hardware.accelerator is None:
        return "on the CPU, in " + (
            "1 process" if nodes * devices == 1 else f"{nodes * devices} processes"
        )
    where = "this machine" if nodes == 1 else f"each of {nodes} nodes"
    return f"on {devices} x {quote.comment(plan.hardware.accelerator)} of {where}"


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
