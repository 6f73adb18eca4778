"""[hardware] -> its plan."""

from __future__ import annotations

from typing import NamedTuple

from ..catalog.accelerators import find_accelerator
from ..spec.spec import Spec
from .take import Taker, derived
from .values import Value


class HardwarePlan(NamedTuple):
    """`peak_tflops`: of one device in the model's dtype, where it is known."""

    device: Value[str]
    accelerator: Value[str] | None
    peak_tflops: Value[float] | None
    nodes: Value[int]
    devices_per_node: Value[int]


def hardware_plan(spec: Spec, take: Taker, dtype: str) -> HardwarePlan:
    name = spec.hardware.accelerator
    known, peak = find_accelerator(name), take.given("hardware.peak_tflops")
    if peak is None and known is not None and known.tflops is not None and dtype != "float32":
        peak = derived(known.tflops, f"{name}'s peak in {dtype}, dense")
    return take.fill(HardwarePlan, "hardware", peak_tflops=peak)
