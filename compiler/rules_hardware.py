"""Rules about the compile target: what the devices share, compute and serve."""

from __future__ import annotations

from collections.abc import Iterator

from .diagnostics import Diagnostic, KeyPath, at, first_set, guess
from .facts import Facts
from .load import Document
from .presets import ACCELERATORS, Accelerator
from .spec import Qlora, Spec

DEVICE: KeyPath = ("hardware", "device")
ACCELERATOR: KeyPath = ("hardware", "accelerator")
STAGE: KeyPath = ("parallel", "zero_stage")


def batch_divides(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """global_batch_size = devices x micro_batch_size x accumulation, all of them whole."""
    nodes, devices = spec.hardware.nodes, spec.hardware.devices_per_node
    micro, total = spec.train.micro_batch_size, spec.train.global_batch_size
    world, unit = nodes * devices, nodes * devices * micro
    if total % unit == 0:
        return
    sizes = [str(size) for size in (total // unit * unit, (total // unit + 1) * unit) if size]
    divisors = [d for d in range(min(micro, total), 0, -1) if total % (world * d) == 0]
    hints = [f"set train.global_batch_size to {' or '.join(sizes)}"]
    hints += [f"or train.micro_batch_size to {divisors[0]}"] if divisors else []
    keys: list[tuple[KeyPath, str]] = [
        (("train", "global_batch_size"), f"global_batch_size is {total}"),
        (("train", "micro_batch_size"), f"micro_batch_size is {micro}"),
        (("hardware", "devices_per_node"), f"devices_per_node is {devices}"),
        (("hardware", "nodes"), f"nodes is {nodes}"),
    ]
    place = first_set(document, *(path for path, _ in keys))
    plural = "" if world == 1 else "s"
    yield at(
        document,
        place,
        "batch-arithmetic",
        f"a global batch of {total} sequences can't be shared out evenly",
        on="value",
        why=f"{world} device{plural} x {micro} a micro-batch = {unit} in each pass, "
        f"and {total} is no multiple of {unit}",
        others=[(path, text) for path, text in keys if path != place],
        hints=hints,
    )


def accelerator_known(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The compile target must be known: dtype and attention follow from it."""
    name, known = spec.hardware.accelerator, ", ".join(ACCELERATORS)
    why = "dtype and attention follow from it"
    if spec.hardware.device == "cpu":
        if name is not None:
            yield at(
                document,
                ACCELERATOR,
                "conflict",
                f'device = "cpu" has no accelerator, and this names {name}',
                others=[(DEVICE, 'device is "cpu"')],
                hints=["remove accelerator, to train on the CPU", 'or set device = "cuda"'],
            )
    elif name is None:
        given = document.key(DEVICE) is not None
        message = "[hardware] has no `accelerator`, which a GPU run needs"
        hints = [f"set accelerator to one of {known}"]
        hints += [] if given else ['or set device = "cpu"; left out, it is "cuda"']
        yield at(document, ACCELERATOR, "missing-key", message, why=why, hints=hints)
    elif name not in ACCELERATORS:
        lower = {known.lower(): known for known in ACCELERATORS}
        same = [f'did you mean "{lower[name.lower()]}"?'] if name.lower() in lower else []
        same += [f'did you mean "{k}"?' for k in ACCELERATORS if k.split("-")[0] == name.upper()]
        near = [hint for k in guess(name, lower) for hint in [k.replace(*_cased(k, lower))]]
        yield at(
            document,
            ACCELERATOR,
            "unknown-value",
            f'ftc does not know the accelerator "{name}"',
            on="value",
            why=why,
            hints=[*(same or near), f"known are {known}"],
        )
