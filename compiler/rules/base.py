"""Rules about what model.base is: a model that goes on with a text, in a class that training can load."""

from __future__ import annotations

from collections.abc import Iterator

from ..catalog.model_types import CAUSAL, OTHERS, TRANSFORMERS, WITH_MEDIA
from ..diagnostics.diagnostic import Diagnostic
from ..diagnostics.guess import guess
from ..document.at import at
from ..document.load import Document
from ..facts.gather import LOADER, Facts
from ..spec.spec import Spec
from .rule import BASE, Rule

CHOOSE = "choose a causal language model, such as smollm2-135m-instruct or qwen3-0.6b"
TRUST = "read the .py files in its folder, then set model.trust_remote_code = true"
TEXT_OF_WHOLE = "gemma3, gemma4, llama4, mllama and qwen3_5 can be trained on text"


def goes_on_with_a_text(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The base is a causal language model, of a kind that transformers knows or that brings its code."""
    kind, traits, base = facts.model_type, facts.traits, spec.model.base
    if facts.architecture is None or facts.runs_own_code(spec):
        return
    hints = [CHOOSE]
    if traits.encoder:
        what = f"{base} is a {kind}, an encoder: no model that goes on with a text"
        why = "it sees a text as a whole, to fill gaps in it; what comes next is no question to it"
    elif traits.seq2seq:
        what = f"{base} is a {kind}, an encoder with a decoder: no model that goes on with a text"
        why = "it turns one text into another, in two parts that a chat does not have"
    elif traits.of_media:
        what = f"{base} is a {kind}, {traits.of_media}: no model that goes on with a text"
        why = f"{LOADER} would load a part of it, which answers to more than a text"
    elif kind in WITH_MEDIA:
        what = f"{base} is a {kind}, a model of pictures or sounds: it has no class for text alone"
        why = f"ftc trains on text and loads a base with {LOADER}, which has no class for it"
        hints = [
            "choose a text model of its family",
            f"or a model with pictures whose text part has a class: {TEXT_OF_WHOLE}",
        ]
    elif kind in OTHERS:
        what = f"{base} is a {kind}: no model that goes on with a text"
        why = f"transformers {TRANSFORMERS} has no causal class for it ({LOADER})"
    else:
        return
    if facts.local_model and LOADER in facts.local_model.code:
        hints = [TRUST, *(f"or {hint.removeprefix('or ')}" for hint in hints)]
    yield at(document, BASE, "not-causal", what, on="value", why=why, hints=hints)


def has_its_head(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The folder was saved with the head that predicts tokens; another would be drawn at random."""
    kind, local = facts.model_type, facts.local_model
    if kind not in CAUSAL or not local or not local.classes or facts.runs_own_code(spec):
        return
    name = local.classes[0]
    tied = facts.architecture.tied if facts.architecture else None
    tied = facts.traits.tied if tied is None else tied
    task = name.rpartition("For")[2] if "For" in name else ""
    headless = (
        name.endswith("Model") and not name.endswith(("HeadModel", "HeadsModel")) and not tied
    )
    if name == CAUSAL[kind] or not (headless or any(word in task for word in TASKS)):
        return
    yield at(
        document,
        BASE,
        "not-causal",
        f"{spec.model.base} is a {name}, without a head for tokens",
        on="value",
        why="loaded as a causal language model, the base would get a head of random weights",
        hints=[f"choose the {kind} that it was made of", f"or {CHOOSE}"],
    )


# What the other classes of transformers are for, as their names say it.
TASKS = (
    *("Classification", "QuestionAnswering", "MultipleChoice", "MaskedLM", "PreTraining", "Reward"),
    *("Score", "Embedding", "Retrieval", "NextSentence", "Regression", "Ranking"),
)


def own_code_is_trusted(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A model type that transformers does not know needs the code in its folder, and leave to run it."""
    kind, local, base = facts.model_type, facts.local_model, spec.model.base
    known = kind in CAUSAL or kind in OTHERS or kind in WITH_MEDIA
    if local is None or known or facts.runs_own_code(spec):
        return
    if LOADER in local.code:
        what = f"{base} brings its own code, which only runs if you trust it"
        why = f"transformers {TRANSFORMERS} has no class for a {kind}; its config.json names one in auto_map"
        hints = [TRUST, f"or {CHOOSE}"]
        yield at(document, BASE, "untrusted-code", what, on="value", why=why, hints=hints)
        return
    if local.code:
        what = f"{base} is a {kind}, and its own code has no {LOADER}"
        why = f"config.json names {', '.join(local.code)} in auto_map, and no class that goes on with a text"
        yield at(document, BASE, "not-causal", what, on="value", why=why, hints=[CHOOSE])
        return
    near = guess(kind, sorted(CAUSAL))
    what = f"{base} is of the model type {kind}, which transformers {TRANSFORMERS} does not know"
    why = "its config.json names no code of its own in auto_map either, so nothing can load it"
    hints = [
        *near,
        "if its code was left out, download the folder again with its .py files",
        f"or {CHOOSE}",
    ]
    yield at(document, BASE, "not-causal", what, on="value", why=why, hints=hints)


RULES: tuple[Rule, ...] = (goes_on_with_a_text, has_its_head, own_code_is_trusted)
