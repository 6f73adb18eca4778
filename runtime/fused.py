"""Parts of a model that are swapped for faster equals, the same but for rounding.

No class and no file of transformers or PEFT is changed: a module of the one model that is trained gets another
`forward`. docs/fused.md lists what is swapped where.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch.nn.functional import linear, log_softmax

# So many logits are held at once, in float32 64 MiB: they fit a processor's last cache, nearly.
LOGITS_AT_ONCE = 2**24

_targets: torch.Tensor | None = None


@contextmanager
def targets(ids: torch.Tensor) -> Iterator[None]:
    """Within it, a head that `linear_cross_entropy` swapped gives losses of these tokens, (K,)."""
    global _targets
    _targets = ids
    try:
        yield
    finally:
        _targets = None


def linear_cross_entropy(model: Any) -> None:
    """Within `targets`, the model's head gives the loss of each token, (1, K), instead of logits.

    The head must be a plain linear layer without a bias, and its logits must be used as they are.
    """
    head = model.get_output_embeddings()
    plain = head.forward

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        if _targets is None:
            return plain(hidden)
        return LinearCrossEntropy.apply(hidden[0], head.weight, _targets)[None]  # pyright: ignore

    head.forward = forward


class LinearCrossEntropy(torch.autograd.Function):
    """Cross entropy of `hidden @ weight.T` with `targets`, (K,) in nats, a few rows at a time.

    hidden: (K, width); weight: (vocabulary, width); targets: (K,). All K x vocabulary logits never
    exist at once. A frozen head has the gradient of `hidden` computed at once; for a trained one the
    backward pass computes the logits anew.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        ctx.frozen = not ctx.needs_input_grad[1]
        gradient = torch.empty_like(hidden) if ctx.frozen and ctx.needs_input_grad[0] else None
        for part in _parts(hidden, weight):
            logs = log_softmax(linear(hidden[part], weight).float(), dim=1)
            losses[part] = -logs.gather(1, targets[part, None])[:, 0]
            if gradient is not None:
                torch.mm(_slope(logs, targets[part]).to(weight.dtype), weight, out=gradient[part])
        ctx.save_for_backward(*((gradient,) if ctx.frozen else (hidden, weight, targets)))
        return losses

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        if ctx.frozen:
            (of_hidden,) = ctx.saved_tensors
            return (of_hidden * gradient[:, None]).to(of_hidden.dtype), None, None
        hidden, weight, targets = ctx.saved_tensors
        of_hidden, of_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        for part in _parts(hidden, weight):
            logs = log_softmax(linear(hidden[part], weight).float(), dim=1)
            slope = _slope(logs, targets[part]).mul_(gradient[part, None]).to(weight.dtype)
            torch.mm(slope, weight, out=of_hidden[part])
            of_weight.addmm_(slope.T, hidden[part])
        return of_hidden, of_weight, None


def _parts(hidden: torch.Tensor, weight: torch.Tensor) -> Iterator[slice]:
    rows = max(1, LOGITS_AT_ONCE // len(weight))
    return (slice(first, first + rows) for first in range(0, len(hidden), rows))


def _slope(logs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """How the loss changes with the logits: the probabilities less one at the target; in place."""
    slope = logs.exp_()
    slope[torch.arange(len(targets), device=targets.device), targets] -= 1
    return slope


def lora(model: torch.nn.Module) -> None:
    """Each linear layer with one adapter adds it in place, forwards and backwards.

    Left as PEFT has them: other kinds of layers, quantized ones, and those with a trained bias.
    """
    for module in model.modules():
        if isinstance(module, Linear) and type(module.get_base_layer()) is torch.nn.Linear:
            frozen = not any(p.requires_grad for p in module.get_base_layer().parameters())
            (name,) = module.active_adapters
            if frozen and not module.lora_variant and module.lora_B[name].bias is None:
                module.forward = _adapted(module, name)


def _adapted(module: Any, name: str) -> Any:
    base, scaling, plain = module.get_base_layer(), module.scaling[name], module.forward
    dropout = getattr(module.lora_dropout[name], "p", 0.0)

    def forward(x: torch.Tensor) -> torch.Tensor:
        if module.merged or module.disable_adapters:
            return plain(x)
        a, b = module.lora_A[name].weight, module.lora_B[name].weight
        rate = dropout if module.training else 0.0
        flat = x.reshape(-1, x.shape[-1])
        output = LoraLinear.apply(flat, base.weight, base.bias, a, b, scaling, rate)
        return output.view(*x.shape[:-1], -1)  # pyright: ignore

    return forward


class LoraLinear(torch.autograd.Function):
    """x W' + bias + scaling * drop(x) A' B', the base's W and bias being frozen.

    x: (T, in); weight: (out, in); a: (rank, in); b: (out, rank). The adapter's part is added in place,
    forwards to the output and backwards to x's gradient, and its small matrices are scaled and cast
    instead of the large activations.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
        rate: float,
    ) -> torch.Tensor:
        dropped, kept = torch.native_dropout(x, rate, True) if rate else (x, None)
        low = dropped @ a.T.to(x.dtype)
        ctx.save_for_backward(dropped, kept, weight, a, b, low)
        ctx.scaling, ctx.rate = scaling, rate
        return linear(x, weight, bias).addmm_(low, b.T.to(x.dtype), alpha=scaling)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        dropped, kept, weight, a, b, low = ctx.saved_tensors
        of_low = (gradient @ b.to(gradient.dtype)).mul_(ctx.scaling)
        of_a = (of_low.T @ dropped).to(a.dtype)
        of_b = (gradient.T @ low).to(b.dtype).mul_(ctx.scaling)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = gradient @ weight
            if kept is None:
                of_x.addmm_(of_low, a.to(gradient.dtype))
            else:
                through = of_low @ a.to(gradient.dtype)
                of_x += through * kept * (1 / (1 - ctx.rate))
        return of_x, None, None, of_a, of_b, None, None
