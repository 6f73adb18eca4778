"""Rules about what becomes of text: the tokenizer, its tokens, and the day that a chat template asks for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ..catalog.presets import chat_templates
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at
from ..document.load import Document
from ..facts.chat_clock import asks
from ..facts.chat_template import refusal
from ..facts.gather import Facts
from ..spec.model import DATE
from ..spec.spec import Spec
from .rule import BASE, Rule, conflict


def tokens_have_embeddings(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The chat template and the prompts of [samples] have no token that the model can't take."""
    model = facts.local_model
    if not model or not model.embeddings or not model.beyond:
        return
    for name, path, text in _texts(spec, facts, document):
        wrong = {i: t for i, t in model.beyond.items() if t in text}
        if not wrong:
            continue
        token, rows = min(wrong), model.embeddings
        yield at(
            document,
            path,
            "no-embedding",
            f"the {name} has {wrong[token]}, which is token {token:,} of the tokenizer; the model has "
            f"{rows:,} embeddings, for the tokens 0 to {rows - 1:,}",
            on="value",
            why="the tokenizer has more tokens than the model, so they do not belong together",
            hints=[
                "choose a base whose tokenizer was saved with the model",
                f"or a {name} without {wrong[token]}",
                f"or give the model more rows in transformers: resize_token_embeddings({max(model.beyond) + 1}), "
                'save it, and train them: method.modules_to_save = ["embed_tokens", "lm_head"]',
            ],
        )


def tokenizer_is_there(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A model's folder holds its tokenizer, as a tokenizer.json."""
    model, known = facts.local_model, facts.architecture
    if model is None or known is None:
        return
    hint = "add the tokenizer.json that belongs to the model"
    if model.tokenizer is None:
        yield at(
            document,
            BASE,
            "no-tokenizer",
            f"the folder {spec.model.base} holds no tokenizer",
            on="value",
            why="what transformers makes without its files is empty: it knows no words",
            hints=[hint],
        )
    elif model.tokenizer == "tokenizer.model":
        yield at(
            document,
            BASE,
            "no-tokenizer",
            f"the folder {spec.model.base} holds tokenizer.model alone, without a tokenizer.json",
            on="value",
            why=f"transformers makes a tokenizer of it by the model's type, {known.model_type}, which for most "
            "leaves out the space that texts begin with; launch.sh compares the ids with sentencepiece",
            hints=[
                hint,
                "or install what reads it: pip install sentencepiece==0.2.1 protobuf==6.33.6",
            ],
            severity="warning",
        )


def _texts(spec: Spec, facts: Facts, document: Document) -> Iterator[tuple[str, KeyPath, str]]:
    """What the spec has the model read beside its rows: (what it is, where, its text)."""
    path: KeyPath = ("model", "chat_template")
    yield "chat template", path if document.key(path) else BASE, facts.template or ""
    if spec.samples:
        for number, prompt in enumerate(spec.samples.prompts):
            yield "prompt", ("samples", "prompts", number), prompt
        yield "system message", ("samples", "system"), spec.samples.system or ""


def system_is_taken(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A template that ftc ships takes the system messages of [samples] and [chat]."""
    template = facts.template
    given = {
        "samples": spec.samples.system if spec.samples else None,
        "chat": spec.chat.system,
    }
    if template is None or facts.template_name not in chat_templates() or not any(given.values()):
        return
    for table, system in given.items():
        said = refusal(template, system) if system else None
        if said:
            yield conflict(
                document,
                (table, "system"),
                f"the chat template `{facts.template_name}` refuses a system message: {said}",
                hints=[
                    "remove system",
                    "or set another model.chat_template",
                ],
            )


def date_is_told(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A template that asks for the day is told one, and no other."""
    path: KeyPath = ("model", "date")
    given = document.key(path) is not None
    try:
        datetime.fromisoformat(spec.model.date)
    except ValueError:
        message = f"there is no day {spec.model.date}"
        hint = "write a day of the calendar"
        yield at(document, path, "bad-form", message, on="value", hints=[hint])
        return
    if facts.template is None or asks(facts.template) == given:
        return
    template = facts.template_name
    if given:
        yield conflict(
            document,
            path,
            f"the chat template `{template}` asks for no date",
            why="so the key has no effect",
            hints=["remove date"],
        )
        return
    where: KeyPath = ("model", "chat_template")
    yield at(
        document,
        where if document.key(where) else BASE,
        "asks-the-day",
        f"the chat template `{template}` asks for today's date; every render is given {DATE}",
        on="value",
        why="training, chat and server must see the same tokens, on any day",
        hints=['set date in [model] to the day that the model should take for today: "YYYY-MM-DD"'],
        severity="warning",
    )


RULES: tuple[Rule, ...] = (
    tokens_have_embeddings,
    tokenizer_is_there,
    system_is_taken,
    date_is_told,
)
