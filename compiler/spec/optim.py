"""The table [optim] of the spec language."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict

from ..catalog.optimizers import OPTIMIZERS
from .keys import Table, key, resumable

if TYPE_CHECKING:
    OptimizerName = str
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]
Beta = Annotated[float, Strict(), Field(ge=0, lt=1)]

schedule = partial(resumable, affects="schedule")


class Optim(Table, affects="numerics"):
    """[optim]: the optimizer and its schedule."""

    optimizer: OptimizerName = key(
        "adamw",
        help="8bit keeps the state in 8 bits, paged moves it to the host's memory when the GPU is "
        "full (both bitsandbytes). muon is for matrices inside the blocks, with adamw for the rest.",
    )
    learning_rate: float | None = schedule(
        None,
        help="Peak learning rate. Unset: 1e-5 for full, 2e-4 for lora and qlora; a fifth of "
        "that for lion.",
        gt=0,
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
        None, help="Gradients are clipped to this norm. 0: never. Unset: 1, with muon 0.", ge=0
    )
    lr_scheduler: Literal["cosine", "linear", "constant", "inverse_sqrt", "warmup_stable_decay"] = (
        schedule(
            "cosine",
            help="How the learning rate falls after the warm-up. inverse_sqrt: as 1 / sqrt(step). "
            "warmup_stable_decay: not at all until the last decay_ratio of the steps.",
        )
    )
    warmup_ratio: float | None = schedule(
        None,
        help="Share of the steps that warm up. Unset: 0.03, unless warmup_steps is set.",
        ge=0,
        lt=1,
    )
    warmup_steps: int | None = schedule(
        None,
        help="Steps that warm up: the first has 1/n of the peak rate, the n-th all of it.",
        unit="steps",
        ge=0,
    )
    decay_ratio: float | None = schedule(
        None,
        help="Share of the steps, at the end, in which warmup_stable_decay falls. Unset: 0.1.",
        gt=0,
        le=1,
    )
    min_lr_ratio: float = schedule(
        0.0, help="The learning rate ends at this share of its peak.", ge=0, lt=1
    )
