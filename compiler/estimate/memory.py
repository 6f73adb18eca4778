"""Whether a run can fit into the memory of its GPUs at all.

What is counted lies there for certain, so it is a lower bound: weights, and for those that are trained
their gradients, float32 copies and the optimizer's state, as far as ZeRO shares them out and nothing is
offloaded. Activations, buffers and what CUDA takes for itself come on top. A run that passes may still be too
large; one that does not pass can't run.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

from ..catalog.accelerators import find_accelerator
from ..catalog.optimizers import OPTIMIZERS
from ..catalog.presets import Architecture
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at
from ..document.load import Document
from ..plan.parameters import trainable_parameters
from ..plan.plan import Plan
from ..plan.values import leaves

GIB = 2**30
MOST = 10**15  # beyond that, numbers are nonsense, which is not to overflow
ACCELERATOR: KeyPath = ("hardware", "accelerator")


class Load(NamedTuple):
    """What decides how much lies on one device.

    `frozen` and `trained`: parameters. `quantized`: how many of the frozen ones have `bits`. `width`: the
    bytes of each of the others, `gradient`: of a gradient.
    """

    frozen: int
    trained: int
    quantized: int
    bits: int
    width: int
    gradient: int
    optimizer: str
    stage: int
    devices: int
    offload_optimizer: bool
    offload_params: bool

    def parts(self) -> dict[str, float]:
        """Bytes on one device, by what they are."""
        whole = self.frozen - self.quantized + self.trained
        weights = self.quantized * self.bits / 8 + whole * self.width
        kept = 0 if self.offload_optimizer else self.trained
        copies = kept * (4 if self.width < 4 else 0)  # weights in float32 need none
        state = kept * OPTIMIZERS[self.optimizer].state
        return {
            "weights": 0 if self.offload_params else weights / self._among(3),
            "gradients": kept * self.gradient / self._among(2),
            "float32 copies": copies / self._among(1),
            "optimizer's state": state / self._among(1),
        }

    def _among(self, stage: int) -> int:
        """The devices that share what ZeRO shares out from this stage on."""
        return self.devices if self.stage >= stage else 1

    def total(self) -> float:
        return sum(self.parts().values())


def load_of(plan: Plan, known: Architecture | None) -> Load | None:
    """None where the number of parameters is not known."""
    if known is None or known.parameters is None:
        return None
    trained = trainable_parameters(dict(leaves(plan)), known) or 0  # not known: none is certain
    trained = min(trained, MOST)
    quantization = plan.method.quantization
    width = 4 if plan.model.dtype.value == "float32" else 2
    return Load(
        frozen=known.parameters if plan.method.lora else known.parameters - trained,
        trained=trained,
        quantized=_quantizable(known) if quantization else 0,
        bits=quantization.bits.value if quantization else 16,
        width=width,
        gradient=4 if plan.batch.grad_accum_dtype else width,
        optimizer=plan.optim.optimizer.value,
        stage=plan.parallel.zero_stage.value,
        devices=min(plan.batch.world_size.value, MOST),
        offload_optimizer=plan.parallel.offload_optimizer.value,
        offload_params=plan.parallel.offload_params.value,
    )


def _quantizable(known: Architecture) -> int:
    """The parameters that bitsandbytes may quantize: of linear layers, so not those of experts, which transformers 5
    has as one weight a layer; all others where the layers' sizes don't tell."""
    most = (known.parameters or 0) - (known.experts or 0)
    if not known.linears or not known.num_layers:
        return most
    layers = sum(inputs * outputs for inputs, outputs in known.linears.values())
    return min(layers * known.num_layers, most)


def will_not_fit(
    plan: Plan, known: Architecture | None, document: Document
) -> Iterator[Diagnostic]:
    """A warning where more than a GPU's memory is needed for certain."""
    accelerator = find_accelerator(plan.hardware.accelerator and plan.hardware.accelerator.value)
    load = load_of(plan, known)
    if not accelerator or not known or not load or load.total() <= accelerator.memory * GIB:
        return
    parts = ", ".join(f"{name} {_gib(size)}" for name, size in load.parts().items() if size)
    name = plan.hardware.accelerator.value if plan.hardware.accelerator else ""
    yield at(
        document,
        ACCELERATOR,
        "will-not-fit",
        f"{plan.model.base.value} needs {_gib(load.total())} on each GPU at the least, and "
        f"{name} has {accelerator.memory} GiB",
        on="value",
        why=f"that is {parts}; activations come on top" + _experts(known, load),
        others=[
            (("method", "kind"), f'kind is "{plan.method.kind.value}"'),
            (("parallel", "zero_stage"), f"zero_stage is {load.stage}"),
        ],
        hints=list(_ways_out(plan, known, load, accelerator.memory * GIB)),
        severity="warning",
    )


def _ways_out(plan: Plan, known: Architecture, load: Load, memory: int) -> Iterator[str]:
    """The changes after which it may fit, each with what is needed then."""
    lora = plan.method.lora
    stage_3 = not (
        plan.parallel.sequence_parallel_size
        or OPTIMIZERS[load.optimizer].whole_matrices
        or (lora is not None and lora.use_dora is not None)
        or (load.quantized and load.bits == 8)
    )
    offloads = OPTIMIZERS[load.optimizer].offloads
    adapters = load._replace(frozen=load.frozen + load.trained, trained=0)
    quantized = adapters._replace(quantized=_quantizable(known), bits=4)
    eight = load._replace(optimizer="adamw_8bit")
    smaller = load.optimizer == "adamw" and load.trained and not load.offload_optimizer
    shared = load._replace(stage=3) if stage_3 and load.devices > 1 else None
    both = (
        eight._replace(stage=3) if shared and min(eight.total(), shared.total()) > memory else None
    )
    ways = {
        'kind = "lora" in [method]': adapters if lora is None else None,
        'kind = "qlora" in [method]': None if load.quantized else quantized,
        'optimizer = "adamw_8bit" in [optim]': eight if smaller else None,
        "zero_stage = 3 in [parallel]": shared,
        'zero_stage = 3 in [parallel] and optimizer = "adamw_8bit" in [optim]': both
        if smaller
        else None,
        "offload_optimizer = true in [parallel]": load._replace(offload_optimizer=True)
        if offloads and load.trained
        else None,
        "zero_stage = 3, offload_params = true and offload_optimizer = true in [parallel]": load._replace(
            stage=3, offload_params=True, offload_optimizer=True
        )
        if offloads and stage_3
        else None,
    }
    word = ""
    for text, other in ways.items():
        if other is not None and other.total() <= memory:
            yield f"{word}set {text}" + (f": {_gib(other.total())}" if other.total() else "")
            word = "or "
    enough = ceil(load._replace(stage=3, devices=1).total() / memory)
    if stage_3 and enough > load.devices:
        yield f"{word}share it among {enough} devices or more, with zero_stage = 3"
        word = "or "
    yield f"{word}take a GPU with more memory, or a smaller base"


def _experts(known: Architecture, load: Load) -> str:
    if not load.quantized or not known.experts:
        return ""
    return f". bitsandbytes quantizes linear layers, and the experts are none: {_gib(known.experts * load.width)} of it"


def _gib(size: float) -> str:
    return f"{size / GIB:,.1f} GiB" if size < 100 * GIB else f"{size / GIB:,.0f} GiB"
