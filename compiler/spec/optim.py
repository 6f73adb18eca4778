"""The tables [optim], [train], [hardware] and [parallel] of the spec language."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from .keys import Line, Table, Whole, key

Beta = Annotated[float, Strict(), Field(ge=0, lt=1)]


class Optim(Table, affects="numerics"):
    """[optim]: the optimizer and its schedule."""

    optimizer: Literal[
        "adamw",
        "adamw_8bit",
        "paged_adamw",
        "paged_adamw_8bit",
        "lion",
        "lion_8bit",
        "adafactor",
        "muon",
    ] = key(
        "adamw",
        help="8bit keeps the state in 8 bits, paged moves it to the host's memory when the GPU is "
        "full (both bitsandbytes). muon is for matrices inside the blocks, with adamw for the rest.",
    )
    learning_rate: float | None = key(
        None,
        help="Peak learning rate. Unset: 1e-5 for full, 2e-4 for lora and qlora; a fifth of "
        "that for lion.",
        gt=0,
        changes="resumable",
        affects="schedule",
    )
    betas: Annotated[tuple[Beta, Beta], Strict(False)] | None = key(
        None,
        help="Decay of the mean gradient and of its square. Unset: 0.9 and 0.999, for lion 0.99.",
    )
    eps: float | None = key(None, help="Epsilon of AdamW's denominator. Unset: 1e-8.", gt=0)
    weight_decay: float = key(
        0.0, help="Decoupled weight decay, of all that is trained: norms and biases, too.", ge=0
    )
    max_grad_norm: float | None = key(
        None,
        help="Gradients are clipped to this norm. 0: never. Unset: 1, with muon 0.",
        ge=0,
    )
    lr_scheduler: Literal["cosine", "linear", "constant", "inverse_sqrt", "warmup_stable_decay"] = (
        key(
            "cosine",
            help="How the learning rate falls after the warm-up. inverse_sqrt: as 1 / sqrt(step). "
            "warmup_stable_decay: not at all until the last decay_ratio of the steps.",
            changes="resumable",
            affects="schedule",
        )
    )
    warmup_ratio: float | None = key(
        None,
        help="Share of the steps that warm up. Unset: 0.03, unless warmup_steps is set.",
        ge=0,
        lt=1,
        changes="resumable",
        affects="schedule",
    )
    warmup_steps: int | None = key(
        None,
        help="Steps that warm up: the first has 1/n of the peak rate, the n-th all of it.",
        unit="steps",
        ge=0,
        changes="resumable",
        affects="schedule",
    )
    decay_ratio: float | None = key(
        None,
        help="Share of the steps, at the end, in which warmup_stable_decay falls. Unset: 0.1.",
        gt=0,
        le=1,
        changes="resumable",
        affects="schedule",
    )
    min_lr_ratio: float = key(
        0.0,
        help="The learning rate ends at this share of its peak.",
        ge=0,
        lt=1,
        changes="resumable",
        affects="schedule",
    )


class Train(Table, affects="schedule"):
    """[train]: how long, in what batches, what is written down on the way."""

    num_epochs: int | None = key(
        None,
        help="Passes over the data. Unset: 1, unless max_steps is set.",
        ge=1,
        changes="resumable",
    )
    max_steps: int | None = key(
        None, help="Optimizer steps.", unit="steps", ge=1, changes="resumable"
    )
    global_batch_size: int = key(
        16,
        help="Sequences (packed) or samples (unpacked) in an optimizer step, all devices together.",
        ge=1,
    )
    micro_batch_size: int = key(
        1,
        help="Sequences in one forward pass of one device.",
        ge=1,
        changes="resumable",
        affects="placement",
    )
    grad_accum_dtype: Literal["auto", "float32", "model"] = key(
        "auto",
        help="What gradients of a step's micro-batches are summed in; model: in the model's dtype. auto: float32 "
        "for adapters in bfloat16, of which there are few, from ZeRO stage 1 on; for every weight it would take "
        "two more bytes a weight, shared out from stage 2 on.",
        changes="resumable",
        affects="numerics",
    )
    log_every: int = key(1, help="Metrics every N steps.", unit="steps", ge=1, changes="cosmetic")
    save_every: int = key(
        100, help="A checkpoint every N steps.", unit="steps", ge=1, changes="cosmetic"
    )
    keep_checkpoints: int = key(
        2, help="So many checkpoints are kept, newest first.", ge=1, changes="cosmetic"
    )
    eval_every: int = key(
        100, help="The validation loss every N steps.", unit="steps", ge=1, changes="cosmetic"
    )
    keep_best: bool = key(
        False,
        help="Keep the checkpoint with the lowest validation loss, too, and let convert.sh take "
        "it. save_every must be a multiple of eval_every.",
        changes="cosmetic",
    )
    early_stopping_patience: int | None = key(
        None,
        help="Stop after N evaluations in a row without a lower validation loss. Unset: never.",
        unit="evaluations",
        ge=1,
        changes="resumable",
    )


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
