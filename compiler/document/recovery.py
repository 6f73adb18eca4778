"""Every syntax error that can be told apart from the one before it.

tomllib stops at the first. Where the statement that it refused ends for certain, the statement is left out
and the rest is read again; where that is anybody's guess (a text of several lines that is never closed), the
errors behind it wait.
"""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple

from .syntax_errors import Fault, diagnose

MOST = 20
STATEMENT = re.compile(r"\s*(?:\[\[?\s*[\w.\"' -]+\]|[\w.\"'-]+\s*=)")
CLOSED = re.compile(r"\s*\]\s*,?\s*(?:#.*)?$")
STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|#.*")
YAML_ITEM = re.compile(r"(\s*)(- )?\S")
YAML = re.compile(r"\s*(?:- .*|[\w.-]+:(?:\s.*)?)$")


class Found(NamedTuple):
    """A fault in the text, and the text as it would be if its hint were followed, without the other faults;
    None where the hint names no text, or the statement has several lines."""

    fault: Fault
    mended: str | None


def faults(text: str, error: ValueError | RecursionError) -> list[Found]:
    """What is wrong with the text, which `error` of tomllib's came from: at least one thing."""
    lines, starts = text.split("\n"), _starts(text)
    found: list[tuple[Fault, int]] = []
    refused: ValueError | RecursionError | None = error
    while refused and len(found) < MOST:
        fault = diagnose("\n".join(lines), refused)
        line, column = _place("\n".join(lines), fault.start)
        found.append((_moved(fault, starts[line] + column - fault.start), line))
        if not _leave_out(lines, fault, line, len(found)):
            del lines[line:]  # what is behind it can't be judged
            break
        refused = _refusal("\n".join(lines))
    if _is_yaml(text):
        found = found[:1]
    return [Found(fault, _mended(text, lines, fault, line)) for fault, line in found]


def _refusal(text: str) -> ValueError | RecursionError | None:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return error
    return None


def _starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]


def _place(text: str, offset: int) -> tuple[int, int]:
    """The line, from 0, and the column there."""
    return text.count("\n", 0, offset), offset - text.rfind("\n", 0, offset) - 1


def _moved(fault: Fault, by: int) -> Fault:
    edit = fault.edit and (fault.edit[0] + by, fault.edit[1] + by, fault.edit[2])
    return fault._replace(start=fault.start + by, end=fault.end + by, edit=edit)


def _leave_out(lines: list[str], fault: Fault, line: int, number: int) -> bool:
    """Blanks the statement that the fault is in; whether its end is known."""
    if fault.statement is None:
        return False
    first, _ = _place("\n".join(lines), fault.statement)
    header = lines[first].lstrip().startswith("[")
    end = first + 1 if header else _end(lines, first, line)
    if end is None:
        return False
    # Keys below a header that can't be read stand in a table of their own, so that none seems set twice.
    item = None  # YAML's items are told with their key
    while end < len(lines) and (found := YAML_ITEM.match(lines[end])):
        item = len(found[1]) if found[2] else item
        if item is None or (not found[2] and len(found[1]) <= item):
            break
        end += 1
    stand_in = f"[__{number}]" if header else ""
    if fault.edit and fault.edit[0] <= fault.statement and fault.edit[2].startswith("["):
        stand_in = stand_in if fault.edit[2] in map(str.strip, lines) else fault.edit[2]
    lines[first:end] = [stand_in, *[""] * (end - first - 1)]
    return True


def _end(lines: list[str], first: int, line: int) -> int | None:
    """The line behind the statement that begins in `first`, of which `line` is refused."""
    if any(quote * 3 in text for text in lines[first : line + 1] for quote in "\"'"):
        return None
    code = STRING.sub("", lines[first])
    if code.count("{") > code.count("}"):
        return None
    if code.count("[") <= code.count("]") or "=" not in code:
        return first + 1 if line == first else None
    for number in range(first + 1, len(lines)):
        if CLOSED.match(lines[number]):
            return number + 1
        if STATEMENT.match(lines[number]):
            return number
    return None


def _is_yaml(text: str) -> bool:
    """Whether a whole file is YAML, of which every line would be refused for the same reason."""
    lines = [
        line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")
    ]
    return len(lines) > 3 and sum(bool(YAML.match(line)) for line in lines) > len(lines) / 2


def _mended(text: str, lines: list[str], fault: Fault, line: int) -> str | None:
    if fault.edit is None or "\n" in text[fault.edit[0] : fault.edit[1]]:
        return None
    start, end, instead = fault.edit
    begin = text.rfind("\n", 0, start) + 1
    whole = text[begin:start] + instead + text[end:].partition("\n")[0]
    mended = "\n".join([*lines[:line], whole, *lines[line + 1 :]])
    return None if _refusal(mended) else mended
