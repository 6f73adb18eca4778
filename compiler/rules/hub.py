"""Rules about what model.base comes with: weights that are quantized, code of its own."""

from __future__ import annotations

from collections.abc import Iterator

from ..catalog.hub_ids import own_code, packed
from ..catalog.model_types import TRANSFORMERS
from ..diagnostics.diagnostic import Diagnostic
from ..document.at import at
from ..document.load import Document
from ..facts.gather import LOADER, Facts
from ..facts.near_templates import near_preset
from ..spec.method import Qlora
from ..spec.spec import Spec
from .base import CHOOSE
from .rule import BASE, Rule

BITSANDBYTES = "bitsandbytes"
# Owners whose quantized models are named as the plain ones beside them.
BESIDE = ("Qwen", "unsloth")
BY_NAME = (
    "if its name misleads, download it and set model.base to the folder: ftc reads its config.json"
)


def weights_are_plain(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A run trains on plain weights, or packs them itself. What a name says is a guess."""
    base, hub_id, local = spec.model.base, facts.hub_id(spec), facts.local_model
    found = packed(hub_id) if hub_id else None
    form = found.form if found else local.packed if local else None
    if form is None or (form == "mxfp4" and not isinstance(spec.method, Qlora)):
        return  # transformers makes bfloat16 of gpt-oss's mxfp4
    what = f"{base} is" if local else f"by its name, {base} is"
    what += " quantized" if form == "bits" else f" quantized ({form})"
    qlora = isinstance(spec.method, Qlora)
    why = "its weights are packed for a server: a run could not train them, or not export what it trained"
    trains = form == BITSANDBYTES and qlora
    if trains:
        why = "the run trains on its weights as they are: nothing in [method.quantization] counts"
        why += ", and merging may fail"
    hints = [_plain(base, found.plain if found else base)]
    if form == "GGUF":
        hints.append(
            "or make a folder of a file of it: python -m ftc.runtime.models FILE.gguf FOLDER"
        )
    if not qlora:
        hints.append(
            'for less memory, set method.kind = "qlora", which packs plain weights as it loads them'
        )
    guessed = found is not None and not trains
    severity = "warning" if trains or form == "bits" else "error"
    yield at(
        document,
        BASE,
        "quantized-base",
        what,
        on="value",
        why=why,
        hints=[*hints, *([BY_NAME] if guessed else [])],
        severity=severity,
    )


def _plain(base: str, name: str) -> str:
    """A hint at the same model with plain weights."""
    owner = base.rpartition("/")[0]
    if (preset := near_preset(base)) is not None:
        return f'set base to "{preset.hub_id}", the same with plain weights'
    if owner.rpartition(":")[2] in BESIDE:
        return f'set base to the same with plain weights, likely "{owner}/{name}"'
    return "set base to the model with plain weights that it was made of; its card on the Hub names that"


def own_code_of_the_hub(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A model that transformers has no class for, by its Hub id: it needs leave to run its code."""
    base, hub_id = spec.model.base, facts.hub_id(spec)
    found = own_code(hub_id) if hub_id else None
    if found is None or (spec.model.trust_remote_code and not found.with_media):
        return
    kind = found.model_type
    instead = [f'choose a text model instead, such as "{found.instead}"'] if found.instead else []
    if found.with_media:
        what = f"{base} is a model of pictures or sounds, which brings its own code ({kind})"
        why = f"transformers {TRANSFORMERS} has no class for it, and that code asks for more than a text"
        if kind == "internvl_chat":
            why += f"; transformers' own form of it, {base}-hf, has no class for text alone"
        code, hints = "not-causal", instead or [CHOOSE]
    else:
        what = f"by its name, {base} is of type {kind} and brings its own code, which only runs if you trust it"
        why = f"transformers {TRANSFORMERS} has no class for it ({LOADER})"
        code, hints = (
            "untrusted-code",
            [
                "read the .py files of its repository, then set model.trust_remote_code = true",
                *(f"or {hint}" for hint in instead),
            ],
        )
    severity = "error" if found.with_media else "warning"
    yield at(document, BASE, code, what, on="value", why=why, hints=hints, severity=severity)


RULES: tuple[Rule, ...] = (weights_are_plain, own_code_of_the_hub)
