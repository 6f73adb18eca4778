"""Optimizers that need more than a list of parameters."""

import math
from collections import defaultdict
from typing import Any

import torch
from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam


def muon(
    model: torch.nn.Module,
    learning_rate: float,
    *,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> MuonWithAuxAdam:
    """Muon for the matrices inside the blocks, AdamW for embeddings, head, norms and biases.

    Muon's update of an (m, n) matrix is scaled so that its root mean square is that of AdamW's, about
    0.2 (arXiv 2502.16982), and one learning rate fits both: a group's is the schedule's times its
    "lr_scale". DeepSpeed's implementation knows how ZeRO cuts matrices, and scales by
    sqrt(max(1, m / n)) already.
    """
    matrices: dict[float, list[torch.nn.Parameter]] = defaultdict(list)
    rest: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        shape = tuple(getattr(parameter, "ds_shape", parameter.shape))
        outside = "embed" in name or "lm_head" in name
        parameter.use_muon = len(shape) == 2 and not outside
        if parameter.use_muon:
            rows, columns = shape
            scale = 0.2 * math.sqrt(max(shape)) / math.sqrt(max(1, rows / columns))
            matrices[scale].append(parameter)
        else:
            rest.append(parameter)
    groups: list[dict[str, Any]] = [
        {
            "params": parameters,
            "use_muon": True,
            "lr": learning_rate * scale,
            "lr_scale": scale,
            "weight_decay": weight_decay
            / scale,  # the decay is the learning rate's, not the scaled one's
            "momentum": 0.95,
        }
        for scale, parameters in sorted(matrices.items())
    ]
    if rest:
        groups.append(
            {
                "params": rest,
                "use_muon": False,
                "lr": learning_rate,
                "lr_scale": 1.0,
                "weight_decay": weight_decay,
                "betas": betas,
                "eps": eps,
            }
        )
    return MuonWithAuxAdam(groups)
