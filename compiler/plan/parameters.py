"""How many parameters a run trains, as far as the plan and the base's dimensions tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..catalog.architectures import traits
from ..catalog.presets import EMBEDDINGS, Architecture
from .values import Value

Values = Mapping[str, Value[Any]]  # a plan's, by path


def trainable_parameters(plan: Values, known: Architecture | None) -> int | None:
    """full: all. lora, qlora: see `_adapter_parameters`, and what is trained whole beside the adapters.

    None where the base's dimensions don't tell: a base that ftc does not know, frozen parts, biases, experts.
    """
    if known is None or _of(plan, "method.freeze") or _of(plan, "method.lora.bias"):
        return None
    if _of(plan, "method.lora.rank") is None:
        return known.parameters
    saved = set[str](_of(plan, "method.lora.modules_to_save") or ())
    experts = traits(known.model_type).experts
    if not known.linears or not known.num_layers or saved - EMBEDDINGS or experts:
        return None
    copies = min(len(saved), 1) if known.tied else len(saved)
    embeddings = copies * (known.vocab_size or 0) * (known.hidden_size or 0)
    return _adapter_parameters(plan, known, saved) + embeddings


def _adapter_parameters(plan: Values, known: Architecture, saved: set[str]) -> int:
    """rank x (inputs + outputs), and with DoRA the outputs, over every layer with an adapter."""
    targets = _of(plan, "method.lora.target_modules")
    excluded = {*(_of(plan, "method.lora.exclude_modules") or ()), *saved}
    blocks = _of(plan, "method.lora.layers_to_transform")
    ranks: dict[str, int] = _of(plan, "method.lora.rank_pattern") or {}
    width, vocabulary = known.hidden_size or 0, known.vocab_size or 0
    shapes = {**(known.linears or {})}
    if targets != "all-linear":  # which leaves out the head
        shapes |= {"lm_head": (width, vocabulary), "embed_tokens": (vocabulary, width)}
    total = 0
    for name in known.names():
        leaf, parts = name.rpartition(".")[2], name.split(".")
        chosen = leaf in shapes and (targets == "all-linear" or _ends(name, targets))
        block = next((int(part) for part in parts if part.isdigit()), None)
        holders = [".".join(parts[: end + 1]) for end in range(len(parts))]
        left_out = any(_ends(holder, excluded) for holder in holders)
        if not chosen or left_out or (blocks and block not in blocks):
            continue
        rank = next((r for end, r in ranks.items() if _ends(name, (end,))), None)
        inputs, outputs = shapes[leaf]
        total += (rank or _of(plan, "method.lora.rank")) * (inputs + outputs)
        total += outputs if _of(plan, "method.lora.use_dora") else 0
    return total


def _ends(name: str, ends: Iterable[str]) -> bool:
    return any(f".{name}".endswith(f".{end}") for end in ends)


def _of(plan: Values, path: str) -> Any:
    value = plan.get(path)
    return value.value if value else None
