"""Rules about the compile target: what the devices share, compute and serve."""

from __future__ import annotations

from collections.abc import Iterator

from ..catalog.accelerators import ACCELERATORS, ARCHITECTURES, find_accelerator, same_model
from ..catalog.architectures import INSTEAD, WITHOUT_FLASH
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at, first_set
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.describe import choice
from ..spec.method import Qlora
from ..spec.spec import Spec

DEVICE: KeyPath = ("hardware", "device")
ACCELERATOR: KeyPath = ("hardware", "accelerator")
DTYPE: KeyPath = ("model", "dtype")
STAGE: KeyPath = ("parallel", "zero_stage")
SHARED: KeyPath = ("parallel", "sequence_parallel_size")


def batch_divides(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """global_batch_size = devices x micro_batch_size x accumulation, all of them whole."""
    nodes, devices = spec.hardware.nodes, spec.hardware.devices_per_node
    micro, total = spec.train.micro_batch_size, spec.train.global_batch_size
    shared = spec.parallel.sequence_parallel_size
    world = nodes * devices // shared  # groups, each with sequences of its own
    unit = world * micro
    if nodes * devices % shared or total % unit == 0:
        return
    sizes = [str(size) for size in (total // unit * unit, (total // unit + 1) * unit) if size]
    hints = [f"set train.global_batch_size to {' or '.join(sizes)}"]
    share = min(micro, total // world)
    smaller = (d for d in range(share, max(0, share - 10_000), -1) if total % (world * d) == 0)
    hints += [f"or set train.micro_batch_size to {size}" for size in (next(smaller, None),) if size]
    keys: list[tuple[KeyPath, str]] = [
        (("train", "global_batch_size"), f"global_batch_size is {total}"),
        (("train", "micro_batch_size"), f"micro_batch_size is {micro}"),
        (("hardware", "devices_per_node"), f"devices_per_node is {devices}"),
        (("hardware", "nodes"), f"nodes is {nodes}"),
        *[(SHARED, f"{shared} devices share a sequence")] * (shared > 1),
    ]
    place = first_set(document, *(path for path, _ in keys))
    yield at(
        document,
        place,
        "batch-arithmetic",
        f"a global batch of {_plural(total, 'sequence')} can't be shared out evenly",
        on="value",
        why=f"{_plural(world, 'device' if shared == 1 else 'group')} x {micro} a micro-batch = {unit} in each pass, "
        f"and {total} is no multiple of {unit}",
        others=[(path, text) for path, text in keys if path != place],
        hints=hints,
    )


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def accelerator_known(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The compile target must be known: dtype and attention follow from it."""
    name = spec.hardware.accelerator
    why = "dtype and attention follow from it"
    if spec.hardware.device == "cpu":
        if name is not None:
            yield at(
                document,
                ACCELERATOR,
                "conflict",
                f"a CPU run has no accelerator, and this names {name}",
                others=[(DEVICE, 'device is "cpu"')],
                hints=["remove accelerator, to train on the CPU", 'or set device = "cuda"'],
            )
    elif name is None:
        message = "[hardware] has no `accelerator`, which a GPU run needs"
        hints = [f"set accelerator to one of {', '.join(ACCELERATORS)}", OTHER]
        hints += [] if document.key(DEVICE) else ['or set device = "cpu": left out, it is "cuda"']
        yield at(document, ACCELERATOR, "missing-key", message, why=why, hints=hints)
    elif find_accelerator(name) is None:
        found = [f'"{other}"' for other in same_model(name)]
        hints = [f"did you mean {choice(found)}?"] if found else []
        hints += [] if found else [f"ftc knows {', '.join(ACCELERATORS)}"]
        message = f'ftc does not know the accelerator "{name}"'
        hints.append(OTHER)
        yield at(document, ACCELERATOR, "unknown-value", message, on="value", why=why, hints=hints)


# The way out for a card that is not listed.
OTHER = (
    f"or name any other card by its architecture ({', '.join(ARCHITECTURES)}) and memory, as in "
    '"ada-16G" for an RTX 4080; metrics have MFU of it if peak_tflops is set'
)


def dtype_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The target computes in the chosen dtype."""
    dtype, device = spec.model.dtype, spec.hardware.device
    accelerator = find_accelerator(spec.hardware.accelerator)
    if device == "cuda" and dtype == "bfloat16" and accelerator and not accelerator.bfloat16:
        yield at(
            document,
            DTYPE,
            "dtype-not-supported",
            f"{spec.hardware.accelerator} does not compute in bfloat16",
            on="value",
            why="bfloat16 needs an NVIDIA GPU of the Ampere generation or newer",
            others=[(ACCELERATOR, f'accelerator is "{spec.hardware.accelerator}"')],
            hints=['set dtype = "float16"', 'or leave it to dtype = "auto"'],
        )
    if device == "cpu" and dtype == "float16":
        yield at(
            document,
            DTYPE,
            "dtype-not-supported",
            "a CPU does not train in float16",
            on="value",
            others=[(DEVICE, 'device is "cpu"')],
            hints=['set dtype = "float32"', 'or leave it to dtype = "auto"'],
        )


def attention_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """An architecture can do what transformers can with it; flash_attention_2 runs on some GPUs, in some dtypes."""
    path: KeyPath = ("model", "attention")
    kind = facts.architecture.model_type if facts.architecture else ""
    wanted, instead = spec.model.attention, INSTEAD.get(kind)
    cannot = {
        "segment_sdpa": instead is not None,
        "sdpa": instead == "eager",
        "flash_attention_2": kind in WITHOUT_FLASH,
    }
    if cannot.get(wanted):
        yield at(
            document,
            path,
            "attention-not-supported",
            f"{spec.model.base} is a {kind}, and transformers' {kind} can't run {wanted}",
            on="value",
            hints=[f'set attention = "{instead}"', 'or leave it to attention = "auto"'],
        )
        return
    if spec.model.attention != "flash_attention_2":
        return
    accelerator = find_accelerator(spec.hardware.accelerator)
    on_cpu = spec.hardware.device == "cpu"
    if on_cpu or (accelerator and not accelerator.bfloat16):
        yield at(
            document,
            path,
            "attention-not-supported",
            "flash_attention_2 needs an Ampere GPU or newer, and the target is "
            + ("a CPU" if on_cpu else str(spec.hardware.accelerator)),
            on="value",
            others=[(DEVICE, 'device is "cpu"')]
            if on_cpu
            else [(ACCELERATOR, f'accelerator is "{spec.hardware.accelerator}"')],
            hints=['set attention = "segment_sdpa"', 'or leave it to attention = "auto"'],
        )
    elif spec.model.dtype == "float32":
        yield at(
            document,
            path,
            "attention-not-supported",
            "flash_attention_2 computes in bfloat16 and float16 only",
            on="value",
            others=[(DTYPE, 'dtype is "float32"')],
            hints=['set dtype = "auto"', 'or attention = "segment_sdpa"'],
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
            yield at(
                document,
                path,
                "conflict",
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


def engine_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The server runs on the target."""
    if spec.deploy.engine == "lmdeploy" and spec.hardware.device == "cpu":
        yield at(
            document,
            ("deploy", "engine"),
            "engine-not-supported",
            "lmdeploy serves on GPUs only, and the target is a CPU",
            on="value",
            others=[(DEVICE, 'device is "cpu"')],
            hints=['set engine = "transformers"', 'or leave it to engine = "auto"'],
        )
