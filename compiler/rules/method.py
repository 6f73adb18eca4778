"""Rules about [method]: what is frozen, and what PEFT and bitsandbytes can't do together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase

from ..catalog.optimizers import OPTIMIZERS
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..diagnostics.guess import guess
from ..document.at import at
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.keys import Refused
from ..spec.method import Full, Lora, Qlora
from ..spec.spec import Spec
from .rule import Rule, conflict

KIND: KeyPath = ("method", "kind")
START: KeyPath = ("method", "init_lora_weights")
DORA: KeyPath = ("method", "use_dora")
LAYERS: KeyPath = ("method", "layers_to_transform")
BITS: KeyPath = ("method", "quantization", "bits")


def patterns_match(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Every pattern in freeze names something, and not everything."""
    known = facts.architecture
    if not isinstance(spec.method, Full) or known is None or not known.modules:
        return
    names, frozen = known.names(), set[str]()
    ends = [end for name in names for end in _ends(name)]
    for index, pattern in spec.method.each("freeze"):
        found = {name for name in names if _matches(name, pattern)}
        frozen |= found
        module = pattern.removesuffix(".weight").removesuffix(".bias")
        if not found and not any(_matches(name, module) for name in names):
            yield at(
                document,
                ("method", "freeze", index),
                "unknown-module",
                f'"{pattern}" matches no module of {spec.model.base}',
                on="value",
                hints=[*guess(pattern, ends), f"it has {', '.join(known.modules[:3])}, ..."],
            )
    if names and spec.method.freeze and frozen == set(names):
        yield at(
            document,
            ("method", "freeze"),
            "nothing-to-train",
            "`freeze` covers the whole model, so nothing is left to train",
            hints=["freeze less of it"],
        )


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern names a module, or one that holds it: see `ftc.runtime.model.names`."""
    return any(fnmatchcase(end, pattern) for end in _ends(name))


def _ends(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def start_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """pissa and olora take a part out of the base, which is put back at export."""
    method = spec.method
    if not isinstance(method, Lora) or not method.init_lora_weights.startswith(("pissa", "olora")):
        return
    start = f'init_lora_weights = "{method.init_lora_weights}"'
    plain = "the adapter is exported for the base as it was, and PEFT carries over low-rank matrices only"
    patterned = method.use_rslora and bool(method.rank_pattern)
    found: list[tuple[bool, KeyPath, str, str]] = [
        (
            isinstance(method, Qlora),
            KIND,
            "a quantized base",
            "a quantized base can't hold the rest of a weight exactly",
        ),
        (method.use_dora, DORA, "use_dora", plain),
        (bool(method.modules_to_save), ("method", "modules_to_save"), "modules_to_save", plain),
        (method.bias != "none", ("method", "bias"), "bias", plain),
        (
            patterned,
            ("method", "rank_pattern"),
            "use_rslora and rank_pattern together",
            "PEFT can't convert such an adapter",
        ),
    ]
    for wrong, path, what, why in found:
        if wrong:
            yield conflict(
                document,
                START,
                f"{start} can't go with {what}",
                on="value",
                why=why,
                others=[(path, f"{path[-1]} is set here")],
                hints=['set init_lora_weights = "default"', f"or change {path[-1]}"],
            )


def orthogonal_is_dense(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """PEFT 0.21 gives an orthogonal start the dtype of the base, which here is whole numbers."""
    if isinstance(spec.method, Qlora) and spec.method.init_lora_weights == "orthogonal":
        yield conflict(
            document,
            START,
            "an orthogonal start needs a base that is not quantized",
            on="value",
            why="PEFT would make adapters of whole numbers, which can't be trained",
            others=[(KIND, 'kind is "qlora"')],
            hints=['set init_lora_weights = "gaussian"', 'or kind = "lora"'],
        )


def ranks_are_even(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """An orthogonal start splits the rank in two halves."""
    method = spec.method
    if not isinstance(method, Lora) or method.init_lora_weights != "orthogonal":
        return
    ranks: list[tuple[KeyPath, int]] = []
    with suppress(Refused):
        ranks.append((("method", "rank"), method.rank))
    for index, pattern in method.each("rank_pattern"):
        with suppress(Refused):
            ranks.append((("method", "rank_pattern", index, "rank"), pattern.rank))
    for path, rank in ranks:
        if rank % 2:
            yield conflict(
                document,
                path,
                f"an orthogonal start needs an even rank, and this is {rank}",
                on="value",
                others=[(START, "init_lora_weights is set here")],
                hints=[f"set it to {rank + 1}"],
            )


def dora_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Where PEFT 0.21 can't compute the length of a weight's rows."""
    method, stage = spec.method, spec.parallel.zero_stage
    if not isinstance(method, Lora) or not method.use_dora:
        return
    eight = isinstance(method, Qlora) and method.quantization.bits == 8
    if eight and spec.hardware.device == "cpu":
        yield conflict(
            document,
            DORA,
            "DoRA does not run on an 8-bit base on a CPU",
            why="PEFT loses the scale of 8-bit weights there when it reads them",
            others=[(BITS, "bits is 8"), (("hardware", "device"), 'device is "cpu"')],
            hints=["set bits = 4", "or remove use_dora"],
        )
    if stage == 3:
        yield at(
            document,
            DORA,
            "zero-stage",
            "DoRA does not run with ZeRO stage 3",
            why="it needs each weight whole, and stage 3 leaves a share of it on each device",
            others=[(("parallel", "zero_stage"), "zero_stage is 3")],
            hints=["set zero_stage = 2", "or remove use_dora"],
        )


def loraplus_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """LoRA+ and some optimizers give groups of weights learning rates of their own."""
    method = spec.method
    row = OPTIMIZERS[spec.optim.optimizer]
    if isinstance(method, Lora) and method.loraplus_lr_ratio and row.own_rates:
        yield conflict(
            document,
            ("method", "loraplus_lr_ratio"),
            f"LoRA+ does not go with {row.title}",
            why="each of the two gives some weights learning rates of their own",
            others=[(("optim", "optimizer"), f'optimizer is "{spec.optim.optimizer}"')],
            hints=["remove loraplus_lr_ratio", 'or set optimizer = "adamw"'],
        )


def saved_or_adapted(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A module is trained whole, or gets an adapter."""
    method = spec.method
    if not isinstance(method, Lora):
        return
    adapted = {name: index for index, name in method.each("target_modules")}
    for index, name in method.each("modules_to_save"):
        if name in adapted:
            yield conflict(
                document,
                ("method", "modules_to_save", index),
                f"`{name}` is to be trained whole and to get an adapter",
                on="value",
                others=[(("method", "target_modules", adapted[name]), "it is named here, too")],
                hints=["remove it from one of the two"],
            )


def saved_is_trainable(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A quantized layer can't be trained whole."""
    linears = facts.architecture.linears if facts.architecture else None
    if not isinstance(spec.method, Qlora):
        return
    for index, name in spec.method.each("modules_to_save"):
        if name.rpartition(".")[2] in (linears or ()):
            yield conflict(
                document,
                ("method", "modules_to_save", index),
                f"`{name}` is quantized, and a quantized layer can't be trained whole",
                on="value",
                others=[(KIND, 'kind is "qlora"')],
                hints=["leave it to its adapter", 'or set kind = "lora"'],
            )


def quantization_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Keys that are about the other number of bits."""
    if not isinstance(spec.method, Qlora):
        return
    bits = spec.method.quantization.bits
    keys = ("int8_threshold",) if bits == 4 else ("type", "double_quant", "compute_dtype")
    for key in keys:
        path = ("method", "quantization", key)
        if document.key(path):
            yield conflict(
                document,
                path,
                f"`{key}` is for {12 - bits}-bit weights, and these have {bits} bits",
                others=[(BITS, f"bits is {bits}")],
                hints=[f"remove {key}", f"or set bits = {12 - bits}"],
            )


RULES: tuple[Rule, ...] = (
    patterns_match,
    start_fits,
    orthogonal_is_dense,
    ranks_are_even,
    dora_fits,
    loraplus_fits,
    saved_or_adapted,
    saved_is_trainable,
    quantization_fits,
)
