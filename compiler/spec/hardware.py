"""The table [hardware] of the spec language."""

from __future__ import annotations

from typing import Literal

from .keys import Line, Table, cosmetic, resumable


class Hardware(Table, affects="placement"):
    """[hardware]: the compile target. What follows from it is decided at compile time."""

    device: Literal["cpu", "cuda"] = resumable("cuda", help="What trains.")
    accelerator: Line | None = resumable(
        None,
        help="The GPU, as in `A100-80G`; or its architecture and memory, as in `ada-16G`, for one that ftc "
        'does not list. Required with device = "cuda".',
    )
    peak_tflops: float | None = cosmetic(
        None,
        help="What a device can compute at most in the model's dtype; metrics give MFU as a share of it. "
        "Unset: of a GPU that ftc lists, its data sheet's.",
        unit="TFLOPS",
        gt=0,
    )
    nodes: int = resumable(1, help="Machines.", ge=1)
    devices_per_node: int = resumable(1, help="Processes on each machine, one a device.", ge=1)
