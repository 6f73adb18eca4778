"""Document -> Spec, or every problem that it has.

pydantic checks the structure (`spec.py`), `rules.py` what keys mean together. A document with structural
problems is judged by the rules as well, with the offending keys left out, so that one run shows all.
Nothing here fills in or changes a value.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from . import rules
from .diagnostics import CompileError, Diagnostic, at, nearest
from .facts import Facts, gather
from .load import Document
from .spec import Spec, Table

Path = tuple[str | int, ...]
METHODS = ("full", "lora", "qlora")


@dataclass(frozen=True)
class Checked:
    """A valid spec with the facts that it was judged by, and what deserves a word all the same."""

    spec: Spec
    facts: Facts
    warnings: tuple[Diagnostic, ...]


def validate(document: Document) -> Checked:
    """The spec of the document and its facts. Raises CompileError with every diagnostic."""
    found: list[Diagnostic] = []
    pruned = copy.deepcopy(document.data)
    spec = None
    for _ in range(20):  # each pass removes what the last one refused; a spec has few levels
        try:
            spec = Spec.model_validate(pruned)
            break
        except ValidationError as error:
            details = [(_path(detail), detail) for detail in error.errors(include_url=False)]
            found += [_diagnostic(document, path, detail) for path, detail in details]
            if not all([_remove(pruned, path) for path, _ in details]):
                break
    if spec is None:
        raise CompileError(found)
    facts = gather(spec, document)
    found += facts.problems
    for rule in rules.RULES:
        found += rule(spec, facts, document)
    if any(diagnostic.severity == "error" for diagnostic in found):
        raise CompileError(found)
    return Checked(spec, facts, tuple(found))


def _path(detail: ErrorDetails) -> Path:
    """pydantic's location without the tag of the method, and without the branches of a union."""
    path = detail["loc"]
    if len(path) > 1 and path[0] == "method" and path[1] in METHODS:
        path = (path[0], *path[2:])
    return tuple(p for p in path if isinstance(p, int) or p.isidentifier() or "-" in p and " " not in p)


def _remove(data: Any, path: Path) -> bool:
    """Takes the value at `path` out of the data; False if that can't mend it (a missing key)."""
    while path and not _has(data, path):
        path = path[:-1]
        if path == ():
            return False
    for part in path[:-1]:
        data = data[part]
    del data[path[-1]]
    return True


def _has(data: Any, path: Path) -> bool:
    for part in path:
        if isinstance(data, dict) and part in data or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        ):
            data = data[part]
        else:
            return False
    return True


def dotted(path: Path) -> str:
    """("data", "train", 0, "source") -> "data.train[0].source"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _diagnostic(document: Document, path: Path, detail: ErrorDetails) -> Diagnostic:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(document, path)
    if kind == "missing":
        return _missing(document, path)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return _method_kind(document, path, missing=kind == "union_tag_not_found")
    name, given = dotted(path), detail["input"]
    expected, code = _expectation(detail)
    hints: list[str] = []
    if kind == "literal_error" and isinstance(given, str):
        allowed = _literals(document, path)
        guess = nearest(given, allowed)
        hints = [f'did you mean "{guess}"?'] if guess else []
    elif isinstance(given, str) and code == "wrong-type":
        hints = ["write the value without quotes"] if given.replace(".", "", 1).isdigit() else []
    return at(
        document,
        path,
        code,
        f"`{name}` must be {expected}, not {_show(given)}",
        on="value",
        hints=hints,
    )


def _expectation(detail: ErrorDetails) -> tuple[str, str]:
    """What pydantic expected, in words, and the code."""
    context: dict[str, Any] = detail.get("ctx") or {}
    types = {
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "a text in quotes",
        "list_type": "a list",
        "tuple_type": "a list",
        "model_type": "a table",
        "model_attributes_type": "a table",
        "int_from_float": "a whole number",
        "finite_number": "a finite number",
    }
    limits = {
        "greater_than": "greater than {gt}",
        "greater_than_equal": "{ge} or more",
        "less_than": "less than {lt}",
        "less_than_equal": "{le} or less",
        "too_short": "a list of at least {min_length}",
        "too_long": "a list of at most {max_length}",
        "string_too_short": "a text that is not empty",
        "string_too_long": "a text of at most {max_length} characters",
        "string_pattern_mismatch": "a text of the form {pattern}",
    }
    kind = detail["type"]
    if kind in types:
        return types[kind], "wrong-type"
    if kind == "literal_error":
        return f"one of {context['expected']}".replace("'", '"'), "unknown-value"
    if kind in limits:
        return limits[kind].format(**context), "out-of-range"
    return detail["msg"][0].lower() + detail["msg"][1:], "invalid-value"


def _show(value: Any) -> str:
    """A value as TOML has it, shortened."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown_key(document: Document, path: Path) -> Diagnostic:
    word = str(path[-1])
    where = dotted(path[:-1])
    table = f"[{where}]" if where else "the top level"
    model = _model_at(document, path[:-1])
    known = list(model.model_fields) if model else []
    hints: list[str] = []
    guess = nearest(word, known)
    homes = [home for home, keys in _tables() if word in keys and home != where]
    if guess:
        hints.append(f"did you mean `{guess}`?")
    elif homes:
        hints.append(f"`{word}` belongs in {' or '.join(_table_name(home) for home in homes)}")
    else:
        far = [(k, h) for h, keys in _tables() for k in keys if get_close_matches(word, [k], 1, 0.8)]
        hints += [f"did you mean `{k}` in {_table_name(h)}?" for k, h in far[:1]]
        known_text = ", ".join(known)
        hints += [f"known keys: {known_text}"] if not far and known else []
    if where == "method":
        kind = document.data["method"].get("kind")
        other = [m for m in METHODS if word in _method(m).model_fields]
        if other:
            hints = [f'with kind = "{kind}" there is no `{word}`; it is for {" and ".join(other)}']
    return at(document, path, "unknown-key", f"{table} has no key `{word}`", hints=hints)


def _missing(document: Document, path: Path) -> Diagnostic:
    name, word = dotted(path), str(path[-1])
    model = _model_at(document, path[:-1])
    field = model.model_fields[word] if model and word in model.model_fields else None
    hints = [f"`{word}`: {field.description}"] if field and field.description else []
    return at(document, path, "missing-key", f"`{name}` is required", hints=hints)


def _method_kind(document: Document, path: Path, missing: bool) -> Diagnostic:
    allowed = ", ".join(f'"{method}"' for method in METHODS)
    given = document.data["method"].get("kind")
    if missing:
        return at(document, path, "missing-key", f"`method.kind` is required: one of {allowed}")
    guess = nearest(given, METHODS) if isinstance(given, str) else None
    return at(
        document,
        (*path, "kind"),
        "unknown-value",
        f"`method.kind` must be one of {allowed}, not {_show(given)}",
        on="value",
        hints=[f'did you mean "{guess}"?'] if guess else [],
    )


def _method(kind: str) -> type[BaseModel]:
    return next(
        m for m in _models_in(Spec.model_fields["method"].annotation) if _kind_of(m) == kind
    )


def _kind_of(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return get_args(field.annotation)[0] if field else None


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The table models inside a type: `list[Source]`, `Samples | None`, `Full | Lora | Qlora`."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, Table):
            yield annotation
        return
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _model_at(document: Document, path: Path) -> type[BaseModel] | None:
    """The model of the table at `path`."""
    model: type[BaseModel] = Spec
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        models = list(_models_in(field.annotation)) if field else []
        if part == "method":
            kind = document.data["method"].get("kind")
            models = [m for m in models if _kind_of(m) == kind]
        if not models:
            return None
        model = models[0]
    return model


def _tables(model: type[BaseModel] = Spec, name: str = "") -> Iterator[tuple[str, list[str]]]:
    """Every table of the language with the names of its keys."""
    yield name, list(model.model_fields)
    for key, field in model.model_fields.items():
        for inner in _models_in(field.annotation):
            yield from _tables(inner, f"{name}.{key}" if name else key)


def _table_name(path: str) -> str:
    if not path:
        return "the top level"
    return f"[[{path}]]" if path in ("data.train", "data.validation") else f"[{path}]"


def _literals(document: Document, path: Path) -> list[str]:
    """The texts that the key at `path` allows."""
    model = _model_at(document, path[:-1])
    field = model.model_fields.get(str(path[-1])) if model else None

    def texts(annotation: Any) -> Iterator[str]:
        for argument in get_args(annotation):
            if get_origin(annotation) is Literal:
                yield from [argument] if isinstance(argument, str) else []
            else:
                yield from texts(argument)

    return list(texts(field.annotation)) if field else []
