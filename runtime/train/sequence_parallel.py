"""Sequence parallel: a group of processes shares each row, with DeepSpeed's Ulysses (arXiv 2309.14509).

A process holds a slice of the row. For attention the slices are exchanged for heads, so that every process sees
the whole row with its share of the heads; what attention is told of the samples' ends stays as it is.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from deepspeed.runtime.sequence_parallel.ulysses_sp import UlyssesSPAttentionHF
from torch.nn.functional import pad
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .. import data
from ..data import Batch
from ..data.sample_set import Samples
from ..errors import RunError
from ..process import distributed
from . import evaluate


def start(model: Any, size: int) -> Any:
    """Lets the model's attention run on rows that `size` processes share, in training; returns the `mpu`
    that DeepSpeed's engine asks for the groups. In evaluation every process has rows of its own."""
    name = model.config._attn_implementation
    return UlyssesSPAttentionHF.register_with_transformers(
        model, name, size, micro_batch_size=1, disable_in_eval=True
    )


def share(batch: Batch, size: int) -> Batch:
    """This process's slice of a row, (1, T / size); `lengths` still tells of the whole row.

    A row that can't be shared evenly is padded with a sample of tokens that predict nothing.
    """
    missing = -batch.input_ids.shape[1] % size
    positions = torch.cat([batch.position_ids[0], torch.arange(missing).to(batch.position_ids)])
    own, mine = _slice(batch, size), _mine(batch, size)
    return replace(
        batch,
        input_ids=pad(batch.input_ids, (0, missing))[:, own],
        position_ids=positions[None, own],
        lengths=[*batch.lengths, *[missing] * (missing > 0)],
        predict_at=batch.predict_at[mine] - own.start,
        targets=batch.targets[mine],
    )


def _slice(batch: Batch, size: int) -> slice:
    """The places of a row that this process holds."""
    width = -(-batch.input_ids.shape[1] // size)
    first = distributed.place()[0] % size * width
    return slice(first, first + width)


def _mine(batch: Batch, size: int) -> torch.Tensor:
    """(K,) bool: which of the predicted tokens are predicted from this process's slice."""
    own = _slice(batch, size)
    return (batch.predict_at >= own.start) & (batch.predict_at < own.stop)


def prove(
    engine: Any,
    losses: Callable[[Any, Batch], torch.Tensor],
    samples: Samples,
    size: int,
    device: str,
) -> None:
    """Shows that a shared row has the losses of a whole one. Raises RunError if they differ.

    An architecture that mixes tokens outside of transformers' attention interface would see slices alone.
    """
    batch = data.batch(evaluate.beginnings(samples), device)
    name = engine.module.config._attn_implementation
    attend = ALL_ATTENTION_FUNCTIONS[name]

    def shared(module: Any, *args: Any, **kwargs: Any) -> Any:
        module.training = True  # attention takes a row for a shared one in training alone
        try:
            return attend(module, *args, **kwargs)
        finally:
            module.training = False

    training = engine.training
    engine.eval()
    with torch.no_grad():
        whole = losses(engine, batch)
        ALL_ATTENTION_FUNCTIONS[name] = shared
        ours = losses(engine, share(batch, size)).float()
        ALL_ATTENTION_FUNCTIONS[name] = attend
    engine.train(training)
    theirs = whole[_mine(batch, size)].float()
    tolerance = 1e-3 if next(engine.parameters()).dtype == torch.float32 else 0.1
    wrong = float((ours - theirs).norm() > tolerance * theirs.norm())
    if distributed.total([wrong])[0]:
        raise RunError(
            "rows-not-shared",
            "a row that processes share has other losses than a whole one: this architecture mixes tokens "
            "where Ulysses does not see it",
            "remove parallel.sequence_parallel_size",
        )
