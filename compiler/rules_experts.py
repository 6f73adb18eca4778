"""Rules about adapters on the experts of a mixture, which are many layers in one weight."""

from __future__ import annotations

from collections.abc import Iterator

from .architectures import EXPERT_LAYERS, FUSED_EXPERTS
from .diagnostics import Diagnostic, at
from .facts import Facts
from .load import Document
from .spec import Spec
from .spec_model import Lora


def _kind(facts: Facts) -> str | None:
    return facts.architecture.model_type if facts.architecture else None


def _leaves(method: Lora) -> set[str]:
    """The target modules by the last part of their names; none for "all-linear"."""
    targets = method.target_modules
    return {name.rpartition(".")[2] for name in targets} if isinstance(targets, list) else set()


def experts_fit(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Adapters of experts, which are many layers in one weight, know no dropout and no DoRA (PEFT 0.21)."""
    method, kind = spec.method, _kind(facts)
    if not isinstance(method, Lora) or kind not in EXPERT_LAYERS:
        return
    if method.target_modules != "all-linear" and not _leaves(method) & {*EXPERT_LAYERS[kind]}:
        return
    for key, wrong in (("dropout", method.dropout > 0), ("use_dora", method.use_dora)):
        if wrong:
            yield at(
                document,
                ("method", key),
                "conflict",
                f"`{key}` does not go with adapters on the experts of a {kind}",
                why="PEFT adapts all experts of a layer as one weight, without "
                + ("dropout" if key == "dropout" else "DoRA"),
                others=[(("method", "target_modules"), "these take in the experts")],
                hints=[
                    f"remove {key}",
                    "or leave the experts out: "
                    'target_modules = ["q_proj", "k_proj", "v_proj", "o_proj"]',
                ],
            )


def experts_go_in_pairs(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Two layers of an expert are one weight, so both have an adapter or none has (PEFT 0.21)."""
    method, kind = spec.method, _kind(facts)
    if not isinstance(method, Lora) or kind not in EXPERT_LAYERS:
        return
    leaves = _leaves(method)
    for pair in FUSED_EXPERTS:
        if pair[0] not in EXPERT_LAYERS[kind]:
            continue
        if len(found := [name for name in pair if name in leaves]) == 1:
            other = pair[1 - pair.index(found[0])]
            yield at(
                document,
                ("method", "target_modules"),
                "conflict",
                f"the experts of a {kind} have no {found[0]} without {other}",
                on="value",
                why=f"{pair[0]} and {pair[1]} of all experts are one weight, and get one adapter",
                hints=[f'add "{other}"', f'or remove "{found[0]}"'],
            )
