"""Rules about [method]: names of modules, and what PEFT and bitsandbytes can't do together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase

from .architectures import EXPERT_LAYERS, UNADAPTED
from .diagnostics import Diagnostic, KeyPath, at, guess
from .facts import Facts
from .keys import Refused
from .load import Document
from .presets import Architecture
from .spec import Spec
from .spec_model import Full, Lora, Qlora

KIND: KeyPath = ("method", "kind")
START: KeyPath = ("method", "init_lora_weights")
DORA: KeyPath = ("method", "use_dora")
LAYERS: KeyPath = ("method", "layers_to_transform")
BITS: KeyPath = ("method", "quantization", "bits")


def _leaves(architecture: Architecture) -> list[str]:
    """The last parts of the names of modules: q_proj, norm, lm_head."""
    return list(dict.fromkeys(name.rpartition(".")[2] for name in architecture.modules))


def _named(method: Lora) -> Iterator[tuple[KeyPath, str]]:
    """Each name of a module in [method], with its place."""
    for key in ("target_modules", "exclude_modules", "modules_to_save"):
        with suppress(Refused):
            yield from ((("method", key, index), name) for index, name in method.each(key))
    for index, pattern in method.each("rank_pattern"):
        with suppress(Refused):
            yield ("method", "rank_pattern", index, "module"), pattern.module


def names_exist(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Every name is the end of a module's; target_modules names linear layers."""
    known = facts.architecture
    if not isinstance(spec.method, Lora) or known is None or not known.modules:
        return
    leaves, linears = _leaves(known), list(known.linears or ())
    linears += EXPERT_LAYERS.get(known.model_type, ()) if linears else ()
    for path, name in _named(spec.method):
        linear = path[1] == "target_modules" and "." not in name and bool(linears)
        if linear:
            there = name in linears or name == "lm_head"
        elif "." in name:
            there = any(f".{full}".endswith(f".{name}") for full in known.names())
        else:
            there = name in leaves
        if not there:
            count = name.count(".") + 1
            near = (
                {".".join(full.split(".")[-count:]) for full in known.names()} if count > 1 else ()
            )
            what, names = ("linear layer", linears) if linear else ("module", leaves)
            yield at(
                document,
                path,
                "unknown-module",
                f'{spec.model.base} has no {what} "{name}"',
                on="value",
                why="PEFT passes over a name that matches nothing",
                hints=[*guess(name, near or names), f"it has {', '.join(names)}"],
            )


def layers_are_adapted(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """No layer is named that PEFT can't adapt."""
    kind = facts.architecture.model_type if facts.architecture else ""
    if not isinstance(spec.method, Lora) or kind not in UNADAPTED:
        return
    for path, name in _named(spec.method):
        last = name.rpartition(".")[2]
        if path[1] == "target_modules" and last in UNADAPTED[kind]:
            yield at(
                document,
                path,
                "conflict",
                f"PEFT can't adapt the {last} of a {kind}",
                on="value",
                why="the model does not call it as a linear layer, or it gets no gradient",
                hints=[
                    f'remove "{name}"',
                    'or set target_modules = "all-linear": it leaves that out',
                ],
            )


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
    """Whether a pattern names a module, or one that holds it: see `ftc.runtime.names`."""
    return any(fnmatchcase(end, pattern) for end in _ends(name))


def _ends(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def blocks_exist(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """layers_to_transform counts from 0, and ends with the last block."""
    blocks = facts.architecture.num_layers if facts.architecture else None
    if not isinstance(spec.method, Lora) or blocks is None:
        return
    for index, block in spec.method.each("layers_to_transform"):
        if block >= blocks:
            yield at(
                document,
                (*LAYERS, index),
                "out-of-range",
                f"{spec.model.base} has {blocks} blocks, so there is no block {block}",
                on="value",
                why="blocks are counted from 0",
                hints=[f"name blocks from 0 to {blocks - 1}"],
            )


def blocks_have_names(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """PEFT takes layers_to_transform together with names only."""
    method = spec.method
    if not isinstance(method, Lora) or not method.layers_to_transform:
        return
    known = facts.architecture is not None and facts.architecture.linears
    if method.target_modules == "all-linear" and not known:
        yield at(
            document,
            LAYERS,
            "conflict",
            "`layers_to_transform` needs the names of the layers in target_modules",
            why=f'ftc does not know the layers of {spec.model.base}, so it can\'t name "all-linear"',
            hints=['set target_modules, such as ["q_proj", "v_proj"]', "or remove it"],
        )


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
            yield at(
                document,
                START,
                "conflict",
                f"{start} can't go with {what}",
                on="value",
                why=why,
                others=[(path, f"{path[-1]} is set here")],
                hints=['set init_lora_weights = "default"', f"or change {path[-1]}"],
            )


def orthogonal_is_dense(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """PEFT 0.21 gives an orthogonal start the dtype of the base, which here is whole numbers."""
    if isinstance(spec.method, Qlora) and spec.method.init_lora_weights == "orthogonal":
        yield at(
            document,
            START,
            "conflict",
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
            yield at(
                document,
                path,
                "conflict",
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
        yield at(
            document,
            DORA,
            "conflict",
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
    """LoRA+ and Muon each give groups of weights learning rates of their own."""
    method = spec.method
    if isinstance(method, Lora) and method.loraplus_lr_ratio and spec.optim.optimizer == "muon":
        yield at(
            document,
            ("method", "loraplus_lr_ratio"),
            "conflict",
            "LoRA+ does not go with Muon",
            why="each of the two gives some weights learning rates of their own",
            others=[(("optim", "optimizer"), 'optimizer is "muon"')],
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
            yield at(
                document,
                ("method", "modules_to_save", index),
                "conflict",
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
            yield at(
                document,
                ("method", "modules_to_save", index),
                "conflict",
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
            yield at(
                document,
                path,
                "conflict",
                f"`{key}` is for {12 - bits}-bit weights, and these have {bits} bits",
                others=[(BITS, f"bits is {bits}")],
                hints=[f"remove {key}", f"or set bits = {12 - bits}"],
            )
