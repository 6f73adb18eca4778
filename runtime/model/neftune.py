"""NEFTune: noise on the embeddings while training (arXiv 2310.05914)."""

from typing import Any

import torch


def add_noise(model: Any, alpha: float) -> None:
    """From now on, the model in training mode sees its embeddings with uniform noise on them.

    A token's noise has the strength alpha / sqrt(L d), for a sample of L tokens and embeddings of d
    numbers. Of a row of several samples each has its own L: where position_ids are 0, a sample begins. The
    noise comes from torch's random state, so that it is a function of (seed, step, rank) as dropout is.
    """
    lengths = torch.ones(1)

    def look(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        nonlocal lengths
        lengths = sample_lengths(kwargs["position_ids"]) if module.training else lengths

    def noisy(module: Any, args: Any, embedded: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return embedded
        strength = alpha / (lengths * embedded.shape[-1]).sqrt()
        noise = torch.empty_like(embedded).uniform_(-1, 1)
        return embedded + noise * strength[..., None].to(embedded.dtype)

    model.register_forward_pre_hook(look, with_kwargs=True)
    model.get_input_embeddings().register_forward_hook(noisy)


def sample_lengths(position_ids: torch.Tensor) -> torch.Tensor:
    """The length of the sample that each token belongs to: (1, T) positions in, (1, T) lengths out."""
    number = (position_ids == 0).cumsum(-1) - 1
    return torch.bincount(number[0])[number]
