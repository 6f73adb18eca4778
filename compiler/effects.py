"""What a difference does to a run, in numbers that are known before data are packed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .architectures import ADAPTED_EXPERTS
from .presets import EMBEDDINGS, Architecture
from .sides import Side


@dataclass(frozen=True)
class Effect:
    """`old` and `new` are None where a side has no such number, or it is not known."""

    name: str
    old: int | None
    new: int | None


def effects(old: Side, new: Side) -> tuple[Effect, ...]:
    """Those of the numbers that differ."""
    pairs = ((name, measure(old), measure(new)) for name, measure in MEASURES.items())
    return tuple(Effect(name, *values) for name, *values in pairs if values[0] != values[1])


def _of(side: Side, path: str) -> Any:
    value = side.plan.get(path)
    return value.value if value else None


def tokens_per_step(side: Side) -> int | None:
    """At most so many: the sequences of a global batch at their full length."""
    batch, length = _of(side, "batch.global_batch_size"), _of(side, "model.max_seq_length")
    return batch * length if batch and length else None


def trainable_parameters(side: Side) -> int | None:
    """full: all. lora, qlora: see `_adapter_parameters`, and what is trained whole beside the adapters.

    None where the base's dimensions don't tell: a base that ftc does not know, frozen parts, biases, experts.
    """
    known = side.architecture
    if known is None or _of(side, "method.freeze") or _of(side, "method.lora.bias"):
        return None
    if _of(side, "method.lora.rank") is None:
        return known.parameters
    saved = set[str](_of(side, "method.lora.modules_to_save") or ())
    experts = known.model_type in ADAPTED_EXPERTS
    if not known.linears or not known.num_layers or saved - EMBEDDINGS or experts:
        return None
    copies = min(len(saved), 1) if known.tied else len(saved)
    embeddings = copies * (known.vocab_size or 0) * (known.hidden_size or 0)
    return _adapter_parameters(side, known, known.linears) + embeddings


def _adapter_parameters(side: Side, known: Architecture, linears: dict[str, Any]) -> int:
    """rank x (inputs + outputs), and with DoRA the outputs, over every linear layer with an adapter."""
    targets = _of(side, "method.lora.target_modules")
    excluded = _of(side, "method.lora.exclude_modules") or ()
    blocks = _of(side, "method.lora.layers_to_transform")
    ranks: dict[str, int] = _of(side, "method.lora.rank_pattern") or {}
    total = 0
    for name in known.names():
        leaf, parts = name.rpartition(".")[2], name.split(".")
        chosen = leaf in linears and (targets == "all-linear" or _ends(name, targets))
        block = next((int(part) for part in parts if part.isdigit()), None)
        if not chosen or _ends(name, excluded) or (blocks and block not in blocks):
            continue
        rank = next((r for end, r in ranks.items() if _ends(name, (end,))), None)
        inputs, outputs = linears[leaf]
        total += (rank or _of(side, "method.lora.rank")) * (inputs + outputs)
        total += outputs if _of(side, "method.lora.use_dora") else 0
    return total


def _ends(name: str, ends: Iterable[str]) -> bool:
    return any(f".{name}".endswith(f".{end}") for end in ends)


MEASURES: dict[str, Callable[[Side], int | None]] = {
    "tokens per step, at most": tokens_per_step,
    "epochs": lambda side: _of(side, "train.num_epochs"),
    "steps": lambda side: _of(side, "train.max_steps"),
    "trainable parameters": trainable_parameters,
}
