"""[parallel] -> its plan."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..catalog.optimizers import OPTIMIZERS
from ..spec.spec import Spec
from .take import Taker, derived
from .values import Value


class ParallelPlan(NamedTuple):
    zero_stage: Value[int]
    sequence_parallel_size: Value[int] | None
    offload_optimizer: Value[bool]
    offload_params: Value[bool]


def parallel_plan(spec: Spec, take: Taker) -> ParallelPlan:
    stage: Value[Any] = take("parallel.zero_stage")
    if stage.value is None:
        world = spec.hardware.nodes * spec.hardware.devices_per_node
        if OPTIMIZERS[spec.optim.optimizer].whole_matrices:
            stage = derived(0, f"{spec.optim.optimizer} needs whole matrices")
        elif world > 1:
            stage = derived(2, f"{world} devices share gradients and optimizer")
        elif spec.hardware.device == "cuda":
            stage = derived(1, "one GPU, float32 masters")
        else:
            stage = derived(0, "one CPU process")
    shared = spec.parallel.sequence_parallel_size > 1
    return take.fill(
        ParallelPlan,
        "parallel",
        zero_stage=stage,
        sequence_parallel_size=take("parallel.sequence_parallel_size") if shared else None,
    )
