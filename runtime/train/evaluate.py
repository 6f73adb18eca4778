"""What a model says without learning: the validation loss, and that samples don't see each other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .. import data
from ..data.packing import Sequences
from ..data.sample_set import Samples
from ..data.tokens import Sample
from ..errors import RunError
from ..process import distributed
from ..process.clock import apart, moved

Forward = Callable[[torch.nn.Module, data.Batch], torch.Tensor]


@apart
def loss(
    engine: torch.nn.Module,
    forward: Forward,
    samples: Samples,
    sequences: Sequences,
    device: str,
) -> float:
    """Mean loss in nats, over every supervised token, each counted once. `forward` gives the losses
    (K,) of a batch by a model; a batch is one of the `sequences` of samples.

    Each rank takes every n-th sequence; a rank that runs out goes on with empty batches, as the ranks
    of a partitioned model must call it equally often. Nothing of training changes.
    """
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    training = engine.training
    engine.eval()
    loss_sum, tokens = 0.0, 0
    with torch.no_grad():
        for first in range(0, len(sequences), ranks):
            mine = sequences[first + rank] if first + rank < len(sequences) else []
            batch = data.batch([samples[number] for number in mine], device)
            loss_sum += forward(engine, batch).sum().item()
            tokens += len(batch.targets)
            moved()
    engine.train(training)
    loss_sum, tokens = distributed.total([loss_sum, tokens])
    return loss_sum / tokens


def prove_isolation(
    engine: torch.nn.Module, forward: Forward, samples: Samples, device: str
) -> None:
    """Shows that a sample has the same logits behind another one in a row as it has alone.

    Not every architecture passes on where samples end, and one with a recurrent state can't: it would
    train on rows that run into each other. Raises RunError if the logits differ by more than rounding.
    """
    model: Any = getattr(engine, "module", engine)
    _check_positions(model.config.get_text_config(), samples)
    first, second = beginnings(samples)
    training = engine.training
    engine.eval()
    with torch.no_grad():
        alone = forward(engine, data.batch([second], device)).float()
        behind = forward(engine, data.batch([first, second], device)).float()[-len(alone) :]
    engine.train(training)
    _check_numbers(model, alone, behind)
    difference = ((behind - alone).norm() / alone.norm()).item()
    dtype = next(engine.parameters()).dtype
    if not difference < (1e-3 if dtype == torch.float32 else 0.1):
        raise RunError(
            "samples-not-isolated",
            "a sample's logits change when another one stands before it in its row (relative "
            f"difference {difference:.2g}): this architecture would learn across samples",
            'set model.attention = "sdpa" or "eager", if it is another one',
            "or train each sample by itself: data.packing = false, train.micro_batch_size = 1",
        )


def _check_numbers(model: torch.nn.Module, *logits: torch.Tensor) -> None:
    """Raises RunError if logits are infinite or no numbers, before the reason is sought elsewhere."""
    wrong, number = (
        sum(int((~each.isfinite()).sum()) for each in logits),
        sum(map(torch.numel, logits)),
    )
    if not wrong:
        return
    dtype = next(model.parameters()).dtype
    broken = (name for name, p in model.named_parameters() if not p.isfinite().all())
    hints = ['set model.dtype = "bfloat16" or "float32": float16 ends at 65,504']
    hints = hints if dtype == torch.float16 else []
    if (name := next(broken, None)) is not None:
        hints = [f"{name} holds such numbers itself: download the base again", *hints]
    raise RunError(
        "logits-not-finite",
        f"{wrong:,} of {number:,} logits of the base are no finite numbers (in {dtype})",
        *hints,
        "code of the model's own may be for another transformers",
        "or set model.attention to another one",
    )


def _check_positions(config: Any, samples: Samples) -> None:
    """Raises RunError if long samples would turn the positions of short ones that share their row.

    longrope and dynamic rotations depend on the longest sample of a row (transformers.modeling_rope_utils).
    """
    found = getattr(config, "rope_parameters", None) or {}
    for rope in (found, *(each for each in found.values() if isinstance(each, dict))):
        kind = rope.get("rope_type")
        if kind not in ("longrope", "dynamic"):
            continue
        border = (
            rope["original_max_position_embeddings"]
            if kind == "longrope"
            else config.max_position_embeddings
        )
        longer = int((samples.lengths > border).sum())
        if longer and (kind == "dynamic" or longer < len(samples)):
            raise RunError(
                "samples-not-isolated",
                f"{longer:,} of {len(samples):,} samples are longer than {border:,} tokens, where this model's "
                f"positions ({kind}) become others for a whole row, for the short samples in it, too",
                f"set model.max_seq_length to {border} or less",
                "or train each sample by itself: data.packing = false, train.micro_batch_size = 1",
            )


def beginnings(samples: Samples, tokens: int = 64) -> list[Sample]:
    """The first tokens of two long samples, each of them predicted; at least two of each."""
    longest = np.argsort(-samples.lengths[:1000])
    found = [samples[int(longest[number % len(longest)])] for number in (0, 1)]
    ids = [np.resize(s.ids, max(2, min(tokens, len(s.ids)))) for s in found]
    return [Sample(own, np.ones(len(own), bool), s.row) for own, s in zip(ids, found, strict=True)]
