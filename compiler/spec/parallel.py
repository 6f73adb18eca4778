"""The table [parallel] of the spec language."""

from __future__ import annotations

from typing import Annotated, Literal

from .keys import Table, Whole, key


class Parallel(Table, affects="placement"):
    """[parallel]: how DeepSpeed shares the training state among the devices."""

    zero_stage: Annotated[Literal[0, 1, 2, 3], Whole] | None = key(
        None,
        help="ZeRO stage. Unset: 0 on one CPU process, 1 on one GPU, 2 on several devices.",
        changes="resumable",
    )
    sequence_parallel_size: int = key(
        1,
        help="So many devices share each sequence, for sequences that are too long for one (Ulysses).",
        unit="devices",
        ge=1,
        changes="resumable",
    )
    offload_optimizer: bool = key(
        False, help="Keep the optimizer's state in the host's memory.", changes="resumable"
    )
    offload_params: bool = key(
        False, help="Keep the parameters in the host's memory (stage 3).", changes="resumable"
    )
