"""Attention that runs on each sample of a packed row by itself.

A micro-batch is one row of samples laid end to end. Masking them from each other in a T x T matrix wastes
work on pairs that are masked; here torch's SDPA runs on each sample alone, so that a packed sample's
logits are its logits alone by construction. Importing this module registers the function with
transformers under the name `segment_sdpa` (transformers' AttentionInterface).
"""

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

SEGMENT_SDPA = "segment_sdpa"


def segment_sdpa(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    lengths: list[int] | None = None,
    **kwargs: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each segment.

    query: (1, heads, T, head_dim); key, value: (1, kv_heads, S, head_dim). `lengths` are the segments'
    lengths, which sum to T; without them the row is one segment (S > T while decoding with a cache).
    Returns (1, T, heads, head_dim). Raises ValueError for more than one row, or for soft-capped scores.
    """
    if query.shape[0] != 1 or attention_mask is not None or kwargs.get("softcap") is not None:
        raise ValueError("segment_sdpa takes one row, without padding or soft-capped scores")
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and query.device.type != "cpu":  # the fast kernel of older GPUs wants equal heads
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    parts = [query.shape[2]] if lengths is None or key.shape[2] != query.shape[2] else lengths
    keys, values = (key, value) if len(parts) == 1 else (key.split(parts, 2), value.split(parts, 2))
    if len(parts) == 1:
        return _attend(query, keys, values, dropout, scaling, sliding_window), None
    segments = [
        _attend(q, k, v, dropout, scaling, sliding_window)
        for q, k, v in zip(query.split(parts, 2), keys, values, strict=True)
    ]
    return torch.cat(segments, dim=1), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    dropout: float,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """Causal SDPA of one segment; (1, heads, T, head_dim) in, (1, T, heads, head_dim) out."""
    new, seen = query.shape[2], key.shape[2]
    mask = None
    if 1 < new < seen or (window is not None and seen > window):
        ahead = torch.arange(seen, device=query.device)
        here = torch.arange(seen - new, seen, device=query.device)[:, None]
        mask = ahead <= here
        if window is not None:
            mask &= ahead > here - window
    output = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        scale=scaling,
        is_causal=mask is None and new > 1,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output.transpose(1, 2)


def _no_mask(*args: object, **kwargs: object) -> None:
    """segment_sdpa needs no mask: it is told the segments instead."""


AttentionInterface.register(SEGMENT_SDPA, segment_sdpa)
AttentionMaskInterface.register(SEGMENT_SDPA, _no_mask)
