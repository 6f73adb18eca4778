"""Plan -> Files. Which template serves which plan is chosen here; templates hold no logic."""

from __future__ import annotations

import json
from typing import Any

from ..catalog.optimizers import OPTIMIZERS
from ..facts.gather import CopyKey, Facts
from ..plan.plan import Plan
from ..plan.summary import plural
from . import quote
from .chat import chatting, numbers, serving
from .ds_config import ds_config
from .files import File, Files
from .plan_id import plan_id
from .requirements import serving_requirements, training_requirements
from .templates import fill
from .train import (
    auto_class,
    base_arguments,
    from_hub,
    imports,
    load_arguments,
    load_call,
    loads_shares,
    shares_rows,
    tidy,
    watching,
)
from .train_model import SEGMENTS, fuses_head, lora_arguments, mutates, packs, rope_parts, swaps
from .vendor import vendored_files

IGNORED = "checkpoints/\nlogs/\nexport/\nprevious/\n.running\n.deploy-venv/\n__pycache__/\n"


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
    parts["base_list"] = base_arguments(plan)
    parts["load_list"] = load_arguments(plan)
    parts |= rope_parts(plan, parts["base_list"])
    parts["base_arguments"] = ", ".join(parts["base_list"])
    parts["batch_words"] = _batch_words(plan)
    parts["auto_class"] = auto_class(plan)
    of = [*parts["base_list"][:1], *(["REVISION"] if from_hub(plan) else [])]
    parts["fetched"] = bool(plan.model.package or plan.model.modelscope)
    parts["hub_revision"] = from_hub(plan)
    parts["modelscope"] = ", ".join(["BASE", *(["REVISION"] if plan.model.revision else [])])
    parts["proof"] = quote.call("loaded.prove", ["model", "loading", *of], indent=4)
    parts["packs"] = packs(plan)
    if plan.method.quantization:
        parts["quantization"] = part(f"quantization_{plan.method.quantization.bits.value}bit")
    parts["model"] = part(f"model_{plan.method.kind.value}")
    parts["zero3"] = part("zero3") if loads_shares(plan) else ""
    parts["load"] = load_call(plan)
    shared = plan.parallel.sequence_parallel_size is not None
    parts["ranks"] = "DATA_PARALLEL_SIZE" if shared else "WORLD_SIZE"
    share = f"loss_sum * {parts['ranks']} / batch.num_supervised"
    parts["backward"] = quote.call("engine.backward", [share, "scale_wrt_gas=False"], indent=12)
    parts["turn"] = "rank // SEQUENCE_PARALLEL_SIZE" if shared else "rank"
    parts["weighted"] = any(source.weight for source in plan.data.train)
    parts["shares_rows"] = shares_rows(plan)
    parts["phantom_step"] = (
        plan.parallel.zero_stage.value == 0 and plan.model.dtype.value != "float32"
    )
    parts["sequences"] = part("sequences_packed" if plan.data.packing.value else "sequences_single")
    parts["validation_sequences"] = (
        "data.pack(validation_set, MAX_SEQ_LENGTH)"
        if shares_rows(plan)
        else "data.one_by_one(validation_set)"
    )
    optimizer = OPTIMIZERS[optim.optimizer.value]
    parts["optimizer_class"] = optimizer.name
    plus = plan.method.lora is not None and plan.method.lora.loraplus_lr_ratio is not None
    parts["trained"] = part("trained_loraplus" if plus else "trained")
    parts["loraplus"] = plus
    parts["optimizer"] = part(f"optimizer_{optimizer.passage}")
    parts["lr_scale"] = plus or optimizer.own_rates  # groups have learning rates of their own
    parts["isolation"], parts["segment_arguments"] = SEGMENTS[plan.model.attention.value]
    parts["swaps"] = swaps(plan)
    parts["losses"] = part("losses_fused" if fuses_head(plan) else "losses_plain")
    parts |= imports(plan)
    vendored = plan.vendor_runtime.value
    needs = "requirements.txt" if vendored else "ftc, with requirements.txt,"
    parts["python_check"] = fill("python_check.sh", {"needs": needs}).rstrip("\n")
    parts["and_ftc"] = "" if vendored else ", and ftc itself (`pip install .` in its clone)"
    parts["flash"] = attention.value == "flash_attention_2"
    parts["cpu"] = hardware.device.value == "cpu"
    parts["gpu"] = not parts["cpu"]
    parts["deterministic"] = plan.deterministic.value and not parts["cpu"]
    parts["repeats"] = plan.deterministic.value or parts["cpu"]
    parts["eager"] = optimizer.compiles
    parts["multi_node"] = hardware.nodes.value > 1
    parts["last_node"] = hardware.nodes.value - 1
    parts["target"] = _target(plan)
    merged = (
        "PEFT adapter -> merged Hugging Face model" if plan.export.merge.value else "PEFT adapter"
    )
    parts["exports"] = merged if plan.method.lora else "Hugging Face model"
    parts["checkpoint"] = "best" if plan.train.keep_best else "newest"
    parts |= watching(plan) | chatting(plan)
    parts["numbers"] = numbers(plan)
    parts |= serving(plan)
    return parts


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


def _target(plan: Plan) -> str:
    nodes, devices = plan.hardware.nodes.value, plan.hardware.devices_per_node.value
    if plan.hardware.accelerator is None:
        return "on the CPU, in " + (
            "1 process" if nodes * devices == 1 else f"{nodes * devices} processes"
        )
    where = "this machine" if nodes == 1 else f"each of {nodes} nodes"
    return f"on {devices} x {quote.comment(plan.hardware.accelerator)} of {where}"
