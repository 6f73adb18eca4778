"""Which parts of a model are swapped for faster equals: see `ftc.runtime.model.fused` and docs/fused.md."""

from __future__ import annotations

from ..catalog.presets import EMBEDDINGS
from ..facts.gather import Facts
from ..spec.method import Lora
from ..spec.spec import Spec
from .take import derived
from .values import Value


def fused(spec: Spec, facts: Facts, dtype: str) -> Value[list[str]] | None:
    """The functions of `runtime/model/fused` that train.py calls, and why it may; `onednn` is one for the others."""
    if spec.model.fused_kernels == "none":
        return None
    kind, allowed = facts.model_type, facts.traits.swaps
    method = spec.method
    names: list[str] = []
    reasons: list[str] = []
    if "linear_cross_entropy" in allowed and not _wraps_head(spec):
        names.append("linear_cross_entropy")
        reasons.append(f"what the head of a {kind} allows")
    # ZeRO 3 gathers the weights of a layer when that layer is called, which a fused one never is.
    lora = method if isinstance(method, Lora) and method.kind == "lora" else None
    if lora and not lora.use_dora and lora.bias == "none" and spec.parallel.zero_stage != 3:
        names.append("lora")
        reasons.append("adapters on whole weights")
        if "lora_mlp" in allowed and not lora.dropout and _adapts_mlps(lora):
            names.append("lora_mlp")
            reasons.append(f"all of a {kind}'s MLP adapted")
        if spec.hardware.device == "cpu":
            more = _for_a_cpu(spec, allowed)
            names += more
            reasons += ["frozen norms on a CPU"] * bool(more)
    if names and spec.hardware.device == "cpu" and dtype == "float32":
        names.insert(0, "onednn")
        reasons.insert(0, "float32 on a CPU")
    return derived(names, ", ".join(reasons)) if names else None


def _for_a_cpu(spec: Spec, allowed: tuple[str, ...]) -> list[str]:
    """Swaps that save memory and time there; on a GPU fewer and larger kernels are what is fast."""
    segments = spec.model.attention in ("auto", "segment_sdpa")
    names = ["rms_norm"] if "rms_norm" in allowed else []
    if "attention" in allowed and segments and spec.parallel.sequence_parallel_size == 1:
        names.append("attention")
    return names


def _wraps_head(spec: Spec) -> bool:
    """Whether PEFT puts something of its own in the place of the head (or of a tied embedding)."""
    method = spec.method
    if not isinstance(method, Lora):
        return False
    listed = method.target_modules if isinstance(method.target_modules, list) else []
    return any(name.rpartition(".")[2] in EMBEDDINGS for name in [*listed, *method.modules_to_save])


def _adapts_mlps(method: Lora) -> bool:
    """Whether all three layers of the MLPs get an adapter."""
    three = {"gate_proj", "up_proj", "down_proj"}
    listed = three <= set(method.target_modules) or method.target_modules == "all-linear"
    return listed and not three & {name.rpartition(".")[2] for name in method.exclude_modules}
