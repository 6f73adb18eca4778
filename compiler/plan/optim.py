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
    betas: Value[Any] = take("optim.betas")
    if betas.value is None:
        betas = Value(row.betas, Origin("default", "optim.betas"))
    eps: Value[Any] = take("optim.eps")
    if eps.value is None:
        eps = Value(1e-8, Origin("default", "optim.eps"))
    norm: Value[Any] = take("optim.max_grad_norm")
    if norm.value is None:
        norm = Value(0.0 if row.unclipped else 1.0, Origin("default", "optim.max_grad_norm"))
    decay: Value[Any] = take("optim.decay_ratio")
    if decay.value is None:
        decay = Value(0.1, Origin("default", "optim.decay_ratio"))
    steps: Value[Any] | None = take.given("optim.warmup_steps")
    ratio: Value[Any] | None = take.given("optim.warmup_ratio")
    if spec.optim.warmup_steps is None and spec.optim.warmup_ratio is None:
        ratio = Value(preset.warmup_ratio, Origin("preset", kind))
    return OptimPlan(
        optimizer=take("optim.optimizer"),
        learning_rate=rate,
        betas=None if "betas" in row.lacks else betas,
        eps=None if "eps" in row.lacks else eps,
        weight_decay=take("optim.weight_decay"),
        max_grad_norm=norm,
        lr_scheduler=take("optim.lr_scheduler"),
        warmup_ratio=ratio,
        warmup_steps=steps,
        decay_ratio=decay if spec.optim.lr_scheduler == "warmup_stable_decay" else None,
        min_lr_ratio=take.given("optim.min_lr_ratio"),
    )
