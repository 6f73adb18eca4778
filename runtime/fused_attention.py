"""Rotary positions and attention of packed samples as one function, for training on a CPU; part of `fused`."""

from typing import Any

import torch

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


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
    are equal; `lengths` sum to T. Returns (T, heads, head_dim).
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
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        output, logs, heads = torch.empty_like(q), [], q.shape[1]
        for *inputs, part in zip(*(x.split(lengths) for x in (q, k, v, output)), strict=True):
            inputs = [_repeated(x, heads) for x in inputs]
            attended, log = _flash(*inputs, 0.0, True, scale=scaling)
            part.copy_(attended[0].transpose(0, 1))
            logs.append(log)
        ctx.save_for_backward(q, k, v, cos, sin, output, *logs)
        ctx.lengths, ctx.scaling = lengths, scaling
        return output

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # torch types it with *args
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        q, k, v, cos, sin, output, *logs = ctx.saved_tensors
        of_q, of_k, of_v = (torch.empty_like(x) for x in (q, k, v))
        wide = [x.split(ctx.lengths) for x in (gradient, q, k, v, output)]
        found = [x.split(ctx.lengths) for x in (of_q, of_k, of_v)]
        for log, inputs, outputs in zip(
            logs, zip(*wide, strict=True), zip(*found, strict=True), strict=True
        ):
            inputs = [_repeated(x, q.shape[1]) for x in inputs]
            slopes = _flash_backward(*inputs, log, 0.0, True, scale=ctx.scaling)
            for slope, out in zip(slopes, outputs, strict=True):
                groups = slope[0].transpose(0, 1).unflatten(1, (out.shape[1], -1))
                torch.sum(groups, 2, out=out)
        return (
            _rotate(of_q, cos, -sin),
            _rotate(of_k, cos, -sin),
            of_v,
            None,
            None,
            None,
            None,
        )


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """x * cos + (-second half, first half) * sin, as transformers' apply_rotary_pos_emb."""
    (a, b), (cos, _), (sin, _) = x.chunk(2, -1), cos.chunk(2, -1), sin.chunk(2, -1)
    rotated = torch.empty_like(x)
    first, second = rotated.chunk(2, -1)
    torch.mul(a, cos, out=first).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=second).addcmul_(a, sin)
    return rotated


def _repeated(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(L, kv_heads, head_dim) -> (1, heads, L, head_dim): each key's head for its queries' heads."""
    return x.repeat_interleave(heads // x.shape[1], 1).transpose(0, 1)[None]
