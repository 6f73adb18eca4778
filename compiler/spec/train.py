"""The table [train] of the spec language."""

from __future__ import annotations

from typing import Literal

from .keys import Table, cosmetic, key, resumable


class Train(Table, affects="schedule"):
    """[train]: how long, in what batches, what is written down on the way."""

    num_epochs: int | None = resumable(
        None, help="Passes over the data. Unset: 1, unless max_steps is set.", ge=1
    )
    max_steps: int | None = resumable(None, help="Optimizer steps.", unit="steps", ge=1)
    global_batch_size: int = key(
        16,
        help="Sequences (packed) or samples (unpacked) in an optimizer step, all devices together.",
        ge=1,
    )
    micro_batch_size: int = resumable(
        1, help="Sequences in one forward pass of one device.", ge=1, affects="placement"
    )
    grad_accum_dtype: Literal["auto", "float32", "model"] = resumable(
        "auto",
        help="What gradients of a step's micro-batches are summed in; model: in the model's dtype. auto: float32 "
        "for adapters in bfloat16, of which there are few, from ZeRO stage 1 on; for every weight it would take "
        "two more bytes a weight, shared out from stage 2 on.",
        affects="numerics",
    )
    log_every: int = cosmetic(1, help="Metrics every N steps.", unit="steps", ge=1)
    save_every: int = cosmetic(100, help="A checkpoint every N steps.", unit="steps", ge=1)
    keep_checkpoints: int = cosmetic(2, help="So many checkpoints are kept, newest first.", ge=1)
    eval_every: int = cosmetic(100, help="The validation loss every N steps.", unit="steps", ge=1)
    keep_best: bool = cosmetic(
        False,
        help="Keep the checkpoint with the lowest validation loss, too, and let convert.sh take "
        "it. save_every must be a multiple of eval_every.",
    )
    early_stopping_patience: int | None = resumable(
        None,
        help="Stop after N evaluations in a row without a lower validation loss. Unset: never.",
        unit="evaluations",
        ge=1,
    )
