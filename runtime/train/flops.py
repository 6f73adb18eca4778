"""What a step computes, for model FLOPs utilization: MFU as PaLM defines it (arXiv 2204.02311, appendix B).

A token takes two operations (multiply, add) for each weight that it meets on the way forward, two on the
way back, and two more if the weight is trained, for its gradient: 6 N when all N are trained, about 4 N
with an adapter. Attention takes 12 n^2 for a sample of n tokens, in each layer, for each dimension of its
heads; as in PaLM, the half that a causal mask hides counts as well. Looking up embeddings counts nothing;
the head runs on supervised tokens alone. What gradient checkpointing computes twice is counted once. Of a
mixture of experts those count that a token is sent to.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from ..data import Step


def counter(model: Any) -> Callable[[Step], int]:
    """A function that gives the floating-point operations of a step, all processes together."""
    config = model.config.get_text_config()
    found = model.get_output_embeddings()
    head = max(found.parameters(), key=_size) if found is not None else None
    apart = {
        id(p) for m in model.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()
    }
    apart.add(id(head))
    of_token = round(sum(_cost(p, config) for p in model.parameters() if id(p) not in apart))
    of_supervised = round(_cost(head, config)) if head is not None else 0
    # Gemma 4's layers don't all have the same heads.
    of_pair = 12 * sum(
        map(_heads, getattr(config, "per_layer_config", (config,) * config.num_hidden_layers))
    )
    return lambda step: (
        of_token * step.num_tokens + of_supervised * step.num_supervised + of_pair * step.num_pairs
    )


def _heads(layer: Any) -> int:
    """The dimensions of a layer's heads, by its config."""
    heads = getattr(layer, "num_attention_heads", 0)
    return heads * (getattr(layer, "head_dim", None) or layer.hidden_size // max(heads, 1))


def _cost(parameter: torch.Tensor, config: Any) -> float:
    """Operations a token for a matrix, or for the experts in one tensor (experts, inputs, outputs)."""
    shape = _shape(parameter)
    if len(shape) < 2:
        return 0
    chosen = getattr(config, "num_experts_per_tok", None)
    active = min(chosen / shape[0], 1) if chosen and len(shape) == 3 else 1
    return math.prod(shape) * active * (6 if parameter.requires_grad else 4)


def _size(parameter: torch.Tensor) -> int:
    return math.prod(_shape(parameter))


def _shape(parameter: Any) -> tuple[int, ...]:
    """The whole weight's shape: 4-bit weights are packed, and ZeRO 3 shares weights out."""
    state = getattr(parameter, "quant_state", None)
    return tuple(
        state.shape if state is not None else getattr(parameter, "ds_shape", parameter.shape)
    )
