"""[train] and the batch -> their plans."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..catalog.optimizers import OPTIMIZERS
from ..spec.spec import Spec
from .take import Taker, derived
from .values import Origin, Value


def batch_plan(spec: Spec, take: Taker, dtype: str, stage: int) -> BatchPlan:
    nodes, devices = spec.hardware.nodes, spec.hardware.devices_per_node
    world = nodes * devices
    total, micro = spec.train.global_batch_size, spec.train.micro_batch_size
    shared = spec.parallel.sequence_parallel_size
    groups = world // shared
    accumulated = total // (groups * micro)
    return take.fill(
        BatchPlan,
        "train",
        world_size=derived(world, f"{nodes} x {devices}"),
        data_parallel_size=derived(groups, f"{world} / {shared}") if shared > 1 else None,
        gradient_accumulation_steps=derived(accumulated, f"{total} / ({groups} x {micro})"),
        grad_accum_dtype=_grad_accum_dtype(spec, take, dtype, stage, accumulated),
    )


def _grad_accum_dtype(
    spec: Spec, take: Taker, dtype: str, stage: int, accumulated: int
) -> Value[str] | None:
    """None leaves it at the model's. bfloat16 has 8 bits of precision, so that a sum of many loses the small ones."""
    wanted: Value[str] = take("train.grad_accum_dtype")
    if dtype == "float32" or wanted.value == "model":
        return None
    if wanted.value == "float32":
        return wanted
    few = spec.method.kind != "full" and not spec.parallel.offload_optimizer
    few &= OPTIMIZERS[spec.optim.optimizer].elementwise
    if dtype == "bfloat16" and few and stage > 0 and accumulated > 1:
        return derived("float32", f"{accumulated} gradients are summed, and adapters are few")
    return None


def train_plan(spec: Spec, take: Taker) -> TrainPlan:
    epochs: Value[Any] | None = take.given("train.num_epochs")
    steps: Value[Any] | None = take.given("train.max_steps")
    if epochs is None and steps is None:
        epochs = Value(1, Origin("default", "train.num_epochs"))
    evaluates = bool(spec.data.validation or spec.data.validation_fraction)
    return take.fill(
        TrainPlan,
        "train",
        num_epochs=epochs,
        max_steps=steps,
        eval_every=take("train.eval_every") if evaluates else None,
    )


class BatchPlan(NamedTuple):
    """`data_parallel_size`: set where several processes share a sequence; `grad_accum_dtype`: where the gradients
    of micro-batches are summed in another dtype than the model's."""

    world_size: Value[int]
    data_parallel_size: Value[int] | None
    micro_batch_size: Value[int]
    gradient_accumulation_steps: Value[int]
    grad_accum_dtype: Value[str] | None
    global_batch_size: Value[int]


class TrainPlan(NamedTuple):
    """`num_epochs` or `max_steps` is set; `eval_every`, if there is anything to evaluate on.

    `keep_best` is None where it is false, `early_stopping_patience` where there is none.
    """

    num_epochs: Value[int] | None
    max_steps: Value[int] | None
    log_every: Value[int]
    save_every: Value[int]
    keep_checkpoints: Value[int]
    eval_every: Value[int] | None
    keep_best: Value[bool] | None
    early_stopping_patience: Value[int] | None
