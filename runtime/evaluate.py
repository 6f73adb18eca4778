"""The validation loss: the mean over every supervised token of the validation set, each counted once."""

from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import cross_entropy

from . import data, distributed, packing
from .tokens import Sample


def loss(
    engine: torch.nn.Module,
    forward: Callable[[torch.nn.Module, data.Batch], torch.Tensor],
    samples: Sequence[Sample],
    max_seq_length: int,
    device: str,
) -> float:
    """Mean loss in nats a token. `forward` gives the logits (K, vocabulary) of a batch by a model.

    Each rank takes every n-th sequence; a rank that runs out goes on with empty batches, as the ranks
    of a partitioned model must call it equally often. Nothing of training changes.
    """
    sequences = packing.pack([len(sample.ids) for sample in samples], max_seq_length)
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    training = engine.training
    engine.eval()
    loss_sum, tokens = 0.0, 0
    with torch.no_grad():
        for first in range(0, len(sequences), ranks):
            mine = sequences[first + rank] if first + rank < len(sequences) else []
            batch = data.batch([samples[number] for number in mine], device)
            loss_sum += cross_entropy(
                forward(engine, batch).float(), batch.targets, reduction="sum"
            ).item()
            tokens += len(batch.targets)
    engine.train(training)
    loss_sum, tokens = distributed.total([loss_sum, tokens])
    return loss_sum / tokens
