"""Keys that the language does not have: where the user's word belongs, or what it is called here."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from .diagnostics import Diagnostic, KeyPath, at, nearest
from .language import METHODS, choice, dotted, header, homes, is_list, method, model_at, tables
from .load import Document
from .vocabulary import NO_KEY, RENAMED


def explain(document: Document, path: KeyPath, kind: str) -> Diagnostic:
    """An unknown key or table, with the way out where one is known."""
    word = str(path[-1])
    table = dotted(tuple(part for part in path[:-1] if isinstance(part, str)))
    given: Any = document.data
    for part in path:
        given = given[part]
    is_table = isinstance(given, dict) or (
        isinstance(given, list) and bool(given) and isinstance(given[0], dict)
    )
    message = f"{header(table)} has no key `{word}`"
    if is_table:
        brackets = "[[{}]]" if isinstance(given, list) else "[{}]"
        message = f"there is no table {brackets.format(f'{table}.{word}' if table else word)}"
    hints = _ways_out(word, table, path, kind, is_table)
    return at(document, path, "unknown-key", message, hints=hints)


def _ways_out(word: str, table: str, path: KeyPath, kind: str, is_table: bool) -> list[str]:
    if table == "method":
        others = [other for other in METHODS if word in method(other).model_fields]
        if others:
            needs = choice([f'kind = "{other}"' for other in others])
            return [f"remove it: it has no meaning with kind = \"{kind}\"", f"or set {needs}"]
    if word in METHODS and not table:
        return [f'write [method], and below it `kind = "{word}"`']
    model = model_at(path[:-1], kind)
    known = list(model.model_fields) if model else []
    near = nearest(word, known)
    elsewhere = [home for home in homes(word) if home != table]
    if elsewhere:
        return [_belongs(word, elsewhere)]
    if near:
        return [f"did you mean {_named(table, near) if is_table else f'`{near}`'}?"]
    if word.lower() in NO_KEY:
        return [f"remove it: {NO_KEY[word.lower()]}"]
    if word.lower() in RENAMED:
        return [_renamed(RENAMED[word.lower()], table)]
    far = {key: home for home, keys in tables() for key in keys}
    close = get_close_matches(word, far, 1, 0.8)
    if close:
        return [f"did you mean {_named(far[close[0]], close[0])}?"]
    return [f"it has {', '.join(known)}"] if known else []


def _belongs(word: str, elsewhere: list[str]) -> str:
    if word in {name.rpartition(".")[2] for name, _ in tables()}:
        return f"write {choice([_named(home, word) for home in elsewhere])}"
    places = choice([header(home) for home in elsewhere])
    above = ", above the first [table]" if elsewhere == [""] else ""
    return f"`{word}` belongs in {places}{above}"


def _named(home: str, key: str) -> str:
    """A key with its table, or a table."""
    path = f"{home}.{key}" if home else key
    if path in {name for name, _ in tables()}:
        return header(path)
    return f"`{key}` in {header(home)}"


def _renamed(path: str, table: str) -> str:
    home, _, key = path.rpartition(".")
    if path in {name for name, _ in tables()}:
        return f"it is the table {header(path)} here"
    return f"it is called `{key}` here" + ("" if home == table else f", in {header(home)}")
