"""[optim], [train], [hardware] and [parallel] -> their plans."""

from __future__ import annotations

from typing import Any

from ..catalog.accelerators import find_accelerator
from ..catalog.presets import method_preset
from ..spec.spec import Spec
from . import plan as p
from .plan import Origin, Value
from .take import Taker, derived


def batch_plan(spec: Spec, take: Taker, dtype: str, stage: int) -> p.BatchPlan:
    nodes, devices = spec.hardware.nodes, spec.hardware.devices_per_node
    world = nodes * devices
    total, micro = spec.train.global_batch_size, spec.train.micro_batch_size
    shared = spec.parallel.sequence_parallel_size
    groups = world // shared
    accumulated = total // (groups * micro)
    return p.BatchPlan(
        world_size=derived(world, f"{nodes} x {devices}"),
        data_parallel_size=derived(groups, f"{world} / {shared}") if shared > 1 else None,
        micro_batch_size=take("train.micro_batch_size"),
        gradient_accumulation_steps=derived(accumulated, f"{total} / ({groups} x {micro})"),
        grad_accum_dtype=_grad_accum_dtype(spec, take, dtype, stage, accumulated),
        global_batch_size=take("train.global_batch_size"),
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
    few &= spec.optim.optimizer != "muon"
    if dtype == "bfloat16" and few and stage > 0 and accumulated > 1:
        return derived("float32", f"{accumulated} gradients are summed, and adapters are few")
    return None


def optim_plan(spec: Spec, take: Taker) -> p.OptimPlan:
    preset, kind = method_preset(spec.method.kind), spec.method.kind
    rate: Value[Any] = take("optim.learning_rate")
    optimizer = spec.optim.optimizer
    lion = optimizer.startswith("lion")
    if rate.value is None and lion:  # arXiv 2302.06675: 3 to 10 times below AdamW's
        fifth = float(f"{preset.learning_rate / 5:.6g}")
        rate = derived(fifth, f"{preset.learning_rate} / 5, for lion")
    elif rate.value is None:
        rate = Value(preset.learning_rate, Origin("preset", kind))
    betas: Value[Any] = take("optim.betas")
    if betas.value is None:
        betas = Value((0.9, 0.99 if lion else 0.999), Origin("default", "optim.betas"))
    eps: Value[Any] = take("optim.eps")
    if eps.value is None:
        eps = Value(1e-8, Origin("default", "optim.eps"))
    norm: Value[Any] = take("optim.max_grad_norm")
    if norm.value is None:
        norm = Value(0.0 if optimizer == "muon" else 1.0, Origin("default", "optim.max_grad_norm"))
    decay: Value[Any] = take("optim.decay_ratio")
    if decay.value is None:
        decay = Value(0.1, Origin("default", "optim.decay_ratio"))
    steps: Value[Any] | None = take.given("optim.warmup_steps")
    ratio: Value[Any] | None = take.given("optim.warmup_ratio")
    if spec.optim.warmup_steps is None and spec.optim.warmup_ratio is None:
        ratio = Value(preset.warmup_ratio, Origin("preset", kind))
    return p.OptimPlan(
        optimizer=take("optim.optimizer"),
        learning_rate=rate,
        betas=None if optimizer == "adafactor" else betas,
        eps=None if optimizer == "adafactor" or lion else eps,
        weight_decay=take("optim.weight_decay"),
        max_grad_norm=norm,
        lr_scheduler=take("optim.lr_scheduler"),
        warmup_ratio=ratio,
        warmup_steps=steps,
        decay_ratio=decay if spec.optim.lr_scheduler == "warmup_stable_decay" else None,
        min_lr_ratio=take.given("optim.min_lr_ratio"),
    )


def train_plan(spec: Spec, take: Taker) -> p.TrainPlan:
    epochs: Value[Any] | None = take.given("train.num_epochs")
    steps: Value[Any] | None = take.given("train.max_steps")
    if epochs is None and steps is None:
        epochs = Value(1, Origin("default", "train.num_epochs"))
    evaluates = bool(spec.data.validation or spec.data.validation_fraction)
    return p.TrainPlan(
        num_epochs=epochs,
        max_steps=steps,
        log_every=take("train.log_every"),
        save_every=take("train.save_every"),
        keep_checkpoints=take("train.keep_checkpoints"),
        eval_every=take("train.eval_every") if evaluates else None,
        keep_best=take.given("train.keep_best"),
        early_stopping_patience=take.given("train.early_stopping_patience"),
    )


def parallel_plan(spec: Spec, take: Taker) -> p.ParallelPlan:
    stage: Value[Any] = take("parallel.zero_stage")
    if stage.value is None:
        world = spec.hardware.nodes * spec.hardware.devices_per_node
        if spec.optim.optimizer == "adafactor":
            stage = derived(0, "adafactor needs whole matrices")
        elif world > 1:
            stage = derived(2, f"{world} devices share gradients and optimizer")
        elif spec.hardware.device == "cuda":
            stage = derived(1, "one GPU, float32 masters")
        else:
            stage = derived(0, "one CPU process")
    return p.ParallelPlan(
        zero_stage=stage,
        sequence_parallel_size=take("parallel.sequence_parallel_size")
        if spec.parallel.sequence_parallel_size > 1
        else None,
        offload_optimizer=take("parallel.offload_optimizer"),
        offload_params=take("parallel.offload_params"),
    )


def hardware_plan(spec: Spec, take: Taker, dtype: str) -> p.HardwarePlan:
    name = spec.hardware.accelerator
    known, peak = find_accelerator(name), take.given("hardware.peak_tflops")
    if peak is None and known is not None and known.tflops is not None and dtype != "float32":
        peak = derived(known.tflops, f"{name}'s peak in {dtype}, dense")
    return p.HardwarePlan(
        device=take("hardware.device"),
        accelerator=take.given("hardware.accelerator"),
        peak_tflops=peak,
        nodes=take("hardware.nodes"),
        devices_per_node=take("hardware.devices_per_node"),
    )
