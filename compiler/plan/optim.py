"""[optim] -> its plan."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..catalog.optimizers import OPTIMIZERS
from ..catalog.presets import method_preset
from ..spec.spec import Spec
from .take import Taker, derived
from .values import Origin, Value


class OptimPlan(NamedTuple):
    """`warmup_ratio` or `warmup_steps` is set, or neither (no warm-up). `betas`, `eps` and
    `decay_ratio` are None where the optimizer or the schedule has none."""

    optimizer: Value[str]
    learning_rate: Value[float]
    betas: Value[tuple[float, float]] | None
    eps: Value[float] | None
    weight_decay: Value[float]
    max_grad_norm: Value[float]
    lr_scheduler: Value[str]
    warmup_ratio: Value[float] | None
    warmup_steps: Value[int] | None
    decay_ratio: Value[float] | None
    min_lr_ratio: Value[float] | None


def optim_plan(spec: Spec, take: Taker) -> OptimPlan:
    preset, kind = method_preset(spec.method.kind), spec.method.kind
    rate: Value[Any] = take("optim.learning_rate")
    row = OPTIMIZERS[spec.optim.optimizer]
    if rate.value is None and row.rate_divisor > 1:
        part = float(f"{preset.learning_rate / row.rate_divisor:.6g}")
        why = f"{preset.learning_rate} / {row.rate_divisor}, for {row.title.lower()}"
        rate = derived(part, why)
    elif rate.value is None:
        rate = Value(preset.learning_rate, Origin("preset", kind))
    ratio = take.given("optim.warmup_ratio")
    if spec.optim.warmup_steps is None and spec.optim.warmup_ratio is None:
        ratio = Value(preset.warmup_ratio, Origin("preset", kind))
    betas, eps = take.default("optim.betas", row.betas), take.default("optim.eps", 1e-8)
    decays = spec.optim.lr_scheduler == "warmup_stable_decay"
    return take.fill(
        OptimPlan,
        "optim",
        learning_rate=rate,
        betas=None if "betas" in row.lacks else betas,
        eps=None if "eps" in row.lacks else eps,
        max_grad_norm=take.default("optim.max_grad_norm", 0.0 if row.unclipped else 1.0),
        warmup_ratio=ratio,
        decay_ratio=take.default("optim.decay_ratio", 0.1) if decays else None,
    )
