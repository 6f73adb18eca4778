"""Adapters on what the spec names, and on nothing else.

PEFT (0.21) reads names in its own way. In a mixture it takes every layer that is called as those of experts were in
transformers 4 for one of the experts, shared experts and dense MLPs, too, and heeds neither exclude_modules nor
layers_to_transform for them; "norm" in modules_to_save takes in q_norm. So names are looked up here, PEFT is given
some that have one meaning, and what it made of them is compared.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple
from unittest.mock import patch

from peft import LoraConfig, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from peft.utils import ModulesToSaveWrapper
from peft.utils import transformers_weight_conversion as conversion
from torch import nn
from transformers.pytorch_utils import Conv1D

from ..errors import RunError
from .names import ends, unknown

LINEAR = (nn.Linear, Conv1D)
ADAPTABLE = (*LINEAR, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Scale(NamedTuple):
    """An adapter's rank, and the alpha that it is scaled by."""

    rank: int
    alpha: float


class Layer(NamedTuple):
    """What may get an adapter. `names`: in full, any end of which means it; the first is its own.

    `target`: the module, or the weight that it is a part of, as the layers of experts are.
    """

    names: tuple[str, ...]
    target: str
    linear: bool

    def ends_with(self, wanted: Iterable[str]) -> bool:
        return any(_ends_with(name, wanted) for name in self.names)


Adapters = dict[str, Scale]  # by the full name of a module, or of a weight that is several layers


def add(model: Any, config: LoraConfig, parameters: int | None = None) -> Any:
    """The model with the adapters that `config` names, by PEFT; its names in `config` become exact.

    `parameters`: how many are to be trained, where the plan knows. Raises RunError for a name that matches
    nothing, for what can't be adapted, and where something else is adapted or trained than was named.
    """
    config.task_type = config.task_type or TaskType.CAUSAL_LM
    modules, weights = _names(model)
    wanted, saved = named(model, config), _saved(modules, config)
    _fits(model, config, wanted)
    _describe(config, wanted, modules, weights)
    # PEFT looks at the end of a name whether or not a part of it begins there.
    if any(name.endswith(tuple(config.modules_to_save or ())) for name in modules - saved):
        config.modules_to_save = sorted(saved)
    with patch.dict(conversion._MOE_TARGET_MODULE_MAPPING, clear=True):
        adapted = get_peft_model(model, config)
    _compare(adapted, config, wanted, saved)
    count = sum(getattr(p, "ds_numel", p.numel()) for p in adapted.parameters() if p.requires_grad)
    if parameters not in (None, count):
        raise _other(f"{count:,} parameters would be trained, and the plan counts {parameters:,}")
    return adapted


def named(model: Any, config: LoraConfig) -> Adapters:
    """What the config asks an adapter for. "all-linear": every linear layer but the head, and experts as far as
    PEFT knows the names of their layers."""
    layers = list(_layers(model))
    _check_names(model, config, layers)
    targets, blocks = config.target_modules, config.layers_to_transform
    without = [*(config.exclude_modules or ()), *(config.modules_to_save or ())]
    chosen: dict[str, list[Layer]] = {}
    for layer in layers:
        hit = layer.linear if targets == "all-linear" else layer.ends_with(targets or ())
        hit |= _ends_with(layer.target, config.target_parameters or ())
        left_out = any(_ends_with(end, without) for end in ends(layer.names[0]))
        if hit and not left_out and (not blocks or _block(layer.names[0]) in blocks):
            chosen.setdefault(layer.target, []).append(layer)
    if not chosen:
        raise RunError(
            "nothing-to-train",
            "method.target_modules and exclude_modules leave no layer to adapt",
            "name other layers, or exclude fewer",
        )
    for layer in layers:
        if layer not in chosen.get(layer.target, [layer]):
            there = chosen[layer.target][0].names[0]
            raise _refused(
                f"{there} and {layer.names[0]} are one weight, so both get an adapter or neither does",
                "name both layers in method.target_modules, or exclude both",
            )
    return {target: _scale(target, parts, config) for target, parts in chosen.items()}


def _layers(model: Any) -> Iterator[Layer]:
    head, modules = model.get_output_embeddings(), set[str]()
    for name, module in model.named_modules():
        if isinstance(module, ADAPTABLE):
            modules.add(name)
            yield Layer((name,), name, isinstance(module, LINEAR) and module is not head)
    for weight, _ in model.named_parameters():
        for layer, end in _expert_layers(model).items():
            name = f"{weight.removesuffix(f'.{end}')}.{layer}"
            if weight.endswith(f".{end}") and name not in modules:
                yield Layer((name, weight.rpartition(".")[0]), weight, True)


def _expert_layers(model: Any) -> dict[str, str]:
    """Layers of an expert and the router by their names in the model's file -> the end of the weight for them."""
    family = conversion._MODEL_TO_CONVERSION_PATTERN.get(model.config.model_type)
    return conversion._MOE_TARGET_MODULE_MAPPING.get(family, {})


def _scale(target: str, parts: list[Layer], config: LoraConfig) -> Scale:
    """Layers in one weight have one adapter, with room for that of each."""

    def of(name: str) -> Scale:
        ranks, alphas = config.rank_pattern or {}, config.alpha_pattern or {}
        rank = next((ranks[end] for end in ranks if _ends_with(name, [end])), config.r)
        alpha = next((alphas[end] for end in alphas if _ends_with(name, [end])), config.lora_alpha)
        return Scale(rank, alpha)

    if parts[0].names[0] == target or _ends_with(target, config.target_parameters or ()):
        return of(target)
    scales = [of(part.names[0]) for part in parts]
    if len({scale.alpha / scale.rank for scale in scales}) > 1:
        raise _refused(
            f"{' and '.join(part.names[0] for part in parts)} are one weight, so alpha / rank is one, too",
            "give these layers the same rank and alpha in method.rank_pattern",
        )
    return Scale(sum(scale.rank for scale in scales), sum(scale.alpha for scale in scales))


def _describe(config: LoraConfig, wanted: Adapters, modules: set[str], weights: set[str]) -> None:
    """Writes into `config`, in few words, what has an adapter and with which scale."""
    layers, parts = wanted.keys() & modules, wanted.keys() & weights
    config.target_modules = _shortest(layers, modules - layers)
    config.target_parameters = _shortest(parts, weights - parts) or None
    config.exclude_modules = config.layers_to_transform = None
    config.rank_pattern, config.alpha_pattern = {}, {}
    usual = Scale(config.r, config.lora_alpha)
    for name, scale in ((name, scale) for name, scale in wanted.items() if scale != usual):
        alike = {other for other in wanted if wanted[other] == scale}
        (end,) = _shortest({name}, wanted.keys() - alike)
        config.rank_pattern[end], config.alpha_pattern[end] = scale


def for_everybody(model: Any) -> bool:
    """Describes the adapter so that PEFT loads it as it is: layers named as experts' are as weights.

    True if there are such: PEFT can't load them on a quantized base.
    """
    base, config = model.get_base_model(), model.peft_config["default"]
    made, renamed = _made(base), _expert_layers(base)
    modules, weights = _names(base)
    layers = {name for name in made.keys() & modules if name.rpartition(".")[2] in renamed}
    if layers:
        config.lora_dropout, config.init_lora_weights = 0.0, True  # which weights don't have
        found = {f"{name}.weight" if name in layers else name: s for name, s in made.items()}
        _describe(config, found, modules, weights)
    return bool(layers)


def _compare(adapted: Any, config: LoraConfig, wanted: Adapters, saved: set[str]) -> None:
    """Raises RunError unless PEFT adapted what is wanted, saves whole what is named, and trains nothing else."""
    base = adapted.get_base_model()
    made = _made(base)
    whole = {n for n, m in base.named_modules() if isinstance(m, ModulesToSaveWrapper)}
    trained = {n for n, p in base.named_parameters() if p.requires_grad}
    adapters = {n for n, _ in base.named_parameters() if ".lora_" in n}
    rest = {n for n in trained - adapters if ".modules_to_save." not in n}
    if config.bias != "none":
        rest = {n for n in rest if not n.endswith("bias")}
    twins = whole if config.ensure_weight_tying else saved  # the embedding and the head
    for what, found in (
        ("no adapter", wanted.keys() - made.keys()),
        ("an adapter that was not asked for", made.keys() - wanted.keys()),
        ("another rank or alpha", {n for n in made if made[n] != wanted.get(n, made[n])}),
        ("no copy that is trained", saved - whole),
        ("a copy that is trained and was not asked for", whole - twins),
        ("adapters that are frozen", adapters - trained),
        ("weights that are trained and were not asked for", rest),
    ):
        if found:
            raise _other(f"{what}: {', '.join(sorted(found)[:3])} ({len(found)} in all)")


def _made(base: Any) -> Adapters:
    """What PEFT adapted, by the name that it had before."""
    found = {}
    for name, module in base.named_modules():
        if isinstance(module, LoraLayer):
            name = name.replace(
                ".base_layer", ""
            )  # weights of one module are wrapped one in another
            target = f"{name}.{module.parameter_name}" if isinstance(module, ParamWrapper) else name
            found[target] = Scale(module.r["default"], module.lora_alpha["default"])
    return found


def _fits(model: Any, config: LoraConfig, wanted: Adapters) -> None:
    """Raises RunError for what can't be trained and put back into the base."""
    inputs, head = model.get_input_embeddings(), model.get_output_embeddings()
    modules = dict(model.named_modules())
    if head is not None and inputs is not None and head.weight is inputs.weight:
        tied = [name for name in wanted if modules.get(name) in (inputs, head)]
        if tied:
            raise _refused(
                f"{tied[0]} shares its weight with the other end of the model, so it can't get an adapter",
                f'train it whole: modules_to_save = ["{tied[0].rpartition(".")[2]}"]',
                "or remove it from method.target_modules",
            )
    start = config.init_lora_weights
    experts = {name for name in wanted if name not in modules}
    alike = {name for name in wanted if name.rpartition(".")[2] in _expert_layers(model)} | experts
    for key, names in (
        ("dropout", experts if config.lora_dropout else ()),
        ("use_dora", alike if config.use_dora else ()),
        ("init_lora_weights", alike if isinstance(start, str) and start != "gaussian" else ()),
    ):
        if names:
            raise _refused(
                f"method.{key} does not go with adapters on {min(names)}: PEFT can't adapt experts with it",
                f"remove method.{key}",
                "or leave the experts out: method.target_modules of attention alone",
            )


def _check_names(model: Any, config: LoraConfig, layers: list[Layer]) -> None:
    """Raises RunError for a name that no module, layer or weight of the model ends with."""
    modules, weights = _names(model)
    every = modules | weights | {name for layer in layers for name in layer.names}
    keys = ("target_modules", "exclude_modules", "modules_to_save", "rank_pattern", "alpha_pattern")
    for key in keys:
        wanted = getattr(config, key) or ()
        for name in () if isinstance(wanted, str) else sorted(wanted):
            if not any(_ends_with(other, [name]) for other in every):
                raise unknown(key, name, every)
            if key == "target_modules" and not any(layer.ends_with([name]) for layer in layers):
                raise _refused(
                    f'method.target_modules: "{name}" is a part of the model, but not a layer that gets an adapter',
                    "name linear layers, such as q_proj",
                )


def _saved(modules: set[str], config: LoraConfig) -> set[str]:
    return {name for name in modules if _ends_with(name, config.modules_to_save or ())}


def _names(model: Any) -> tuple[set[str], set[str]]:
    """The names of modules and of weights, before PEFT put in its own."""
    modules = {n.replace(".base_layer", "") for n, _ in model.named_modules() if ".lora_" not in n}
    weights = {n.replace(".base_layer", "") for n, _ in model.named_parameters()}
    return modules - {""}, {name for name in weights if ".lora_" not in name}


def _shortest(names: Iterable[str], others: Collection[str]) -> list[str]:
    """The shortest ends of `names` that none of the others has."""
    taken = {end for other in others for end in _tails(other)}
    free = (next((e for e in _tails(name) if e not in taken), name) for name in names)
    return sorted({*free})


def _tails(name: str) -> list[str]:
    """a.b.c -> c, b.c, a.b.c."""
    parts = name.split(".")
    return [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]


def _ends_with(name: str, wanted: Iterable[str]) -> bool:
    return any(f".{name}".endswith(f".{end}") for end in wanted)


def _block(name: str) -> int | None:
    """The number of the block that a layer is in: the first number in its name."""
    found = re.search(r"\.(\d+)\.", name)
    return int(found[1]) if found else None


def _refused(message: str, *hints: str) -> RunError:
    return RunError("not-adaptable", message, *hints)


def _other(message: str) -> RunError:
    return RunError(
        "other-adapters",
        f"PEFT would train something else than the spec names: {message}",
        "name the layers in method.target_modules, and exclude those that it should not have",
        "please report this with the run's ftc.lock",
    )
