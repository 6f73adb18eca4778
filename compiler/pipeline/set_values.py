"""`--set optim.learning_rate=1e-4`: a spec's text with a value replaced, or added where it belongs.

The run's spec.toml is the changed text, so a run can be compiled again from its own directory.
Problems are told where the user wrote what is wrong: in his file, or on the command line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ..diagnostics.diagnostic import CompileError, Diagnostic, KeyPath
from ..document.load import Document, parse
from ..document.pieces import Piece, between
from ..document.write_toml import toml
from ..plan.names import decided_by
from ..spec.describe import dotted

FORM = re.compile(r"^(?P<path>[A-Za-z0-9_.\[\]-]+?)=(?P<value>.*)$", re.S)


class Setting(NamedTuple):
    """One KEY=VALUE: the path, and the pieces of the text that say it, from the argument at hand."""

    path: KeyPath
    table: Piece
    key: Piece
    value: Piece


def override(document: Document, settings: Sequence[str]) -> Document:
    """The document with each `key=value` applied, in order. A value is TOML, or else a text.

    Raises CompileError for settings that are no `key=value` or that have no place in the spec.
    """
    if not settings:
        return document
    original, text = document.text, document.text.replace("\r\n", "\n")
    arguments = tuple(f"--set {setting}".replace("\n", "\u2424") for setting in settings)
    document = replace(
        document, original=original, pieces=(Piece(text, 0, len(text)),), arguments=arguments
    )
    at, problems = len(text) + 1, list[Diagnostic]()
    for setting, argument in zip(settings, arguments, strict=True):
        try:
            read = _read(setting, at + len("--set "))
            keys = decided_by(dotted(read.path))
            if keys:
                problems.append(_derived(document, argument, read, keys))
            else:
                document = _applied(document, read)
        except ValueError as error:
            problems.append(_problem(document, argument, str(error)))
        at += len(argument) + 1
    if problems:
        raise CompileError(problems)
    return document


def _read(setting: str, at: int) -> Setting:
    """A setting that stands at this offset. Raises ValueError if it is none."""
    match = FORM.match(setting)
    words = list(re.finditer(r"[^.\[\]]+", match["path"])) if match else []
    if match is None or not words:
        raise ValueError("this has not the form KEY=VALUE")
    path = tuple(int(word[0]) if word[0].isdigit() else word[0] for word in words)
    start, end = words[-1].span()
    behind = at + match.start("value")
    return Setting(
        path,
        Piece(dotted(path[:-1]), at, at + max(start - 1, 1)),
        Piece(words[-1][0], at + start, at + end),
        Piece(_value(match["value"]), behind, at + max(len(setting), behind - at + 1)),
    )


def _value(text: str) -> str:
    """The value as TOML: as it stands if it is TOML, else in quotes."""
    try:
        if list(tomllib.loads(f"value = {text}")) == ["value"]:
            return text
    except tomllib.TOMLDecodeError:
        pass
    except RecursionError:
        raise ValueError("its value is nested more deeply than any key needs") from None
    return toml(text)


def _applied(document: Document, setting: Setting) -> Document:
    """The document with the setting in it. Raises ValueError if it has no place there."""
    text = "".join(piece.text for piece in document.pieces)
    start, end, new = _change(document, text, setting)
    pieces = (*between(document.pieces, 0, start), *new, *between(document.pieces, end, len(text)))
    try:
        changed = parse("".join(piece.text for piece in pieces), document.path)
    except CompileError as error:
        path, first = dotted(setting.path), error.diagnostics[0]
        if first.code in ("out-of-range", "too-deep"):
            raise ValueError(f"`{path}`: {first.message}") from None
        raise ValueError(f"`{path}` can't be set beside what the spec has") from None
    return replace(document, text=changed.text, data=changed.data, pieces=pieces)


def _change(document: Document, text: str, setting: Setting) -> tuple[int, int, list[Piece]]:
    """What replaces which part of the text."""
    path, table, key, value = setting
    place = document.place(path)
    if place is not None:
        return *place, [value]
    if document.key(path) is not None:
        raise ValueError(f"`{dotted(path)}` is a table, and its keys are set one by one")
    if isinstance(path[-1], int):
        raise ValueError(f"there is no `{dotted(path)}` (the first is [0])")
    pair = [key, _glue(" = ", key), value]
    line = [*pair, _glue("\n", value)]
    if len(path) == 1:
        return 0, 0, line
    home, inline = document.key_place(path[:-1]), document.place(path[:-1])
    if inline is not None and text.startswith("{", inline[0]):
        first = inline[0] + 1
        empty = text[first : inline[1] - 1].isspace() or first == inline[1] - 1
        return first, first, [*pair, *([] if empty else [_glue(", ", value)])]
    if home is not None and not _implied(text, home):
        begin = text.rfind("\n", 0, home[0]) + 1
        behind = text.find("\n", home[1]) + 1
        if not text[begin:].lstrip().startswith("["):  # it is there as dotted keys
            return begin, begin, [_glue(f"{text[begin : home[1]]}.", key), *line]
        return (
            (behind, behind, line) if behind else (len(text), len(text), [_glue("\n", key), *line])
        )
    if not all(isinstance(part, str) for part in path):
        raise ValueError(f"there is no `{dotted(path[:-1])}` to put it in (the first is [0])")
    header = [_glue("\n\n[", table), table, _glue("]\n", table)]
    return len(text.rstrip()), len(text), [*header, *line]


def _implied(text: str, home: tuple[int, int]) -> bool:
    """Whether a table is there by a header of something in it alone: `data` by [[data.train]]."""
    line = text[text.rfind("\n", 0, home[0]) + 1 :].lstrip()
    return line.startswith("[") and text[home[1] :].lstrip(" \t").startswith(".")


def _glue(text: str, beside: Piece) -> Piece:
    """What TOML needs, and the argument lacks."""
    return Piece(text, beside.start, beside.end)


def _derived(
    document: Document, argument: str, setting: Setting, keys: Sequence[str]
) -> Diagnostic:
    """Of a value that `ftc explain` shows, and that follows from others."""
    message = f"`{dotted(setting.path)}` is a value of the plan, not a key of the spec"
    hint = f"it follows from {' and '.join(f'`{key}`' for key in keys)}: set what is to change of these"
    if len(keys) == 1:
        hint = f"set `{keys[0]}`, which decides it"
    return Diagnostic("bad-set", message, document.path, 0, hints=(hint,), argument=argument)


def _problem(document: Document, argument: str, message: str) -> Diagnostic:
    hint = "name a key and its value, as in --set optim.learning_rate=1e-4"
    return Diagnostic("bad-set", message, document.path, 0, hints=(hint,), argument=argument)
