"""A frozen RMSNorm as one function; part of `fused`."""

from typing import Any

import torch


def rms_norm(model: torch.nn.Module) -> None:
    """Each frozen RMSNorm keeps its input, and not the products on the way.

    The norm must be weight * (x / sqrt(mean(x²) + eps)), reckoned in float32, as in Llama.
    """
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and not module.weight.requires_grad:
            module.forward = _norm(module)


def _norm(module: Any) -> Any:
    def forward(x: torch.Tensor) -> Any:
        return RmsNorm.apply(x, module.weight, module.variance_epsilon)

    return forward


class RmsNorm(torch.autograd.Function):
    """weight * x / sqrt(mean(x²) + eps) along the last dimension of x, the weight being frozen."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        norm = torch.linalg.vector_norm(x.float(), dim=-1, keepdim=True)
        scale = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x.float() * scale).to(x.dtype) * weight

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # torch types it with *args
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        slope = (gradient * weight).float()
        along = torch.linalg.vecdot(slope, x.float())[..., None].mul_(scale**3).div_(x.shape[-1])
        return slope.mul_(scale).addcmul_(x.float(), along, value=-1).to(x.dtype), None, None
