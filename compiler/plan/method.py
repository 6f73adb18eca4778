"""[method] -> its plan."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..catalog.presets import EMBEDDINGS
from ..facts.gather import Facts
from ..spec.method import Full, Lora, Qlora
from ..spec.spec import Spec
from .parameters import trainable_parameters
from .take import Taker, derived
from .values import Origin, Value, leaves


class LoraPlan(NamedTuple):
    """What PEFT's LoraConfig gets; None leaves it at its default. Patterns: module -> number.

    `parameters`: how many the run trains, where the dimensions of the base tell.
    """

    rank: Value[int]
    alpha: Value[int]
    dropout: Value[float]
    target_modules: Value[str | list[str]]
    exclude_modules: Value[list[str]] | None
    layers_to_transform: Value[list[int]] | None
    rank_pattern: Value[dict[str, int]] | None
    alpha_pattern: Value[dict[str, int]] | None
    init_lora_weights: Value[str] | None
    use_dora: Value[bool] | None
    use_rslora: Value[bool] | None
    modules_to_save: Value[list[str]] | None
    ensure_weight_tying: Value[bool] | None
    bias: Value[str] | None
    loraplus_lr_ratio: Value[float] | None
    parameters: Value[int] | None


class QuantizationPlan(NamedTuple):
    """With 4 bits `type`, `double_quant` and `compute_dtype` are set, with 8 `int8_threshold`."""

    bits: Value[int]
    type: Value[str] | None
    double_quant: Value[bool] | None
    compute_dtype: Value[str] | None
    int8_threshold: Value[float] | None


class MethodPlan(NamedTuple):
    kind: Value[str]
    freeze: Value[list[str]] | None
    neftune_noise_alpha: Value[float] | None
    lora: LoraPlan | None
    quantization: QuantizationPlan | None


def method_plan(spec: Spec, facts: Facts, take: Taker, dtype: Value[str]) -> MethodPlan:
    method = spec.method
    return take.fill(
        MethodPlan,
        "method",
        freeze=_freeze(method, facts, take) if isinstance(method, Full) else None,
        lora=_lora(method, facts, take) if isinstance(method, Lora) else None,
        quantization=_quantization(take, dtype) if isinstance(method, Qlora) else None,
    )


def _freeze(method: Full, facts: Facts, take: Taker) -> Value[list[str]] | None:
    given: Value[list[str]] | None = take.given("method.freeze")
    if not (unlearnt := facts.traits.unlearnt):
        return given
    why = f"what a {facts.model_type} never learns from text, too"
    return derived([*method.freeze, *unlearnt], why)


def _quantization(take: Taker, dtype: Value[str]) -> QuantizationPlan:
    bits: Value[int] = take("method.quantization.bits")
    four = bits.value == 4
    compute: Value[str] = take("method.quantization.compute_dtype")
    if compute.value == "auto":
        compute = derived(dtype.value, "the model's dtype")
    return QuantizationPlan(
        bits=bits,
        type=take("method.quantization.type") if four else None,
        double_quant=take("method.quantization.double_quant") if four else None,
        compute_dtype=compute if four else None,
        int8_threshold=None if four else take("method.quantization.int8_threshold"),
    )


def _lora(method: Lora, facts: Facts, take: Taker) -> LoraPlan:
    given: dict[str, Any] = {}
    targets: Value[Any] = take("method.target_modules")
    if targets.value == "all-linear" and facts.traits.unadapted:
        left = dict.fromkeys([*method.exclude_modules, *facts.traits.unadapted])
        why = f"what PEFT can't adapt of a {facts.model_type}"
        given["exclude_modules"] = derived(list(left), why)
    if targets.value == "all-linear" and method.layers_to_transform:
        linears = facts.architecture.linears if facts.architecture else None
        names = dict.fromkeys([*(linears or ()), *facts.traits.experts])
        targets = derived(list(names), "all-linear, by name")
    for name, unset in (("init_lora_weights", "default"), ("bias", "none")):
        if take(f"method.{name}").value == unset:
            given[name] = None
    origin = Origin("spec", "method.rank_pattern")
    ranks = {pattern.module: pattern.rank for pattern in method.rank_pattern}
    alphas = {pattern.module: pattern.alpha for pattern in method.rank_pattern if pattern.alpha}
    tied = facts.architecture.tied if facts.architecture else None
    ends = {name.rpartition(".")[2] for name in method.modules_to_save}
    one = derived(True, "the head may be the embedding") if tied is None else None
    one = derived(True, "the head is the embedding") if tied else one
    lora = take.fill(
        LoraPlan,
        "method",
        target_modules=targets,
        rank_pattern=Value(ranks, origin) if ranks else None,
        alpha_pattern=Value(alphas, origin) if alphas else None,
        ensure_weight_tying=one if ends & EMBEDDINGS else None,
        parameters=None,
        **given,
    )
    values = dict(leaves(lora, "method.lora."))
    count = trainable_parameters(values, facts.architecture)
    words = "rank x (inputs + outputs) of each layer, and what is trained whole"
    return lora._replace(parameters=derived(count, words)) if count else lora
