"""How train.py builds the model: arguments whose presence depends on the plan."""

from __future__ import annotations

import json
from typing import Any

from ..plan.method import LoraPlan
from ..plan.plan import Plan
from ..plan.values import Value
from . import quote

# LoraConfig's own names, in the order in which train.py has them.
OPTIONAL = (
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "rank_pattern",
    "alpha_pattern",
    "init_lora_weights",
    "use_dora",
    "use_rslora",
    "modules_to_save",
    "ensure_weight_tying",
    "bias",
)


# How attention is kept inside each sample of a row: the words for it, and what the model is told.
SEGMENTS: dict[str, tuple[str, list[str]]] = {
    "segment_sdpa": ("Attention runs on each sample by itself.", ["lengths=batch.lengths"]),
    "flash_attention_2": (
        "Flash attention is told where each sample ends.",
        [
            "cu_seq_lens_q=batch.cu_seq_lens",
            "cu_seq_lens_k=batch.cu_seq_lens",
            "max_length_q=max(batch.lengths)",
            "max_length_k=max(batch.lengths)",
        ],
    ),
    "sdpa": ("Positions that restart tell samples apart.", []),
    "eager": ("Positions that restart tell samples apart.", []),
}


def lora_arguments(lora: LoraPlan) -> list[str]:
    """The arguments of LoraConfig that a spec may leave out, each a line with its origin."""
    values = {name: getattr(lora, name) for name in OPTIONAL}
    return [_argument(name, value) for name, value in values.items() if value is not None]


def _argument(name: str, value: Value[Any]) -> str:
    return f"{name}={quote.argument(name, value, indent=8)},  # {quote.origin(value)}"


def mutates(lora: LoraPlan) -> bool:
    """Whether the adapters begin with a part of the base, which is taken out of it."""
    start = lora.init_lora_weights.value if lora.init_lora_weights else ""
    return start.startswith("pissa") or start == "olora"


def packs(plan: Plan) -> bool:
    """Whether bitsandbytes may pack the weights anew: see `ftc.runtime.model.quantized`."""
    bits = plan.method.quantization.bits.value if plan.method.quantization else None
    return bits == 4 and plan.hardware.device.value == "cpu"


# What train.py calls for each name in plan.model.fused.
SWAPS = {
    "onednn": "linear = fused.onednn  # products of float32 matrices on a CPU",
    "linear_cross_entropy": "fused.linear_cross_entropy({arguments})  # head and loss in one, some rows at a time",
    "lora": "fused.lora({arguments})  # adapters are added in place",
    "lora_mlp": "fused.lora_mlp({arguments})  # an MLP is one function, which keeps half as much",
    "rms_norm": "fused.rms_norm(model)  # a norm keeps its input alone",
    "attention": "fused.attention(model)  # rotation and attention in one, which keeps half as much",
}


def swaps(plan: Plan) -> list[str]:
    """The calls that swap parts of the model."""
    names = plan.model.fused.value if plan.model.fused else []
    arguments = "model, linear" if "onednn" in names else "model"
    calls = [SWAPS[name].format(arguments=arguments) for name in names]
    if plan.model.liger:
        model = "model.get_base_model()" if plan.method.lora else "model"
        arguments = ["cross_entropy=False", "fused_linear_cross_entropy=False", f"model={model}"]
        name = f"apply_liger_kernel_to_{plan.model.liger.value}"
        calls.append(quote.call(name, arguments, indent=4))
    return calls


def fuses_head(plan: Plan) -> bool:
    return plan.model.fused is not None and "linear_cross_entropy" in plan.model.fused.value


def rope_parts(plan: Plan, base: list[str]) -> dict[str, str]:
    """How train.py, convert.sh and chat.py hand on the scaled positions. `base`: the load arguments."""
    scaling = plan.model.rope_scaling
    rest = ["ROPE_SCALING", "MAX_POSITION", *base[1:]]
    return {
        "rope_scaled": quote.call("config = rope.scaled", [base[0], *rest], indent=4),
        "rope_in_chat": quote.call("return rope.scaled", ["source", *rest], indent=4),
        "rope_json": json.dumps(scaling.value) if scaling else "",
    }
