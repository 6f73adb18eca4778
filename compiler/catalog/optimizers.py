"""The optimizers that a run can have: a row each, with what DeepSpeed and the spec must know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

NOTHING: Mapping[str, str] = {}


class Optimizer(NamedTuple):
    """`passage`: the template optimizer_PASSAGE of train.py. `module`, `name`: what it imports for it, if not torch's.

    `state`: bytes of a parameter's state, where that stays on the GPU for certain.
    """

    title: str
    passage: str
    state: int
    module: str = ""
    packages: tuple[str, ...] = ()
    name: str = ""
    betas: tuple[float, float] = (0.9, 0.999)
    lacks: Mapping[str, str] = NOTHING  # keys of [optim] that it does not read, and why
    rate_divisor: int = 1  # its learning rate is so many times below AdamW's
    unpaged: str = ""  # it moves its state out of a GPU; this one does not
    offloads: bool = False  # whether it was tried on the host, where offloaded weights are updated
    whole_matrices: str = ""  # why it needs them, which ZeRO and 16-bit training flatten
    unclipped: str = ""  # why a norm of gradients says nothing of its updates
    elementwise: bool = (
        True  # else DeepSpeed neither cuts its gradients up nor sums them in float32
    )
    own_rates: bool = False  # whether its groups of weights have learning rates of their own
    compiles: bool = False  # whether DeepSpeed's would be compiled by torch at the first step


BITSANDBYTES = ("bitsandbytes.optim", ("bitsandbytes",))
LION = {"eps": "Lion divides by nothing"}

# Adam has two moments, Lion one; bitsandbytes' 8-bit ones have a byte for each, the paged ones can go to the host;
# Muon has one for matrices. Lion's rate: arXiv 2302.06675, 3 to 10 times below AdamW's.
OPTIMIZERS = {
    "adamw": Optimizer("AdamW", "adamw", 8, offloads=True),
    "adamw_8bit": Optimizer("AdamW", "bitsandbytes", 2, *BITSANDBYTES, "AdamW8bit"),
    "paged_adamw": Optimizer(
        "AdamW", "bitsandbytes", 0, *BITSANDBYTES, "PagedAdamW32bit", unpaged="adamw"
    ),
    "paged_adamw_8bit": Optimizer(
        "AdamW", "bitsandbytes", 0, *BITSANDBYTES, "PagedAdamW8bit", unpaged="adamw_8bit"
    ),
    "lion": Optimizer("Lion", "lion", 4, *BITSANDBYTES, "Lion32bit", (0.9, 0.99), LION, 5),
    "lion_8bit": Optimizer("Lion", "lion", 1, *BITSANDBYTES, "Lion8bit", (0.9, 0.99), LION, 5),
    "adafactor": Optimizer(
        *("Adafactor", "adafactor", 0, "transformers", (), "Adafactor"),
        lacks={
            "eps": "Adafactor has constants of its own",
            "betas": "Adafactor keeps no mean gradient, and its decay follows the step",
        },
        whole_matrices="Adafactor needs rows and columns",
    ),
    "muon": Optimizer(
        *("Muon", "muon", 4, "ftc.runtime.train", (), "optimizers"),
        unclipped="Muon gives each update the same size, whatever the gradient's",
        elementwise=False,
        own_rates=True,
        compiles=True,
    ),
}
