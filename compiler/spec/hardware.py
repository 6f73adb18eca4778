"""The table [hardware] of the spec language."""

from __future__ import annotations

from typing import Literal

from .keys import Line, Table, key


class Hardware(Table, affects="placement"):
    """[hardware]: the compile target. What follows from it is decided at compile time."""

    device: Literal["cpu", "cuda"] = key("cuda", help="What trains.", changes="resumable")
    accelerator: Line | None = key(
        None,
        help="The GPU, as in `A100-80G`; or its architecture and memory, as in `ada-16G`, for one that ftc "
        'does not list. Required with device = "cuda".',
        changes="resumable",
    )
    peak_tflops: float | None = key(
        None,
        help="What a device can compute at most in the model's dtype; metrics give MFU as a share of it. "
        "Unset: of a GPU that ftc lists, its data sheet's.",
        unit="TFLOPS",
        gt=0,
        changes="cosmetic",
    )
    nodes: int = key(1, help="Machines.", ge=1, changes="resumable")
    devices_per_node: int = key(
        1, help="Processes on each machine, one a device.", ge=1, changes="resumable"
    )
