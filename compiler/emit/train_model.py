"""How train.py builds the model: passages and arguments whose presence depends on the plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..plan.method import LoraPlan
from ..plan.plan import Plan
from . import quote
from .base_model import auto_class, base_arguments, from_hub, load_arguments, scaled_rope
from .convert import mutates
from .templates import Fill

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
CONSTANTS = {"bias": "LORA_BIAS"}  # of those whose name says too little


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


def model_parts(plan: Plan, fill: Fill) -> dict[str, Any]:
    """What train.py says of the model, from its constants to its swaps. `fill`: renders a passage."""
    attention, quantization = plan.model.attention, plan.method.quantization
    own = attention.value == "segment_sdpa"  # transformers doesn't ship this one
    base = base_arguments(plan)
    proof = ["model", "loading", base[0], *(["REVISION"] if from_hub(plan) else [])]
    parts: dict[str, Any] = {
        "fused": quote.constant("FUSED", plan.model.fused) if plan.model.fused else "",
        "attention": "attention.SEGMENT_SDPA" if own else quote.py(attention),
        "auto_class": auto_class(plan),
        "base_arguments": ", ".join(base),
        "load_list": load_arguments(plan),
        "rope_scaled": scaled_rope(plan, "config = ", base[0]),
        "proof": quote.call("loaded.prove", proof, indent=4),
        "packs": packs(plan),
        "mutates": mutates(plan.method.lora),
        "quantization": fill(f"quantization_{quantization.bits.value}bit") if quantization else "",
        "zero3": fill("zero3") if loads_shares(plan) else "",
        "swaps": "\n    ".join(_swaps(plan)),
    }
    if plan.method.lora:
        parts |= _lora_parts(plan.method.lora)
    return parts


def _lora_parts(lora: LoraPlan) -> dict[str, Any]:
    given = {name: getattr(lora, name) for name in OPTIONAL if getattr(lora, name) is not None}
    constants = {name: CONSTANTS.get(name, name.upper()) for name in given}
    arguments = ["r=LORA_RANK", "lora_alpha=LORA_ALPHA", "lora_dropout=LORA_DROPOUT"]
    arguments += [f"{name}={constant}" for name, constant in constants.items()]
    return {
        "lora_constants": [quote.constant(constants[name], given[name]) for name in given],
        "lora_config": quote.call("LoraConfig", arguments, indent=4, before=len("config = ")),
    }


def method_constants(plan: Plan, fill: Fill) -> str:
    """The constants of [method], as they stand below its heading; "" if it has none."""
    return "\n".join(_method_constants(plan, fill))


def _method_constants(plan: Plan, fill: Fill) -> Iterator[str]:
    method, lora = plan.method, plan.method.lora
    if lora:
        yield fill("constants_lora")
    if lora and lora.loraplus_lr_ratio:
        yield quote.constant("LORAPLUS_LR_RATIO", lora.loraplus_lr_ratio)
    if method.freeze:
        yield quote.constant("FREEZE", method.freeze)
    if method.neftune_noise_alpha:
        yield quote.constant("NEFTUNE_NOISE_ALPHA", method.neftune_noise_alpha)
    if method.quantization:
        yield fill(f"constants_{method.quantization.bits.value}bit")


def loads_shares(plan: Plan) -> bool:
    """Whether each weight is loaded as a share on every rank; a quantized one is shared out later."""
    return plan.parallel.zero_stage.value == 3 and plan.method.quantization is None


def shares_rows(plan: Plan) -> bool:
    """Whether several samples are laid end to end in one row."""
    return plan.data.packing.value or plan.batch.micro_batch_size.value > 1


def packs(plan: Plan) -> bool:
    """Whether bitsandbytes may pack the weights anew: see `ftc.runtime.model.quantized`."""
    bits = plan.method.quantization.bits.value if plan.method.quantization else None
    return bits == 4 and plan.hardware.device.value == "cpu"


def _swaps(plan: Plan) -> Iterator[str]:
    """The calls that swap parts of the model."""
    if plan.model.fused:
        yield "fused.apply(model, FUSED)"
    if plan.model.liger:
        model = "model.get_base_model()" if plan.method.lora else "model"
        arguments = ["cross_entropy=False", "fused_linear_cross_entropy=False", f"model={model}"]
        yield quote.call(f"apply_liger_kernel_to_{plan.model.liger.value}", arguments, indent=4)


def fuses_head(plan: Plan) -> bool:
    return plan.model.fused is not None and "linear_cross_entropy" in plan.model.fused.value
