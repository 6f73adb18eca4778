"""Rotary positions and attention of packed samples as one function, for training on a CPU; part of `fused`."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch

# So many queries of a sample see the keys before them at once: the last block wastes half of its products.
QUERIES_AT_ONCE = 64


def attention(model: torch.nn.Module) -> None:
    """Each attention layer keeps its rotated queries and keys, its values and its output, and no more.

    The layer must be o(attend(rotate(q(x)), rotate(k(x)), v(x))), as in Llama. With a cache, a mask or
    without the samples' lengths it runs as it was; one with a window or dropout is left.
    """
    for module in model.modules():
        if all(hasattr(module, f"{name}_proj") for name in "qkvo") and not (
            getattr(module, "sliding_window", None) or module.attention_dropout
        ):
            module.forward = _attention(module)


def _attention(module: Any) -> Any:
    plain = module.forward

    def forward(
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        lengths: list[int] | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, None]:
        if lengths is None or attention_mask is not None or past_key_values is not None:
            return plain(
                hidden_states,
                position_embeddings,
                attention_mask,
                past_key_values,
                lengths=lengths,
                **kwargs,
            )
        q, k, v = (
            project(hidden_states)[0].unflatten(-1, (-1, module.head_dim))
            for project in (module.q_proj, module.k_proj, module.v_proj)
        )
        cos, sin = (part[0, :, None] for part in position_embeddings)
        output: Any = RotaryAttention.apply(q, k, v, cos, sin, lengths, module.scaling)
        return module.o_proj(output.flatten(1)[None]), None

    return forward


class RotaryAttention(torch.autograd.Function):
    """Causal attention within each segment, after rotation of the queries and keys.

    q: (T, heads, head_dim); k, v: (T, kv_heads, head_dim); cos, sin: (T, 1, head_dim), whose halves
    are equal; `lengths` sum to T. Returns (T, heads, head_dim). The probabilities are computed anew
    in the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        lengths: list[int],
        scaling: float,
    ) -> torch.Tensor:
        groups = k.shape[1]
        q = _grouped(_rotate(q, cos * scaling, sin * scaling), groups)
        k, v = _rotate(k, cos, sin).transpose(0, 1), v.transpose(0, 1)
        output = torch.empty_like(q)
        for first, begin, end in _blocks(lengths):
            likely = _probabilities(q, k, first, begin, end)
            _product(likely, v[:, first:end], out=output[:, begin:end].flatten(1, 2))
        ctx.save_for_backward(q, k, v, cos, sin)
        ctx.lengths, ctx.scaling = lengths, scaling
        return _ungrouped(output)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # torch types it with *args
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        q, k, v, cos, sin = ctx.saved_tensors
        of_q, of_k, of_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        slopes = _grouped(gradient, len(k))
        for first, begin, end in _blocks(ctx.lengths):
            likely = _probabilities(q, k, first, begin, end)
            queries, slope = (x[:, begin:end].flatten(1, 2) for x in (q, slopes))
            _product(likely.transpose(1, 2), slope, out=of_v[:, first:end], add=True)
            of_likely = torch.empty_like(likely)
            _product(slope, v[:, first:end].transpose(1, 2), out=of_likely)
            of_scores = torch.ops.aten._softmax_backward_data(of_likely, likely, -1, q.dtype)
            _product(of_scores, k[:, first:end], out=of_q[:, begin:end].flatten(1, 2))
            _product(of_scores.transpose(1, 2), queries, out=of_k[:, first:end], add=True)
        return (
            _rotate(_ungrouped(of_q), cos * ctx.scaling, -sin * ctx.scaling),
            _rotate(of_k.transpose(0, 1), cos, -sin),
            of_v.transpose(0, 1),
            None,
            None,
            None,
            None,
        )


def _grouped(x: torch.Tensor, groups: int) -> torch.Tensor:
    """(T, heads, head_dim) -> (groups, T, heads of a group, head_dim)."""
    return x.unflatten(1, (groups, -1)).transpose(0, 1).contiguous()


def _ungrouped(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(0, 1).flatten(1, 2)


def _blocks(lengths: list[int]) -> Iterator[tuple[int, int, int]]:
    """Each segment's queries some at a time: where the segment begins, where they do, and end."""
    first = 0
    for length in lengths:
        parts = max(1, round(length / QUERIES_AT_ONCE))
        for part in range(parts):
            yield first, first + length * part // parts, first + length * (part + 1) // parts
        first += length


def _probabilities(
    q: torch.Tensor, k: torch.Tensor, first: int, begin: int, end: int
) -> torch.Tensor:
    """How queries begin..end see keys first..end, (groups, queries * heads of a group, keys)."""
    queries, keys = q[:, begin:end].flatten(1, 2), k[:, first:end].transpose(1, 2)
    scores = q.new_empty(*queries.shape[:2], keys.shape[2])
    _product(queries, keys, out=scores)
    own = scores.unflatten(1, (end - begin, -1))[..., begin - first :]
    own += _ahead(end - begin, q.dtype)
    return torch.softmax(scores, -1)


def _product(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, add: bool = False) -> None:
    """out = a b, or out += a b; all three (groups, ., .).

    `bmm` gives each thread whole groups: with three on two threads one of them waits. What does not share
    out evenly is left to all threads together, a group at a time.
    """
    threads = torch.get_num_threads()
    even = len(a) // threads * threads or len(a)
    out[:even].baddbmm_(a[:even], b[:even], beta=add)
    for group in range(even, len(a)):
        out[group].addmm_(a[group], b[group], beta=add)


@cache
def _ahead(size: int, dtype: torch.dtype) -> torch.Tensor:
    """(size, 1, size): -inf at the keys that come after a query."""
    return torch.full((size, size), -torch.inf, dtype=dtype).triu_(1)[:, None]


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """x * cos + (-second half, first half) * sin, as transformers' apply_rotary_pos_emb."""
    half = x.shape[-1] // 2
    signed = torch.cat([-sin[..., :half], sin[..., half:]], -1)
    return (x * cos).addcmul_(x.roll(half, -1), signed)
