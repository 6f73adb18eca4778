"""Keys that the language does not have: where a word belongs, or what it is called here."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches
from typing import Any, NamedTuple

from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..diagnostics.guess import nearest, odd_letter
from ..diagnostics.tree import is_array, is_table
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
    homes,
    is_list,
    is_table_name,
    item_of,
    literals,
    method,
    model_at,
    models_in,
    words,
)
from ..spec.keys import Table
from ..spec.other_tools import MEANT_KINDS, NO_KEY, NO_OBJECTIVE, REMARKS, RENAMED, VALUES
from .suggestions import below, fits, hints, right


def explain(document: Document, path: KeyPath, kind: str) -> Diagnostic:
    """An unknown key or table, with the way out where one is known."""
    word = str(path[-1])
    table = dotted(tuple(part for part in path[:-1] if isinstance(part, str)))
    given: Any = document.data
    for part in path:
        given = given[part]
    many = is_array(given)
    as_table = is_table(given[0] if many and given else given)
    message = f"{header(table)} has no key `{word}`"
    if as_table:
        brackets = "[[{}]]" if many else "[{}]"
        message = f"there is no table {brackets.format(f'{table}.{word}' if table else word)}"
    ways = _ways_out(_Unknown(word, given, table, kind, as_table), model_at(path[:-1], kind))
    return at(document, path, "unknown-key", message, why=odd_letter(word), hints=ways)


class _Unknown(NamedTuple):
    """A key with its value, the table that it stands in, and whether it is one itself."""

    word: str
    given: Any
    table: str
    kind: str
    as_table: bool


def _ways_out(key: _Unknown, model: type[Table] | None) -> list[str]:
    word, table = key.word, key.table
    if table == "method":
        others = [other for other in METHODS if word in method(other).model_fields]
        if others:
            needs = choice([f'kind = "{other}"' for other in others])
            return [f'remove it: it has no meaning with kind = "{key.kind}"', f"or set {needs}"]
    if word in METHODS and not table:
        return [f'write [method], and below it `kind = "{word}"`']
    low, known = word.lower(), list(model.model_fields) if model else []
    if low == "stage" and isinstance(key.given, str):
        return list(MEANT_KINDS.get(key.given.lower(), MEANT_KINDS["sft"]))
    near = nearest(word, known)
    if RENAMED.get(low, "").rpartition(".")[0] == table and table:
        return [_renamed(key)]
    for name, field in model.model_fields.items() if model else ():
        items = item_of(field.annotation) if is_list(field.annotation) else field.annotation
        if word in literals(items):
            value = [word] if is_list(field.annotation) else word
            return [f"it is a value here: `{name} = {toml(value)}`"]
    elsewhere = [home for home in homes(word) if home != table]
    if key.as_table:
        elsewhere = [home for home in elsewhere if _is_table(home, word)]
    if elsewhere:
        return [_belongs(key, elsewhere)]
    if low in NO_KEY:
        ways = [
            f"remove it: {NO_KEY[low]}"
            if NO_KEY[low] == NO_OBJECTIVE
            else f"remove it; {NO_KEY[low]}"
        ]
        return [*ways, "the optimizer's are `betas` in [optim]"] if low == "beta" else ways
    if low in RENAMED:
        return [_renamed(key)]
    if near:
        named = _named(table, near) if key.as_table else f"`{near}`"
        return [f"did you mean {named}?", *_takes(key, table, near)]
    close = get_close_matches(word, words(), 1, 0.8)
    if close:
        home = homes(close[0])[-1]
        return [f"did you mean {_named(home, close[0])}?", *_takes(key, home, close[0])]
    return [f"{header(table)} has {', '.join(known)}"] if known else []


def _belongs(key: _Unknown, elsewhere: list[str]) -> str:
    word, home = key.word, elsewhere[0]
    if _is_table(home, word):
        named = f"write {choice([_named(home, word) for home in elsewhere])}"
        return _below(key, home, word) or named
    value = "".join(f": {way}" for way in _takes(key, home, word))
    if elsewhere == [""]:
        return f"`{word}` belongs at the top level, above the first [table]{value}"
    return f"`{word}` belongs in {choice([header(home) for home in elsewhere])}{value}"


def _named(home: str, key: str) -> str:
    """A key with its table, or a table."""
    if _is_table(home, key):
        return header(f"{home}.{key}" if home else key)
    return f"`{key}` in {header(home)}"


def _renamed(key: _Unknown) -> str:
    home, _, name = RENAMED[key.word.lower()].rpartition(".")
    if _is_table(home, name):
        return _below(key, home, name) or f"it is the table {_named(home, name)} here"
    place = "" if home == key.table else f", in {header(home)}"
    return f"it is called `{name}` here{place}" + "".join(
        f": {way}" for way in _takes(key, home, name)
    )


def _below(key: _Unknown, home: str, name: str) -> str:
    """How to write the table that a plain value was meant for; "" for what is a table, or several."""
    field = field_at(_path(home, name), key.kind)
    if field is None or key.as_table or is_array(key.given):
        return ""
    return below(_path(home, name), field, key.given)


def _takes(key: _Unknown, home: str, name: str) -> list[str]:
    """What to write for a key that does not take the value which it was given under another name."""
    field = next((f for k in METHODS if (f := field_at(_path(home, name), k))), None)
    if field is None or key.as_table or any(models_in(field.annotation)):
        return []
    listed: dict[object, object] = VALUES.get(key.word.lower(), {})
    with suppress(TypeError):  # of a list
        if key.given in listed:
            value = listed[key.given]
            return [f"write `{name} = {toml(value)}`" if value is not None else "leave it out"]
    if str(key.given).lower() in ("none", "null"):
        return ["leave it out"]
    if key.word.lower() in REMARKS:
        return [REMARKS[key.word.lower()]]
    if fits(field, key.given):
        return []
    if _path(home, name) == ("method", "kind"):
        return [] if key.given in METHODS else hints(("method", "kind"), field, key.given)
    value = right(field, key.given)
    return [
        f"write `{name} = {toml(value)}`" if value is not None else f"it takes {describe(field)}"
    ]


def _path(home: str, name: str) -> KeyPath:
    return (*home.split("."), name) if home else (name,)


def _is_table(home: str, key: str) -> bool:
    return is_table_name(f"{home}.{key}" if home else key)


def meant(path: KeyPath, kind: str) -> KeyPath | None:
    """The key that an unknown one probably stands for."""
    word, table = str(path[-1]), ".".join(part for part in path[:-1] if isinstance(part, str))
    if word in METHODS and not table:
        return ("method",)
    model = model_at(path[:-1], kind)
    near = nearest(word, model.model_fields) if model else None
    elsewhere = [home for home in homes(word) if home != table]
    renamed = RENAMED.get(word.lower(), "")
    home, _, key = renamed.rpartition(".")
    if len(elsewhere) == 1 and home != table:
        return (*elsewhere[0].split("."), word) if elsewhere[0] else (word,)
    if renamed:
        return (*path[:-1], key) if home == table else tuple(renamed.split("."))
    return (*path[:-1], near) if near else None
