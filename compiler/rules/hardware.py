"""Rules about [hardware]: what the devices compute."""

from __future__ import annotations

from collections.abc import Iterator

from ..catalog.accelerators import ACCELERATORS, ARCHITECTURES, find_accelerator, same_model
from ..catalog.architectures import SEGMENTS
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.describe import choice
from ..spec.spec import Spec
from .rule import DEVICE, Rule, conflict

ACCELERATOR: KeyPath = ("hardware", "accelerator")
DTYPE: KeyPath = ("model", "dtype")


def accelerator_known(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The compile target must be known: dtype and attention follow from it."""
    name = spec.hardware.accelerator
    why = "dtype and attention follow from it"
    if spec.hardware.device == "cpu":
        if name is not None:
            yield conflict(
                document,
                ACCELERATOR,
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
    kind, wanted, instead = facts.model_type, spec.model.attention, facts.traits.attention
    cannot = {
        "segment_sdpa": instead != SEGMENTS,
        "sdpa": instead == "eager",
        "flash_attention_2": not facts.traits.can_flash,
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


RULES: tuple[Rule, ...] = (accelerator_known, dtype_fits, attention_fits)
