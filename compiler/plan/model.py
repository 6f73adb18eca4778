"""[model] and [method] -> their plans."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from ..catalog.accelerators import find_accelerator
from ..catalog.architectures import EXPERT_LAYERS, INSTEAD, TOWERS, UNADAPTED, UNLEARNT
from ..catalog.model_types import CAUSAL, WHOLE
from ..catalog.presets import EMBEDDINGS
from ..facts.chat_clock import asks
from ..facts.gather import Facts, modelscope_id
from ..spec.method import Full, Lora, Qlora
from ..spec.model import ROPE_KEYS, RopeScaling
from ..spec.spec import Spec
from . import plan as p
from .fused import fused
from .parameters import trainable_parameters
from .plan import Origin, Value
from .take import Taker, derived, target


def model_plan(spec: Spec, facts: Facts, take: Taker, spec_folder: str) -> p.ModelPlan:
    model, preset = spec.model, facts.preset
    package = preset.package if preset and model.source != "hub" else None
    other = modelscope_id(model.base) if facts.local_model is None else None
    origin = Origin("preset", preset.name) if preset else Origin("spec", "model.base")
    folder = str(PurePath(spec_folder, model.base)) if facts.local_model else None
    hub_id = None if package or folder or other else preset.hub_id if preset else model.base
    accelerator = find_accelerator(spec.hardware.accelerator)
    capable = accelerator is not None and accelerator.bfloat16
    dtype: Value[str] = take("model.dtype")
    if dtype.value == "auto":
        name = "float32" if spec.hardware.device == "cpu" else "bfloat16" if capable else "float16"
        dtype = derived(name, f"what {target(spec)} computes fast")
    attention: Value[str] = take("model.attention")
    if attention.value == "auto":
        kind = facts.architecture.model_type if facts.architecture else ""
        # Never flash_attention_2: a package that is compiled against torch, which the compiler can't see.
        own = kind not in INSTEAD
        why = "torch's own, which needs no package" if own else f"what transformers' {kind} can"
        attention = derived(INSTEAD.get(kind, "segment_sdpa"), why)
    checkpointing: Value[Any] = take("model.gradient_checkpointing")
    if checkpointing.value == "auto":
        gpu = spec.hardware.device == "cuda"
        checkpointing = derived(gpu, "GPU memory is scarce" if gpu else "a CPU has memory")
    template: Value[str] = take("model.chat_template")
    if facts.template_name is not None and facts.template_name != template.value:
        template = Value(facts.template_name, origin)
    rope = _rope(model.rope_scaling, facts) if model.rope_scaling else None
    return p.ModelPlan(
        base=take("model.base"),
        package=p.PackagePlan(
            Value(package.requirement, origin),
            Value(package.file, origin),
            Value(package.sha256, origin),
        )
        if package
        else None,
        hub_id=Value(hub_id, origin) if hub_id else None,
        modelscope=Value(other, Origin("spec", "model.base")) if other else None,
        folder=Value(folder, origin) if folder else None,
        revision=take.given("model.revision"),
        auto_class=_auto_class(spec, facts),
        towers=_towers(spec, facts),
        dtype=dtype,
        attention=attention,
        chat_template=template,
        date=take("model.date") if asks(facts.template or "") else None,
        max_seq_length=take("model.max_seq_length"),
        rope_scaling=rope[0] if rope else None,
        max_position=rope[1] if rope else None,
        trust_remote_code=take("model.trust_remote_code"),
        allow_pickle=take("model.allow_pickle"),
        gradient_checkpointing=checkpointing,
        fused=fused(spec, facts, dtype.value),
        liger=_liger(model.fused_kernels, facts),
    )


def _auto_class(spec: Spec, facts: Facts) -> Value[str] | None:
    """The loader of a base that was saved with its towers, where AutoModelForCausalLM would leave them out: adapters
    then have the names that the class in its config.json has, and an exported model is whole."""
    kind, local = facts.architecture.model_type if facts.architecture else "", facts.local_model
    saved = local.classes[0] if local and local.classes else WHOLE.get(kind)
    if kind not in WHOLE or saved == CAUSAL[kind] or facts.runs_own_code(spec):
        return None
    return derived("AutoModelForImageTextToText", f"the base is a {WHOLE[kind]}")


def _towers(spec: Spec, facts: Facts) -> Value[list[str]] | None:
    known = facts.architecture
    whole = known and (known.model_type not in WHOLE or _auto_class(spec, facts))
    names = TOWERS.get(known.model_type, ()) if known and whole else ()
    if not names or facts.runs_own_code(spec):
        return None
    crossing = [f"layers.{number}" for number in known.crossing] if known else []
    return derived([*names, *crossing], "what text never reaches")


def _liger(fused_kernels: str, facts: Facts) -> Value[str] | None:
    if fused_kernels != "liger" or facts.architecture is None:
        return None
    return Value(facts.architecture.model_type, Origin("spec", "model.fused_kernels"))


def _rope(scaling: RopeScaling, facts: Facts) -> tuple[Value[dict[str, Any]], Value[int]]:
    """transformers' rope_parameters (modeling_rope_utils), and the longest context with them."""
    known = facts.architecture.max_position if facts.architecture else None
    original = scaling.original_max_position or known or 0
    parameters: dict[str, Any] = {"rope_type": scaling.type, "factor": scaling.factor}
    if scaling.type in ("yarn", "llama3"):
        parameters["original_max_position_embeddings"] = original
    for name in ROPE_KEYS.get(scaling.type, ()):
        if getattr(scaling, name) is not None:
            parameters[name] = getattr(scaling, name)
    longest = derived(int(original * scaling.factor), f"{original} x {scaling.factor:g}")
    if scaling.type == "dynamic":  # transformers reckons from the context as it was
        longest = derived(original, "dynamic scaling begins behind it")
    return Value(parameters, Origin("spec", "model.rope_scaling")), longest


def method_plan(spec: Spec, facts: Facts, take: Taker, dtype: Value[str]) -> p.MethodPlan:
    method = spec.method
    return p.MethodPlan(
        kind=take("method.kind"),
        freeze=_freeze(method, facts, take) if isinstance(method, Full) else None,
        neftune_noise_alpha=take.given("method.neftune_noise_alpha"),
        lora=_lora(method, facts, take) if isinstance(method, Lora) else None,
        quantization=_quantization(take, dtype) if isinstance(method, Qlora) else None,
    )


def _freeze(method: Full, facts: Facts, take: Taker) -> Value[list[str]] | None:
    given: Value[list[str]] | None = take.given("method.freeze")
    kind = facts.architecture.model_type if facts.architecture else ""
    if kind not in UNLEARNT:
        return given
    return derived([*method.freeze, *UNLEARNT[kind]], f"what a {kind} never learns from text, too")


def _quantization(take: Taker, dtype: Value[str]) -> p.QuantizationPlan:
    bits: Value[int] = take("method.quantization.bits")
    four = bits.value == 4
    compute: Value[str] = take("method.quantization.compute_dtype")
    if compute.value == "auto":
        compute = derived(dtype.value, "the model's dtype")
    return p.QuantizationPlan(
        bits=bits,
        type=take("method.quantization.type") if four else None,
        double_quant=take("method.quantization.double_quant") if four else None,
        compute_dtype=compute if four else None,
        int8_threshold=None if four else take("method.quantization.int8_threshold"),
    )


def _lora(method: Lora, facts: Facts, take: Taker) -> p.LoraPlan:
    given = {name: take.given(f"method.{name}") for name in LORA}
    targets: Value[Any] = take("method.target_modules")
    kind = facts.architecture.model_type if facts.architecture else ""
    if targets.value == "all-linear" and kind in UNADAPTED:
        left = dict.fromkeys([*method.exclude_modules, *UNADAPTED[kind]])
        given["exclude_modules"] = derived(list(left), f"what PEFT can't adapt of a {kind}")
    if targets.value == "all-linear" and method.layers_to_transform:
        linears = facts.architecture.linears if facts.architecture else None
        names = dict.fromkeys([*(linears or ()), *EXPERT_LAYERS.get(kind, ())])
        targets = derived(list(names), "all-linear, by name")
    for name, unset in (("init_lora_weights", "default"), ("bias", "none")):
        given[name] = None if take(f"method.{name}").value == unset else given[name]
    origin = Origin("spec", "method.rank_pattern")
    ranks = {pattern.module: pattern.rank for pattern in method.rank_pattern}
    alphas = {pattern.module: pattern.alpha for pattern in method.rank_pattern if pattern.alpha}
    tied = facts.architecture.tied if facts.architecture else None
    ends = {name.rpartition(".")[2] for name in method.modules_to_save}
    one = derived(True, "the head may be the embedding") if tied is None else None
    one = derived(True, "the head is the embedding") if tied else one
    lora = p.LoraPlan(
        rank=take("method.rank"),
        alpha=take("method.alpha"),
        dropout=take("method.dropout"),
        target_modules=targets,
        rank_pattern=Value(ranks, origin) if ranks else None,
        alpha_pattern=Value(alphas, origin) if alphas else None,
        ensure_weight_tying=one if ends & EMBEDDINGS else None,
        parameters=None,
        **given,
    )
    values = dict(p.leaves(lora, "method.lora."))
    count = trainable_parameters(values, facts.architecture)
    words = "rank x (inputs + outputs) of each layer, and what is trained whole"
    return lora._replace(parameters=derived(count, words)) if count else lora


# Keys that are PEFT's own, and left out of train.py where they are not set.
LORA = (
    "exclude_modules",
    "layers_to_transform",
    "init_lora_weights",
    "use_dora",
    "use_rslora",
    "modules_to_save",
    "bias",
    "loraplus_lr_ratio",
)
