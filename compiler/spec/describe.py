"""What the spec language has to say about itself: its tables and keys, and their types in words.

All of it is read off the models of `spec.py`; nothing is listed twice.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..diagnostics.diagnostic import KeyPath
from ..diagnostics.tree import is_table
from .keys import FORMS, ResumeClass, Table
from .spec import Spec

CHANGES = {
    "resumable": "A change keeps checkpoints usable.",
    "new run": "A change makes another run: its checkpoints can't be gone on with.",
    "cosmetic": "A change has no effect on what is learnt.",
}

METHODS = ("full", "lora", "qlora")


def dotted(path: KeyPath) -> str:
    """("data", "train", 0, "source") -> "data.train[0].source"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def models_in(annotation: Any) -> Iterator[type[Table]]:
    """The tables inside a type: `list[Source]`, `Samples | None`, `Full | Lora | Qlora`."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, Table):
            yield annotation
        return
    for argument in get_args(annotation):
        yield from models_in(argument)


def kind_of(data: dict[str, Any]) -> str:
    """The kind of method that a document has; where it has none that is known, the one with most keys."""
    table: Any = data.get("method")
    kind = table.get("kind") if is_table(table) else None
    return kind if kind in METHODS else METHODS[-1]


def method(kind: str) -> type[Table]:
    """The table [method] as it is with this kind."""
    return list(models_in(Spec.model_fields["method"].annotation))[METHODS.index(kind)]


def model_at(path: KeyPath, kind: str) -> type[Table] | None:
    """The table at `path`, None if the language has none there; `kind` decides for [method]."""
    model: type[Table] = Spec
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        models = list(models_in(field.annotation)) if field else []
        if not models:
            return None
        model = method(kind) if part == "method" else models[0]
    return model


def field_at(path: KeyPath, kind: str) -> FieldInfo | None:
    """The key at `path`; an item of a list counts as the list's key."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    model = model_at(path[:-1], kind) if path else None
    return model.model_fields.get(str(path[-1])) if model else None


def affects(path: KeyPath) -> str:
    """What a change of the key at `path` is about, as in keys.Affects; "" if there is no such key.

    A table as a whole affects what it says of its keys, or what its first key does.
    """
    while path and isinstance(path[-1], int):
        path = path[:-1]
    for kind in METHODS:  # the first that has the key: a test holds them to one answer
        field, parent = field_at(path, kind), model_at(path[:-1], kind)
        if field is not None and parent is not None:
            own = model_at(path, kind)
            said = extra(field).get("affects") or (own.AFFECTS if own else None) or parent.AFFECTS
            return str(said or "cosmetic")
    return ""


# From the least consequence to the greatest.
CONSEQUENCES: tuple[ResumeClass, ...] = ("cosmetic", "resumable", "new run")


def changes(path: KeyPath) -> ResumeClass | Literal[""]:
    """What a change of the key at `path` means for checkpoints, of all kinds of method that have it the
    greatest consequence; "" if there is no such key."""
    found = {_changes(path, kind) for kind in METHODS}
    for consequence in reversed(CONSEQUENCES):
        if consequence in found:
            return consequence
    return ""


def _changes(path: KeyPath, kind: str) -> ResumeClass | Literal[""]:
    """Of a table that says so itself ([[data.validation]]) no key has a greater consequence."""
    fields = [field_at(path[: end + 1], kind) for end in range(len(path))]
    said = {extra(field).get("changes") for field in fields if field}
    for consequence in CONSEQUENCES:
        if fields[-1] and consequence in said:
            return consequence
    return ""


def is_list(annotation: Any) -> bool:
    """Whether the type, or a member of the union that it is, is a list."""
    return next(_lists(annotation), None) is not None


def is_fixed(annotation: Any) -> bool:
    """Whether a list of the type has a length that is fixed."""
    return any(get_origin(found) is tuple for found in _lists(annotation))


def _lists(annotation: Any) -> Iterator[Any]:
    """The list types among the type and the members of the union that it is."""
    origin = get_origin(annotation)
    if origin in (list, tuple):
        yield annotation
    elif origin in (Annotated, Union, types.UnionType):
        for member in get_args(annotation):
            yield from _lists(member)


def tables(model: type[BaseModel] = Spec, name: str = "") -> Iterator[tuple[str, list[str]]]:
    """Every table of the language by its dotted path ("" is the top level), with its keys.

    [method] comes once for each kind.
    """
    yield name, list(model.model_fields)
    for key, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            yield from tables(inner, f"{name}.{key}" if name else key)


@cache
def _homes() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, keys in tables():
        for key in keys:
            if name not in found.setdefault(key, []):
                found[key].append(name)
    return found


def homes(word: str) -> list[str]:
    """The tables that have a key of this name."""
    return list(_homes().get(word, ()))


def words() -> list[str]:
    """Every key of the language."""
    return list(_homes())


@cache
def is_table_name(path: str) -> bool:
    """Whether the language has a table of this dotted path."""
    return path in {name for name, _ in tables()}


def header(table: str) -> str:
    """How a table is opened: [optim], [[data.train]]."""
    if not table:
        return "the top level"
    fields = [field_at(tuple(table.split(".")), kind) for kind in METHODS]
    many = any(is_list(field.annotation) for field in fields if field)
    return f"[[{table}]]" if many else f"[{table}]"


def item_of(annotation: Any) -> Any:
    """The type of a list's items, where the type, or a member of the union that it is, is a list."""
    return get_args(next(_lists(annotation)))[0]


def literals(annotation: Any) -> list[Any]:
    """The values that a type lists: of Literal["auto"] | bool they are "auto"; none are items of a list."""
    if get_origin(annotation) in (list, tuple):
        return []
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for argument in get_args(annotation) for value in literals(argument)]


def describe(field: FieldInfo, item: bool = False, form: bool = True) -> str:
    """What a key takes, in words; with `item`, what an item of its list is.

    `form`: with what a text must look like, not just that it is one.
    """
    annotation = field.annotation
    if item:
        return choice(_alternatives(item_of(annotation), form))
    forms = _forms(field.metadata) if form else []
    words = choice(forms or list(dict.fromkeys(_alternatives(annotation, form))))
    unit = str(extra(field).get("unit", ""))
    if unit and words == "a whole number":
        words += f" of {unit}"
    return _limited(words, field.metadata)


def choice(words: list[str]) -> str:
    """a, b or c."""
    return ", ".join(words[:-1]) + " or " + words[-1] if len(words) > 1 else words[0]


def extra(field: FieldInfo) -> dict[str, Any]:
    extra: Any = field.json_schema_extra
    return extra if is_table(extra) else {}


def _forms(metadata: Iterable[Any]) -> list[str]:
    return [FORMS[item.pattern] for item in metadata if hasattr(item, "pattern")]


def _alternatives(annotation: Any, form: bool) -> list[str]:
    """Each thing that a type takes, in words; None is not written in a spec."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return [f'"{value}"' if isinstance(value, str) else str(value) for value in arguments]
    if origin is Annotated:
        metadata = [m for info in arguments[1:] for m in getattr(info, "metadata", ())]
        words = (_forms(metadata) if form else []) or _alternatives(arguments[0], form)
        return [_limited(words[0], metadata), *words[1:]]
    if origin is list:
        return [f"a list of {_plural(arguments[0])}"]
    if origin is tuple:
        return [f"a list of {len(arguments)} {_plural(arguments[0])}"]
    if origin in (Union, types.UnionType):
        return [word for argument in arguments for word in _alternatives(argument, form)]
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return ["a table"]
    simple: dict[Any, list[str]] = {
        bool: ["true", "false"],
        int: ["a whole number"],
        float: ["a number"],
        str: ["a text"],
    }
    return simple.get(annotation, [])


def _plural(annotation: Any) -> str:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return choice(_alternatives(annotation, False))
    return {str: "texts", float: "numbers", int: "whole numbers"}.get(annotation, "tables")


KINDS = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt", MinLen: "min_length", MaxLen: "max_length"}


def _limited(words: str, metadata: list[Any]) -> str:
    """The words with the bounds of a number, or the least length of a list."""
    bounds: dict[str, Any] = {}
    for limit in metadata:
        for kind, name in KINDS.items():
            if isinstance(limit, kind):
                bounds[name] = getattr(limit, name)
    if "ge" in bounds and "le" in bounds:
        return f"{words} from {bounds['ge']} to {bounds['le']}"
    if "max_length" in bounds:
        return f"{words}, at most {bounds['max_length']} characters"
    if "min_length" in bounds:
        return f"{words}, with at least one" if words.startswith("a list") else words
    if "ge" in bounds and "lt" in bounds:
        return f"{words}, at least {bounds['ge']} and less than {bounds['lt']}"
    texts = {"ge": "{} or more", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
    limits = [text.format(bounds[name]) for name, text in texts.items() if name in bounds]
    return f"{words}, {' and '.join(limits)}" if limits else words
