"""Keys that the language does not have: where a word belongs, or what it is called here."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from .diagnostics import Diagnostic, KeyPath, at, nearest, odd_letter
from .language import (
    METHODS,
    choice,
    dotted,
    header,
    homes,
    is_list,
    is_table_name,
    item_of,
    literals,
    method,
    model_at,
    words,
)
from .load import Document
from .quote import toml
from .tree import is_array, is_table
from .vocabulary import NO_KEY, RENAMED


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
    hints = _ways_out(word, table, path, kind, as_table)
    return at(document, path, "unknown-key", message, why=odd_letter(word), hints=hints)


def _ways_out(word: str, table: str, path: KeyPath, kind: str, as_table: bool) -> list[str]:
    if table == "method":
        others = [other for other in METHODS if word in method(other).model_fields]
        if others:
            needs = choice([f'kind = "{other}"' for other in others])
            return [f'remove it: it has no meaning with kind = "{kind}"', f"or set {needs}"]
    if word in METHODS and not table:
        return [f'write [method], and below it `kind = "{word}"`']
    model = model_at(path[:-1], kind)
    known = list(model.model_fields) if model else []
    near = nearest(word, known)
    if RENAMED.get(word.lower(), "").rpartition(".")[0] == table and table:
        return [_renamed(RENAMED[word.lower()], table)]
    for name, field in model.model_fields.items() if model else ():
        items = item_of(field.annotation) if is_list(field.annotation) else field.annotation
        if word in literals(items):
            value = [word] if is_list(field.annotation) else word
            return [f"it is a value here: `{name} = {toml(value)}`"]
    elsewhere = [home for home in homes(word) if home != table]
    if as_table:
        elsewhere = [home for home in elsewhere if _is_table(home, word)]
    if elsewhere:
        return [_belongs(word, elsewhere)]
    if word.lower() in NO_KEY:
        return [f"remove it; {NO_KEY[word.lower()]}"]
    if word.lower() in RENAMED:
        return [_renamed(RENAMED[word.lower()], table)]
    if near:
        return [f"did you mean {_named(table, near) if as_table else f'`{near}`'}?"]
    close = get_close_matches(word, words(), 1, 0.8)
    if close:
        return [f"did you mean {_named(homes(close[0])[-1], close[0])}?"]
    return [f"{header(table)} has {', '.join(known)}"] if known else []


def _belongs(word: str, elsewhere: list[str]) -> str:
    if _is_table(elsewhere[0], word):
        return f"write {choice([_named(home, word) for home in elsewhere])}"
    if elsewhere == [""]:
        return f"`{word}` belongs at the top level, above the first [table]"
    return f"`{word}` belongs in {choice([header(home) for home in elsewhere])}"


def _named(home: str, key: str) -> str:
    """A key with its table, or a table."""
    if _is_table(home, key):
        return header(f"{home}.{key}" if home else key)
    return f"`{key}` in {header(home)}"


def _renamed(path: str, table: str) -> str:
    home, _, key = path.rpartition(".")
    if _is_table(home, key):
        return f"it is the table {header(path)} here"
    return f"it is called `{key}` here" + ("" if home == table else f", in {header(home)}")


def _is_table(home: str, key: str) -> bool:
    return is_table_name(f"{home}.{key}" if home else key)


def meant(path: KeyPath) -> KeyPath | None:
    """The key that an unknown one probably stands for."""
    word, table = str(path[-1]), ".".join(part for part in path[:-1] if isinstance(part, str))
    if word in METHODS and not table:
        return ("method",)
    model = model_at(path[:-1], "qlora")
    near = nearest(word, model.model_fields) if model else None
    elsewhere = [home for home in homes(word) if home != table]
    renamed = RENAMED.get(word.lower(), "")
    home, _, key = renamed.rpartition(".")
    if len(elsewhere) == 1 and home != table:
        return (*elsewhere[0].split("."), word) if elsewhere[0] else (word,)
    if renamed:
        return (*path[:-1], key) if home == table else tuple(renamed.split("."))
    return (*path[:-1], near) if near else None
