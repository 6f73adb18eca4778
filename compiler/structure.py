"""What pydantic finds wrong with the structure of a document, told in the language's own terms.

pydantic decides whether a value is right; the words are made here, from the models of `spec.py`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from . import repairs, unknown_keys
from .diagnostics import Diagnostic, KeyPath, at, nearest
from .language import METHODS, describe, dotted, field_at, header, literals, model_at, models_in
from .load import Document
from .quote import toml
from .spec import Spec

LIMITS = {
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "finite_number",
    "too_short",
    "too_long",
    "string_too_short",
    "string_too_long",
}


def check(document: Document) -> tuple[Spec | None, dict[KeyPath, Diagnostic]]:
    """The spec, if the structure is right; and the problems by key path.

    A kind that is not known is reported, and the other keys of [method] are judged by a likely one.
    """
    data, kind, problems = _method(document)
    try:
        spec = Spec.model_validate(data)
        return (None if problems else spec), problems
    except ValidationError as error:
        found: dict[KeyPath, list[ErrorDetails]] = defaultdict(list)
        for detail in error.errors(include_url=False):
            found[_path(data, detail)].append(detail)
    for path, details in found.items():
        # Of a union's complaints, one about an item says more than "this is no list".
        if not any(len(other) > len(path) and other[: len(path)] == path for other in found):
            problems[path] = _problem(document, path, details, kind)
    return None, problems


def _method(document: Document) -> tuple[dict[str, Any], str, dict[KeyPath, Diagnostic]]:
    """The data with a kind of method that is known; that kind; what was wrong with it."""
    path = ("method", "kind")
    table: Any = document.data.get("method")
    if not isinstance(table, dict):
        return document.data, "qlora", {}
    given: Any = table.get("kind")  # pyright: ignore[reportUnknownMemberType]
    if given in METHODS:
        return document.data, given, {}
    kind = (nearest(given.lower(), METHODS) if isinstance(given, str) else None) or "qlora"
    if "kind" in table:
        code = "unknown-value" if isinstance(given, str) else "wrong-type"
        problem = _wrong_value(document, path, given, code, kind)
    else:
        problem = _missing(document, path, kind)
    return {**document.data, "method": {**table, "kind": kind}}, kind, {path: problem}


def _path(data: Any, detail: ErrorDetails) -> KeyPath:
    """pydantic's location without the branches of unions that it names in between."""
    path: list[str | int] = []
    for part in detail["loc"]:
        inside = part in data if isinstance(data, dict) else False
        inside |= isinstance(data, list) and isinstance(part, int) and part < len(data)  # pyright: ignore[reportUnknownArgumentType]
        if inside:
            data = data[part]
            path.append(part)
        elif detail["type"] == "missing" and part == detail["loc"][-1] and isinstance(part, str):
            path.append(part)
    return tuple(path)


def _problem(
    document: Document, path: KeyPath, details: list[ErrorDetails], kind: str
) -> Diagnostic:
    types = {detail["type"] for detail in details}
    field = field_at(path, kind)
    given: Any = document.data
    if "extra_forbidden" in types:
        return unknown_keys.explain(document, path, kind)
    for part in path:
        if isinstance(given, dict) and part not in given:
            return _missing(document, path, kind)
        given = given[part]
    listed = literals(field.annotation) if field else []
    if types & LIMITS:
        code = "out-of-range"
    elif "string_pattern_mismatch" in types:
        code = "bad-form"
    else:
        code = "unknown-value" if type(given) in map(type, listed) else "wrong-type"
    return _wrong_value(document, path, given, code, kind)


def _wrong_value(
    document: Document, path: KeyPath, given: Any, code: str, kind: str
) -> Diagnostic:
    field = field_at(path, kind)
    assert field is not None  # only keys of the language have values to judge
    expected = describe(field, item=isinstance(path[-1], int), form=code == "bad-form")
    message = f"`{dotted(path)}` must be {expected}, not {_show(given)}"
    if given in ("", []):
        message = f"`{dotted(path)}` is empty; it must be {expected}"
    return at(
        document,
        path,
        code,
        message,
        on="value",
        why="" if isinstance(path[-1], int) else f"{path[-1]}: {field.description}",
        hints=repairs.hints(path, field, given),
    )


def _show(value: Any) -> str:
    """A value as TOML has it, shortened."""
    text = toml(value)
    return text if len(text) <= 60 else f"{text[:40]}...{text[-10:]}"


def _missing(document: Document, path: KeyPath, kind: str) -> Diagnostic:
    """A table or key that every spec needs."""
    field, word = field_at(path, kind), str(path[-1])
    assert field is not None
    models = list(models_in(field.annotation))
    if models:
        title = header(dotted(path))
        first, key = next(iter(models[0].model_fields.items()))
        hint = f"add {title}, and below it `{first} = {repairs.example(key, kind)}`"
        what = f"the spec has no table {title}"
        return at(document, path, "missing-table", what, why=f"{title}: {field.description}", hints=[hint])
    model = model_at(path[:-1], kind)
    table = header(dotted(tuple(part for part in path[:-1] if isinstance(part, str))))
    assert model is not None
    return at(
        document,
        path,
        "missing-key",
        f"{table} has no `{word}`, which it needs",
        why=f"{word}: {field.description}",
        hints=[f"add `{word} = {repairs.example(field, kind)}`"],
    )
