"""The table [parallel] of the spec language."""

from __future__ import annotations

from typing import Annotated, Literal

from .keys import Table, Whole, resumable


class Parallel(Table, affects="placement"):
    """[parallel]: how DeepSpeed shares the training state among the devices."""

    zero_stage: Annotated[Literal[0, 1, 2, 3], Whole] | None = resumable(
        None, help="ZeRO stage. Unset: 0 on one CPU process, 1 on one GPU, 2 on several devices."
    )
    sequence_parallel_size: int = resumable(
        1,
        help="So many devices share each sequence, for sequences that are too long for one (Ulysses).",
        unit="devices",
        ge=1,
    )
    offload_optimizer: bool = resumable(
        False, help="Keep the optimizer's state in the host's memory."
    )
    offload_params: bool = resumable(
        False, help="Keep the parameters in the host's memory (stage 3)."
    )
