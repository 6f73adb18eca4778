"""What pydantic finds wrong with the structure of a document, told in the language's own terms.

pydantic decides whether a value is right; the words are made here, from the models of `spec.py`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..diagnostics.diagnostic import MOST, Diagnostic, KeyPath
from ..diagnostics.guess import nearest
from ..diagnostics.tree import has, is_table
from ..document.at import at
from ..document.load import Document
from ..document.write_toml import toml
from ..spec.describe import (
    METHODS,
    choice,
    describe,
    dotted,
    field_at,
    header,
    is_list,
    item_of,
    kind_of,
    literals,
    model_at,
    models_in,
)
from ..spec.spec import Spec
from . import suggestions, unknown_keys

EXPLAINED = 3 * MOST  # some turn out to be none
UNEXPLAINED = "not explained, as so many other problems come before it"
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


def check(document: Document) -> dict[KeyPath, Diagnostic]:
    """What is wrong with the structure, by key path.

    A kind that is not known is reported, and the other keys of [method] are judged by a likely one.
    """
    data, kind, problems = _method(document)
    try:
        Spec.model_validate(data)
        return problems
    except ValidationError as error:
        found: dict[KeyPath, list[ErrorDetails]] = defaultdict(list)
        for detail in error.errors(include_url=False):
            found[_path(data, detail)].append(detail)
    around = {path[:end] for path in found for end in range(len(path))}
    # Of a union's complaints, one about an item says more than "this is no list".
    paths = [path for path in found if path not in around]
    if len(paths) > EXPLAINED:
        paths.sort(key=lambda path: document.locate(path)[:2])
    for path in paths[:EXPLAINED]:
        problems[path] = _problem(document, path, found[path], kind)
    for path in paths[EXPLAINED:]:
        problems[path] = _unexplained(document, path, found[path])
    for path in [path for path in paths[:EXPLAINED] if problems[path].code == "unknown-key"]:
        meant = unknown_keys.meant(path, kind)
        if meant in problems and problems[meant].code.startswith("missing-"):
            del problems[meant]  # it is here, under another name
    return problems


def _unexplained(document: Document, path: KeyPath, details: list[ErrorDetails]) -> Diagnostic:
    """A problem behind so many others that it is only counted: to look for what is meant takes a while."""
    unknown = any(detail["type"] == "extra_forbidden" for detail in details)
    line, column = document.locate(path)[:2]
    code = "unknown-key" if unknown else "wrong-type"
    return Diagnostic(code, UNEXPLAINED, document.path, line, column)


def _method(document: Document) -> tuple[dict[str, Any], str, dict[KeyPath, Diagnostic]]:
    """The data with a kind of method that is known; that kind; what was wrong with it."""
    path = ("method", "kind")
    table: Any = document.data.get("method")
    if not is_table(table):
        return document.data, kind_of(document.data), {}
    given = table.get("kind")
    if given in METHODS:
        return document.data, given, {}
    kind = (nearest(given.lower(), METHODS) if isinstance(given, str) else None) or kind_of({})
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
        if has(data, part):
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
        if not has(given, part):
            return _missing(document, path, kind)
        given = given[part]
    item = isinstance(path[-1], int)
    listed = literals(item_of(field.annotation) if item else field.annotation) if field else []
    if types & LIMITS:
        code = "out-of-range"
    elif "string_pattern_mismatch" in types:
        code = "bad-form"
    else:
        code = "unknown-value" if type(given) in map(type, listed) else "wrong-type"
    return _wrong_value(document, path, given, code, kind)


def _wrong_value(document: Document, path: KeyPath, given: Any, code: str, kind: str) -> Diagnostic:
    field = field_at(path, kind)
    assert field is not None  # only keys of the language have values to judge
    expected = describe(field, item=isinstance(path[-1], int), form=code == "bad-form")
    if path == ("method", "kind"):
        expected = choice([f'"{method}"' for method in METHODS])
    message = f"`{dotted(path)}` must be {expected}, not {_show(given)}"
    if given == "" or (given == [] and is_list(field.annotation)):
        code, message = "out-of-range", f"`{dotted(path)}` is empty"
    elif isinstance(given, float) and not math.isfinite(given):
        message = message.replace("a number", "a finite number")
    return at(
        document,
        path,
        code,
        message,
        on="value",
        why="" if isinstance(path[-1], int) else f"`{path[-1]}`: {field.description}",
        hints=suggestions.hints(path, field, given),
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
        return at(
            document,
            path,
            "missing-table",
            f"the spec has no table {title}, which it needs",
            why=f"{title}: {field.description}",
            hints=[suggestions.open_table(dotted(path), models[0])],
        )
    model = model_at(path[:-1], kind)
    table = header(dotted(tuple(part for part in path[:-1] if isinstance(part, str))))
    assert model is not None
    return at(
        document,
        path,
        "missing-key",
        f"{table} has no `{word}`, which it needs",
        why=f"`{word}`: {field.description}",
        hints=[f"add {suggestions.example(word, field)}"],
    )
