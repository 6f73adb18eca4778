"""Rules about [parallel]: what the devices share."""

from __future__ import annotations

from collections.abc import Iterator

from ..catalog.architectures import SEGMENTS
from ..catalog.optimizers import OPTIMIZERS
from ..catalog.presets import Architecture
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.method import Qlora
from ..spec.spec import Spec
from .rule import DEVICE, SHARED, STAGE, Rule, conflict

ACCUMULATES: KeyPath = ("train", "grad_accum_dtype")


def accumulation_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """DeepSpeed sums gradients of 16-bit weights in float32 from ZeRO stage 1 on, but not those that Muon takes."""
    stage, cpu, dtype = spec.parallel.zero_stage, spec.hardware.device == "cpu", spec.model.dtype
    one = spec.hardware.nodes * spec.hardware.devices_per_node == 1
    whole = stage == 0 or (stage is None and cpu and one)
    full = dtype == "float32" or (dtype == "auto" and cpu)
    name = spec.optim.optimizer
    other = not OPTIMIZERS[name].elementwise
    if spec.train.grad_accum_dtype == "float32" and (whole or other) and not full:
        optimizer: KeyPath = ("optim", "optimizer")
        yield at(
            document,
            ACCUMULATES,
            "conflict" if other else "zero-stage",
            f"gradients for {OPTIMIZERS[name].title} are summed in the model's dtype"
            if other
            else "ZeRO stage 0 sums gradients in the model's dtype",
            on="value",
            why="DeepSpeed sums those of 16-bit weights in float32 from stage 1 on, and for element-wise optimizers",
            others=[(optimizer, f'optimizer is "{name}"') if other else (STAGE, "zero_stage is 0")],
            hints=[
                'set optim.optimizer = "adamw"' if other else "set parallel.zero_stage = 1",
                "or remove grad_accum_dtype",
            ],
        )


def groups_are_whole(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The devices make up groups of the same size."""
    shared = spec.parallel.sequence_parallel_size
    world = spec.hardware.nodes * spec.hardware.devices_per_node
    if world % shared:
        sizes = _sizes(world, facts)
        yield at(
            document,
            SHARED,
            "batch-arithmetic",
            f"{world} device{'s' if world > 1 else ''} can't be split into groups of {shared}",
            on="value",
            others=[
                (("hardware", key), f"{key} is {getattr(spec.hardware, key)}")
                for key in ("nodes", "devices_per_node")
            ],
            hints=[
                f"set it to {' or '.join(sizes)}" if sizes else "remove it",
                "or set hardware.devices_per_node to a multiple of it",
            ],
        )


def heads_can_be_shared(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Ulysses exchanges parts of a sequence for heads of attention, as many for each device."""
    known, shared = facts.architecture, spec.parallel.sequence_parallel_size
    world = spec.hardware.nodes * spec.hardware.devices_per_node
    if known is None or known.shares_heads(shared) or world % shared:
        return
    heads = f"{known.num_heads} attention heads"
    if known.num_kv_heads not in (None, known.num_heads):
        heads += f" and {known.num_kv_heads} of keys and values"
    fitting, possible = _sizes(world, facts), _sizes(None, facts)
    hints = [f"set it to {' or '.join(fitting)}"] if fitting else []
    if possible and not fitting:
        hints = [f"set it and hardware.devices_per_node to {' or '.join(possible)}"]
    yield at(
        document,
        SHARED,
        "heads-not-shared",
        f"{shared} devices can't share out the heads of {spec.model.base}, which has {heads}",
        on="value",
        why="devices that share a sequence (DeepSpeed's Ulysses) each attend with as many whole heads",
        others=[(("model", "base"), f'base is "{spec.model.base}"')],
        hints=[*hints, f"{'or ' if hints else ''}remove sequence_parallel_size"],
    )


def _sizes(world: int | None, facts: Facts) -> list[str]:
    """The sizes of groups that `world` devices, or however many are needed, can make up with this model."""
    known = facts.architecture or Architecture("")
    most = world or known.num_heads or 1
    fitting = (size for size in range(2, most + 1) if known.shares_heads(size))
    return [str(size) for size in fitting if world is None or world % size == 0]


def sequences_can_be_shared(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Ulysses drops masks, so attention must be told by other means where samples end."""
    if spec.parallel.sequence_parallel_size == 1:
        return
    able, wanted = facts.traits.attention, spec.model.attention
    noise = spec.method.neftune_noise_alpha
    found: list[tuple[bool, KeyPath, str, str]] = [
        (
            wanted in ("sdpa", "eager"),
            ("model", "attention"),
            f"{wanted} attention",
            'set attention = "auto"',
        ),
        (
            wanted == "auto" and able != SEGMENTS,
            ("model", "base"),
            f"a {facts.model_type}, which runs {able} attention,",
            "choose another base",
        ),
    ]
    for wrong, path, what, way in found:
        if wrong:
            yield at(
                document,
                path,
                "attention-not-supported",
                f"{what} can't run on sequences that devices share",
                on="value",
                why="DeepSpeed's Ulysses drops the mask that keeps samples of a row apart there",
                others=[(SHARED, "sequence_parallel_size is set here")],
                hints=[way, "or remove sequence_parallel_size"],
            )
    if spec.parallel.zero_stage == 3:
        yield at(
            document,
            ("parallel", "zero_stage"),
            "zero-stage",
            "ZeRO stage 3 does not go with sequences that devices share",
            why="DeepSpeed (0.19) takes the mean of gradients over all devices there, instead of over the "
            "groups: they come out sequence_parallel_size times too small",
            others=[(SHARED, "sequence_parallel_size is set here")],
            hints=["set zero_stage = 2", "or remove sequence_parallel_size"],
        )
    if noise is not None:
        yield conflict(
            document,
            ("method", "neftune_noise_alpha"),
            "NEFTune does not go with sequences that devices share",
            why="its noise depends on the length of a sample, of which a device has a part",
            others=[(SHARED, "sequence_parallel_size is set here")],
            hints=["remove neftune_noise_alpha", "or sequence_parallel_size"],
        )


def zero_fits_method(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Stage 3 shares out the weights of the base, which must allow it."""
    bits = ("method", "quantization", "bits")
    stage = spec.parallel.zero_stage
    if stage == 3 and isinstance(spec.method, Qlora) and spec.method.quantization.bits == 8:
        yield at(
            document,
            STAGE,
            "zero-stage",
            "ZeRO stage 3 can't share out an 8-bit base",
            on="value",
            why="bitsandbytes keeps 8-bit weights whole on each device, beside the shares",
            others=[(bits, "bits is 8")],
            hints=["set zero_stage = 2", "or bits = 4"],
        )


def offload_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """What DeepSpeed can offload, from where, at which stage."""
    stage, set_to = spec.parallel.zero_stage, f"zero_stage is {spec.parallel.zero_stage}"
    wanted = {
        "offload_params": (spec.parallel.offload_params, (3,), "stage 3", "the parameters"),
        "offload_optimizer": (
            spec.parallel.offload_optimizer,
            (None, 1, 2, 3),
            "stages 1, 2 and 3",
            "the optimizer",
        ),
    }
    for key, (offloads, stages, names, what) in wanted.items():
        path = ("parallel", key)
        if offloads and spec.hardware.device == "cpu":
            yield conflict(
                document,
                path,
                f"a CPU run can't offload {what}: all is in the host's memory already",
                others=[(DEVICE, 'device is "cpu"')],
                hints=[f"remove parallel.{key}"],
            )
        elif offloads and stage not in stages:
            yield at(
                document,
                path,
                "zero-stage",
                f"ZeRO offloads {what} in {names} only",
                others=[(STAGE, set_to)],
                hints=[f"set zero_stage = {stages[-1]}", f"or {key} = false"],
            )


RULES: tuple[Rule, ...] = (
    accumulation_fits,
    groups_are_whole,
    heads_can_be_shared,
    sequences_can_be_shared,
    zero_fits_method,
    offload_fits,
)
