"""Rows of JSON files, each with its place; what is wrong with a file is told as a person would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..diagnostics.tree import is_array, is_table
from .unusable import Place, Unusable

Row = tuple[dict[str, Any], Place]


def json_lines(content: bytes) -> Iterator[Row]:
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw.strip():
            continue
        line = decoded(raw, number)
        hints = ["each line holds one row, as a JSON object"]
        if line.lstrip().startswith("["):
            message = "this begins a list, and a .jsonl file has one row on each line"
            hint = "name the file .json, if it is one list of rows"
            raise Unusable("bad-data", message, hint, place=(number, 1, line))
        yield _object(line, line, number, hints), (number, 1, line)


def json_list(content: bytes) -> Iterator[Row]:
    lines = content.split(b"\n")
    text = "\n".join(decoded(line, number) for number, line in enumerate(lines, 1))
    hints = ["a .json file holds one list of rows: [{...}, {...}]"]
    if text.lstrip().startswith("{"):
        hints.append("a file with a row on each line is called .jsonl")
    found = _json(text, 1, hints)
    line = text.split("\n", 1)[0]
    if not is_array(found):
        raise Unusable("bad-data", "this is no list of rows", *hints, place=(1, 1, line))
    for number, row in enumerate(found, 1):
        if not is_table(row):
            message = f"row {number} of the list is not a JSON object"
            raise Unusable("bad-data", message, *hints, place=(1, 1, line))
        yield row, (1, 1, line)


def decoded(raw: bytes, number: int) -> str:
    """A line of a file as text; `number` is its own. Raises Unusable if it is not UTF-8."""
    try:
        return raw.rstrip(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = raw.decode("utf-8", "replace")
        column = len(raw[: error.start].decode("utf-8", "replace")) + 1
        message = f"byte 0x{raw[error.start]:02X} is not UTF-8"
        hint = "save the file as UTF-8"
        raise Unusable("bad-data", message, hint, place=(number, column, line)) from None


def _object(text: str, line: str, number: int, hints: list[str]) -> dict[str, Any]:
    found = _json(text, number, hints)
    if not is_table(found):
        raise Unusable("bad-data", "this row is not a JSON object", *hints, place=(number, 1, line))
    return found


# What json says -> what it means.
SAID = {
    "Expecting value": "a value is missing here",
    "Expecting ',' delimiter": "a `,` or a closing bracket is missing here",
    "Expecting ':' delimiter": "a `:` is missing here",
    "Expecting property name enclosed in double quotes": "a key in double quotes is missing here",
    "Extra data": "the row is complete, and then comes more",
    "Unterminated string starting at": "this string is never closed",
    "Invalid control character at": "a control character must be escaped: \\n, \\t, ...",
    "Illegal trailing comma before end of object": "a `,` must not stand before `}`",
    "Illegal trailing comma before end of array": "a `,` must not stand before `]`",
}


def _json(text: str, number: int, hints: list[str]) -> Any:
    """The text as JSON; `number` is the file's line that it starts on. Raises Unusable."""
    line, column, said = number, 1, "it is nested too deeply"
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line, column = number + error.lineno - 1, error.colno
        said = SAID.get(error.msg, error.msg[0].lower() + error.msg[1:])
    except ValueError:  # the limit of Python's int()
        said = "a number in it has too many digits"
    except RecursionError:
        pass
    shown = text.split("\n")[line - number]
    raise Unusable("bad-data", f"not JSON: {said}", *hints, place=(line, column, shown))
