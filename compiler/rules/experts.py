"""Rules about adapters on the experts of a mixture, which are many layers in one weight."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..catalog.architectures import FUSED_EXPERTS, traits
from ..catalog.presets import Architecture
from ..diagnostics.diagnostic import Diagnostic
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.method import Lora
from ..spec.spec import Spec
from .rule import Rule, conflict

ATTENTION = 'target_modules = ["q_proj", "k_proj", "v_proj", "o_proj"]'


def expert_layers(known: Architecture) -> list[str]:
    """The layers of experts and the routers, in full as in the model's file, with `*` for the block."""
    layers = traits(known.model_type).experts
    places = [name for name in known.modules if name.endswith(".experts")]
    places = places or (["model.layers.*.mlp.experts"] if layers else [])
    return [
        f"{place.removesuffix('.experts')}.gate" if layer == "gate" else f"{place}.{layer}"
        for place in places
        for layer in layers
    ]


def adapted(method: Lora, names: Iterable[str]) -> list[str]:
    """Those of the layers `names` that get an adapter: see `ftc.runtime.model.adapters`."""
    targets = method.target_modules
    wanted = None if targets == "all-linear" else _ends(targets)
    excluded = _ends([*method.exclude_modules, *method.modules_to_save])
    found: list[str] = []
    for layer in names:
        parts = layer.split(".")
        holders = [f".{'.'.join(parts[: end + 1])}" for end in range(len(parts))]
        means = holders[-2:] if ".experts." in layer else holders[-1:]
        hit = wanted is None or any(name.endswith(wanted) for name in means)
        if hit and not any(holder.endswith(excluded) for holder in holders):
            found.append(layer)
    return found


def _ends(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(re.sub(r"\.\d+(?=\.)", ".*", f".{name}") for name in names)


def experts_fit(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Adapters of experts know no dropout, no DoRA and no start out of the base (PEFT 0.21). Nor do, of the two
    last, those of layers with the same names: exported, they are described to PEFT as experts are."""
    method, known = spec.method, facts.architecture
    if not isinstance(method, Lora) or known is None or not facts.traits.experts:
        return
    kind, start = known.model_type, method.init_lora_weights
    experts = adapted(method, expert_layers(known))
    alike = [n for n in known.modules if n.rpartition(".")[2] in facts.traits.experts]
    named = experts or adapted(method, alike)
    if not known.modules and isinstance(method.target_modules, list):
        ends = {name.rpartition(".")[2] for name in method.target_modules}
        named = named or sorted(ends & {*facts.traits.experts})
    out_of_base = start.startswith(("pissa", "olora", "orthogonal"))
    for key, wrong, without in (
        ("dropout", bool(experts) and method.dropout > 0, "dropout"),
        ("use_dora", bool(named) and method.use_dora, "DoRA"),
        ("init_lora_weights", bool(named) and out_of_base, f"the start {start}"),
    ):
        if wrong:
            what = "the experts" if experts else f"the {named[0].rpartition('.')[2]}"
            yield conflict(
                document,
                ("method", key),
                f"`{key}` does not go with adapters on {what} of a {kind}",
                why=f"PEFT adapts all experts of a layer as one weight, without {without}"
                + ("" if experts else ", and takes a layer of that name for one of theirs"),
                others=[(("method", "target_modules"), "these take in the experts")],
                hints=[f"remove {key}", f"or leave the experts out: {ATTENTION}"],
            )


def experts_go_in_pairs(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Two layers of an expert are one weight, so both have an adapter or none has (PEFT 0.21)."""
    method, known = spec.method, facts.architecture
    if not isinstance(method, Lora) or known is None or not facts.traits.experts:
        return
    leaves = {name.rpartition(".")[2] for name in adapted(method, expert_layers(known))}
    for pair in FUSED_EXPERTS:
        if len(found := [name for name in pair if name in leaves]) == 1:
            other = pair[1 - pair.index(found[0])]
            listed = isinstance(method.target_modules, list)
            hints = [f'add "{other}"', f'or remove "{found[0]}"']
            yield conflict(
                document,
                ("method", "target_modules" if listed else "exclude_modules"),
                f"the experts of a {known.model_type} have no {found[0]} without {other}",
                on="value",
                why=f"{pair[0]} and {pair[1]} of all experts are one weight, and get one adapter",
                hints=hints if listed else [f'exclude "{found[0]}", too', f'or leave "{other}" in'],
            )


RULES: tuple[Rule, ...] = (experts_fit, experts_go_in_pairs)
