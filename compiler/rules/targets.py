"""Rules about the layers that [method] names for adapters: they are there, and PEFT can adapt them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from ..catalog.presets import EMBEDDINGS, Architecture
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..diagnostics.guess import guess
from ..document.at import at
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.keys import Refused
from ..spec.method import Lora
from ..spec.spec import Spec
from .experts import expert_layers
from .rule import Rule, conflict

LAYERS: KeyPath = ("method", "layers_to_transform")


def _leaves(architecture: Architecture) -> list[str]:
    """The last parts of the names of modules: q_proj, norm, lm_head."""
    return list(dict.fromkeys(name.rpartition(".")[2] for name in architecture.modules))


def _named(method: Lora) -> Iterator[tuple[KeyPath, str]]:
    """Each name of a module in [method], with its place."""
    for key in ("target_modules", "exclude_modules", "modules_to_save"):
        with suppress(Refused):
            yield from ((("method", key, index), name) for index, name in method.each(key))
    for index, pattern in method.each("rank_pattern"):
        with suppress(Refused):
            yield ("method", "rank_pattern", index, "module"), pattern.module


def names_exist(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Every name is the end of a module's; target_modules names linear layers."""
    known = facts.architecture
    if not isinstance(spec.method, Lora) or known is None or not known.modules:
        return
    leaves, linears = _leaves(known), list(known.linears or ())
    experts = expert_layers(known)
    linears += facts.traits.experts if linears else ()
    every = [*known.names(), *experts]
    told = EMBEDDINGS if known.tied else EMBEDDINGS & {*spec.method.modules_to_save}
    for path, name in _named(spec.method):
        linear = path[1] == "target_modules" and "." not in name and bool(linears)
        if linear:
            there = name in linears or name == "lm_head" or (bool(experts) and name == "experts")
        elif "." in name:
            there = any(f".{full}".endswith(f".{name}") for full in every)
        else:
            there = name in leaves or any(full.endswith(f".{name}") for full in experts)
        if path[1] == "target_modules" and name in told:
            continue  # by tied_layers_stay, or by rules_method.saved_or_adapted
        if not there:
            count = name.count(".") + 1
            near = (
                {".".join(full.split(".")[-count:]) for full in known.names()} if count > 1 else ()
            )
            what, names = ("linear layer", linears) if linear else ("module", leaves)
            yield at(
                document,
                path,
                "unknown-module",
                f'{spec.model.base} has no {what} "{name}"',
                on="value",
                why="PEFT passes over a name that matches nothing",
                hints=[*guess(name, near or names), f"it has {', '.join(names)}"],
            )


def parts_exist(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Names of modules are made of what the weight files of the folder name; transformers may put it together
    in another way."""
    local, known = facts.local_model, facts.architecture
    if not isinstance(spec.method, Lora) or not local or not local.parts or known is None:
        return
    layers = facts.traits.experts
    parts = {*local.parts, *layers, *EMBEDDINGS, "mlp", "experts"} - {"weight", "bias"}
    shown = sorted(part for part in parts if not part.isdigit())
    for path, name in _named(spec.method):
        odd = next((part for part in name.split(".") if part not in parts and part != "*"), None)
        if odd is not None:
            yield at(
                document,
                path,
                "unknown-module",
                f'{spec.model.base} has no module "{name}"',
                on="value",
                why="PEFT passes over a name that matches nothing",
                hints=guess(odd, shown) or [f"its weight files name {', '.join(shown)}"],
            )


def layers_are_adapted(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """No layer is named that PEFT can't adapt."""
    if not isinstance(spec.method, Lora):
        return
    for path, name in _named(spec.method):
        last = name.rpartition(".")[2]
        if path[1] == "target_modules" and last in facts.traits.unadapted:
            yield conflict(
                document,
                path,
                f"PEFT can't adapt the {last} of a {facts.model_type}",
                on="value",
                why="the model does not call it as a linear layer, or it gets no gradient",
                hints=[
                    f'remove "{name}"',
                    'or set target_modules = "all-linear": it leaves that out',
                ],
            )


def tied_layers_stay(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """An adapter on a head that is the embedding, too, would be merged into both."""
    known = facts.architecture
    if not isinstance(spec.method, Lora) or known is None or not known.tied:
        return
    saved = {name.rpartition(".")[2] for _, name in spec.method.each("modules_to_save")}
    for index, name in spec.method.each("target_modules"):
        last = name.rpartition(".")[2]
        if last in EMBEDDINGS - saved:
            yield conflict(
                document,
                ("method", "target_modules", index),
                f"`{name}` can't get an adapter: head and embedding of {spec.model.base} are one weight",
                on="value",
                why="merged, the adapter of one of them would change the other, too",
                hints=[f'train it whole: modules_to_save = ["{last}"]', f'or remove "{name}"'],
            )


def blocks_exist(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """layers_to_transform counts from 0, and ends with the last block."""
    blocks = facts.architecture.num_layers if facts.architecture else None
    if not isinstance(spec.method, Lora) or blocks is None:
        return
    for index, block in spec.method.each("layers_to_transform"):
        if block >= blocks:
            yield at(
                document,
                (*LAYERS, index),
                "out-of-range",
                f"{spec.model.base} has {blocks} blocks, so there is no block {block}",
                on="value",
                why="blocks are counted from 0",
                hints=[f"name blocks from 0 to {blocks - 1}"],
            )


def blocks_have_names(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """PEFT takes layers_to_transform together with names only."""
    method = spec.method
    if not isinstance(method, Lora) or not method.layers_to_transform:
        return
    known = facts.architecture is not None and facts.architecture.linears
    if method.target_modules == "all-linear" and not known:
        yield conflict(
            document,
            LAYERS,
            "`layers_to_transform` needs the names of the layers in target_modules",
            why=f'ftc does not know the layers of {spec.model.base}, so it can\'t name "all-linear"',
            hints=['set target_modules, such as ["q_proj", "v_proj"]', "or remove it"],
        )


RULES: tuple[Rule, ...] = (
    names_exist,
    parts_exist,
    layers_are_adapted,
    tied_layers_stay,
    blocks_exist,
    blocks_have_names,
)
