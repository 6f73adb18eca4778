"""Parts of a model that are swapped for faster equals, the same but for rounding.

No class and no file of transformers or PEFT is changed: a module of the one model that is trained gets another
`forward`. docs/fused.md lists what is swapped where.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from peft.tuners.lora import Linear
from torch.nn import functional
from torch.nn.functional import silu
from transformers.activations import SiLUActivation

from .norm import rms_norm as rms_norm
from .rotary import attention as attention

# (x, weight, bias or None) -> x W' + bias.
Product = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]

# So many logits are held at once, in float32 64 MiB: they fit a processor's last cache, nearly.
LOGITS_AT_ONCE = 2**24

_targets: torch.Tensor | None = None


def apply(model: torch.nn.Module, names: Sequence[str]) -> None:
    """Swaps what is named, by the functions of this package in that order; "onednn" is for the others."""
    linear = onednn if "onednn" in names else functional.linear
    swaps: dict[str, Callable[[Any], None]] = {
        "onednn": lambda _: None,
        "linear_cross_entropy": partial(linear_cross_entropy, linear=linear),
        "lora": partial(lora, linear=linear),
        "lora_mlp": partial(lora_mlp, linear=linear),
        "rms_norm": rms_norm,
        "attention": attention,
    }
    for name in names:
        swaps[name](model)


def onednn(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x W' + bias, without a gradient, in float32 on a CPU, where torch's own `linear` asks MKL.

    oneDNN, which torch takes for bfloat16 anyway, was a seventh faster on an AMD processor. It has no product
    without rows, which a micro-batch behind the last row of a run has.
    """
    if not x.numel():
        return functional.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@contextmanager
def targets(ids: torch.Tensor) -> Iterator[None]:
    """Within it, a head that `linear_cross_entropy` swapped gives losses of these tokens, (K,)."""
    global _targets
    _targets = ids
    try:
        yield
    finally:
        _targets = None


def linear_cross_entropy(model: Any, linear: Product = functional.linear) -> None:
    """Within `targets`, the model's head gives the loss of each token, (1, K), instead of logits.

    The head must be a plain linear layer without a bias, and its logits must be used as they are.
    """
    head = model.get_output_embeddings()
    plain = head.forward

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        if _targets is None:
            return plain(hidden)
        losses: Any = LinearCrossEntropy.apply(hidden[0], head.weight, _targets, linear)
        return losses[None]

    head.forward = forward


class LinearCrossEntropy(torch.autograd.Function):
    """Cross entropy of `hidden @ weight.T` with `targets`, (K,) in nats, a few rows at a time.

    hidden: (K, width); weight: (vocabulary, width); targets: (K,). All K x vocabulary logits never
    exist at once. A frozen head has the gradient of `hidden` computed at once; for a trained one the
    backward pass computes the logits anew.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        linear: Product,
    ) -> torch.Tensor:
        losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        ctx.frozen = not ctx.needs_input_grad[1]
        gradient = torch.empty_like(hidden) if ctx.frozen and ctx.needs_input_grad[0] else None
        for part in _parts(hidden, weight):
            logits = linear(hidden[part], weight, None).float()
            losses[part], slope = _losses(logits, targets[part])
            if gradient is not None:
                gradient[part] = linear(slope.to(weight.dtype), weight.T, None)
        ctx.linear = linear
        ctx.save_for_backward(*((gradient,) if ctx.frozen else (hidden, weight, targets)))
        return losses

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # torch types it with *args
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        if ctx.frozen:
            (of_hidden,) = ctx.saved_tensors
            return (of_hidden * gradient[:, None]).to(of_hidden.dtype), None, None, None
        hidden, weight, targets = ctx.saved_tensors
        of_hidden, of_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        for part in _parts(hidden, weight):
            logits = ctx.linear(hidden[part], weight, None).float()
            slope = _losses(logits, targets[part])[1]
            slope = slope.mul_(gradient[part, None]).to(weight.dtype)
            of_hidden[part] = ctx.linear(slope, weight.T, None)
            of_weight.addmm_(slope.T, hidden[part])
        return of_hidden, of_weight, None, None


def _parts(hidden: torch.Tensor, weight: torch.Tensor) -> Iterator[slice]:
    rows = max(1, LOGITS_AT_ONCE // len(weight))
    return (slice(first, first + rows) for first in range(0, len(hidden), rows))


def _losses(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The losses, and how they change with the logits: the probabilities less one at the target.

    The second takes the place of the logits, (rows, vocabulary), as there is no memory for both.
    """
    rows = torch.arange(len(targets), device=targets.device)
    logits -= logits.amax(1, keepdim=True)
    right = logits[rows, targets]
    total = logits.exp_().sum(1, keepdim=True)
    slope = logits.div_(total)
    slope[rows, targets] -= 1
    return total.log()[:, 0] - right, slope


def lora(model: torch.nn.Module, linear: Product = functional.linear) -> None:
    """Each linear layer with one adapter adds it in place, forwards and backwards.

    Left as PEFT has them: other kinds of layers, quantized ones, and those with a trained bias.
    """
    for module in model.modules():
        if _swappable(module):
            module.forward = _adapted_linear(module, linear)


def lora_mlp(model: torch.nn.Module, linear: Product = functional.linear) -> None:
    """Each gated MLP whose three layers have adapters becomes one function, which keeps less.

    The MLP must be down(silu(gate(x)) * up(x)), without biases or dropout of the adapters. One with another
    activation (config.hidden_act) is left.
    """
    for module in model.modules():
        if not isinstance(getattr(module, "act_fn", None), (torch.nn.SiLU, SiLUActivation)):
            continue
        layers: list[Any] = [
            getattr(module, f"{name}_proj", None) for name in ("gate", "up", "down")
        ]
        if all(_swappable(layer) and layer.base_layer.bias is None for layer in layers):
            module.forward = _adapted_mlp(module.forward, layers, linear)


def _swappable(module: Any) -> bool:
    if not isinstance(module, Linear) or type(module.get_base_layer()) is not torch.nn.Linear:
        return False
    frozen = not any(p.requires_grad for p in module.get_base_layer().parameters())
    (name,) = module.active_adapters
    return frozen and not module.lora_variant and module.lora_B[name].bias is None


class Adapter(NamedTuple):
    """scaling * x A' B'. a: (rank, in); b: (out, rank)."""

    a: torch.Tensor
    b: torch.Tensor
    scaling: float
    linear: Product

    def add(self, output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Adds it to `output`, (T, out), in place; gives x A', which the backward pass needs."""
        low = self.linear(x, self.a.to(x.dtype), None)
        output.addmm_(low, self.b.T.to(x.dtype), alpha=self.scaling)
        return low

    def backward(
        self, gradient: torch.Tensor, x: torch.Tensor, low: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The gradients of x A', of a and of b."""
        of_low = self.linear(gradient, self.b.T.to(gradient.dtype), None).mul_(self.scaling)
        of_b = self.linear(low.T, gradient.T, None).T.to(self.b.dtype).mul_(self.scaling)
        of_a = self.linear(of_low.T, x.T, None).to(self.a.dtype)
        return of_low, of_a, of_b


def _adapter(module: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
    (name,) = module.active_adapters
    return module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name]


def _adapted_linear(module: Any, linear: Product) -> Any:
    base, plain, (name,) = module.get_base_layer(), module.forward, module.active_adapters
    dropout = getattr(module.lora_dropout[name], "p", 0.0)

    def forward(x: torch.Tensor) -> torch.Tensor:
        if module.merged or module.disable_adapters:
            return plain(x)
        rate = dropout if module.training else 0.0
        flat = x.reshape(-1, x.shape[-1])
        parts = (base.weight, base.bias, *_adapter(module))
        output: Any = LoraLinear.apply(flat, *parts, rate, linear)
        return output.view(*x.shape[:-1], output.shape[-1])  # there may be no rows

    return forward


def _adapted_mlp(plain: Any, layers: list[Any], linear: Product) -> Any:
    def forward(x: torch.Tensor) -> torch.Tensor:
        if any(layer.merged or layer.disable_adapters for layer in layers):
            return plain(x)
        flat = x.reshape(-1, x.shape[-1])
        parts = [
            part for layer in layers for part in (layer.get_base_layer().weight, *_adapter(layer))
        ]
        output: Any = LoraMlp.apply(flat, linear, *parts)
        return output.view_as(x)

    return forward


class LoraLinear(torch.autograd.Function):
    """x W' + bias + scaling * drop(x) A' B', the base's W and bias being frozen.

    x: (T, in); weight: (out, in). The adapter's part is added in place, forwards to the output and
    backwards to x's gradient, and its small matrices are scaled and cast instead of the activations.
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
        linear: Product,
    ) -> torch.Tensor:
        dropped, kept = torch.native_dropout(x, rate, True) if rate else (x, None)
        output = linear(x, weight, bias)
        low = Adapter(a, b, scaling, linear).add(output, dropped)
        ctx.save_for_backward(dropped, kept, weight, a, b, low)
        ctx.scaling, ctx.rate, ctx.linear = scaling, rate, linear
        return output

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # torch types it with *args
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        dropped, kept, weight, a, b, low = ctx.saved_tensors
        adapter = Adapter(a, b, ctx.scaling, ctx.linear)
        of_low, of_a, of_b = adapter.backward(gradient, dropped, low)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = ctx.linear(gradient, weight.T, None)
            if kept is None:
                of_x.addmm_(of_low, a.to(gradient.dtype))
            else:
                of_x += (of_low @ a.to(gradient.dtype)) * kept * (1 / (1 - ctx.rate))
        return of_x, None, None, of_a, of_b, None, None, None


class LoraMlp(torch.autograd.Function):
    """down(silu(gate(x)) * up(x)), each of the three a frozen weight with an adapter.

    x: (T, width). Of the four (T, inner) tensors that autograd would keep two are kept, gate(x) and
    up(x); the others are computed anew, which costs no product of matrices.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, linear: Product, *parts: Any) -> torch.Tensor:
        weights, adapters = _three(parts, linear)
        outputs, lows = [], []
        for weight, adapter in zip(weights[:2], adapters[:2], strict=True):
            outputs.append(linear(x, weight, None))
            lows.append(adapter.add(outputs[-1], x))
        inner = silu(outputs[0]).mul_(outputs[1])
        output = linear(inner, weights[2], None)
        lows.append(adapters[2].add(output, inner))
        tensors = [part for part in parts if isinstance(part, torch.Tensor)]
        ctx.save_for_backward(x, *outputs, *lows, *tensors)
        ctx.scalings, ctx.linear = [adapter.scaling for adapter in adapters], linear
        return output

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] # torch types it with *args
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        x, gate, up, low_gate, low_up, low_down, *tensors = ctx.saved_tensors
        weights = tensors[::3]
        adapters = [
            Adapter(a, b, scaling, ctx.linear)
            for a, b, scaling in zip(tensors[1::3], tensors[2::3], ctx.scalings, strict=True)
        ]
        active = silu(gate)
        of_low, *of_down = adapters[2].backward(gradient, active * up, low_down)
        of_inner = ctx.linear(gradient, weights[2].T, None)
        of_inner.addmm_(of_low, adapters[2].a.to(gradient.dtype))
        of_up = active.mul_(of_inner)
        of_gate = torch.ops.aten.silu_backward(of_inner.mul_(up), gate)
        of_x = ctx.linear(of_gate, weights[0].T, None).add_(ctx.linear(of_up, weights[1].T, None))
        given: list[torch.Tensor | None] = []
        for of_output, low, adapter in zip(
            (of_gate, of_up), (low_gate, low_up), adapters[:2], strict=True
        ):
            of_low, of_a, of_b = adapter.backward(of_output, x, low)
            of_x.addmm_(of_low, adapter.a.to(gradient.dtype))
            given += [None, of_a, of_b, None]
        return of_x, None, *given, None, *of_down, None


def _three(parts: tuple[Any, ...], linear: Product) -> tuple[list[torch.Tensor], list[Adapter]]:
    """(weight, a, b, scaling) for gate, up and down -> their weights, their adapters."""
    return list(parts[::4]), [Adapter(*parts[n + 1 : n + 4], linear=linear) for n in (0, 4, 8)]
