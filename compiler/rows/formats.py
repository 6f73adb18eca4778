"""Row formats, as far as the compiler knows them: columns, examples, which of them a file is in.

The functions that read rows are the runtime's, and `formats.json` stands beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from ...runtime.formats.conversations import listed
from ..catalog.presets import resource
from ..diagnostics.guess import nearest
from .unusable import Unusable

Row = dict[str, Any]
AUTO = "auto"


class Format(NamedTuple):
    """A named format.

    `columns` it needs, `optional` ones it reads, too; `elsewhere`: what others call it; `by_name`:
    why `auto` never chooses it, "" if it does; `roles`: who may speak, if it holds messages.
    """

    help: str
    columns: Sequence[str]
    example: Row
    optional: Sequence[str] = ()
    elsewhere: Sequence[str] = ()
    by_name: str = ""
    roles: Sequence[str] = ()

    @property
    def example_row(self) -> str:
        return json.dumps(self.example, ensure_ascii=False)


def _read() -> dict[str, Format]:
    text = (resource("runtime") / "formats" / "formats.json").read_text("utf-8")
    rows: dict[str, dict[str, Any]] = json.loads(text)
    return {
        name: Format(**{key: value for key, value in row.items() if key != "in"})
        for name, row in rows.items()
    }


FORMATS = _read()
ELSEWHERE = {word: name for name, format in FORMATS.items() for word in format.elsewhere}


def fitting(columns: Collection[str]) -> list[str]:
    """The formats that these columns may be in.

    One whose columns are a part of another's is left out: of {system_prompt, question, response},
    stack_exchange would ignore what openorca reads.
    """
    have = set(columns)
    reads = {
        name: have.intersection([*format.columns, *format.optional])
        for name, format in FORMATS.items()
        if have.issuperset(format.columns)
    }
    return [name for name, own in reads.items() if not any(own < other for other in reads.values())]


# Of formats that share columns: whether a row is in this one.
TELLS: dict[str, Callable[[Row], bool]] = {
    "oasst1": lambda row: str(row["text"]).lstrip().startswith("### Human:"),
    "pretrain": lambda row: not str(row["text"]).lstrip().startswith("### Human:"),
    "msagent": lambda row: _is_msagent(row["conversations"]),
    "sharegpt": lambda row: not _is_msagent(row["conversations"]),
    "sql": lambda row: "create table" in str(row["context"]).lower(),
    "colors": lambda row: str(row["color"]).startswith("#"),
}


def _is_msagent(conversations: Any) -> bool:
    return isinstance(conversations, str) or "<|startofthink|>" in str(conversations)


def told(columns: Collection[str], rows: Sequence[Row]) -> list[str]:
    """The formats that rows with these columns may be in: one, if it can be told.

    `rows`: the first few, none if they are not at hand; one that lacks a format's columns tells nothing of it.
    """
    chosen = [name for name in fitting(columns) if not FORMATS[name].by_name]
    needs = {name: {*FORMATS[name].columns} for name in chosen}
    tells = {name: TELLS.get(name, bool) for name in chosen}
    return [n for n in chosen if all(tells[n](row) for row in rows if row.keys() >= needs[n])]


def choose(name: str, source: str, columns: Sequence[str], rows: Sequence[Row]) -> str:
    """The format of a file with these columns: `name`, or what it is told by if that is auto.

    Raises Unusable if there is no such format, or it can't be told.
    """
    if name in FORMATS:
        return name
    found = told(columns, rows)
    if name != AUTO:
        raise unknown(name, source, found)
    if len(found) == 1:
        return found[0]
    have = ", ".join(f"`{column}`" for column in columns[:10]) or "none"
    fits = found or fitting(columns)
    hints = [f'set format = "{fit}": {FORMATS[fit].by_name or FORMATS[fit].help}' for fit in fits]
    hints = hints or renames(rows) or [f"rename its columns for a format: {LISTED}"]
    message = (
        f"the columns of {source} do not tell its format: {have}"
        if fits
        else f"no format has the columns of {source}: {have}"
    )
    raise Unusable("no-format", message, *hints, OWN, key="format")


def renames(rows: Sequence[Row]) -> list[str]:
    """A hint for rows whose chat messages stand in a column that no format calls them by."""
    columns = [] if not rows or "messages" in rows[0] else [*rows[0]]
    found = [column for column in columns if _are_messages(rows[0][column])]
    return [
        f"`{column}` holds chat messages: call the column `messages`, as that format does"
        for column in found[:1]
    ]


def _are_messages(value: Any) -> bool:
    try:
        return bool(listed(value, ""))
    except ValueError:
        return False


LISTED = "`ftc data formats` lists them"
OWN = 'or write a function for it: format = "my_formats.py:FUNCTION"'


def unknown(name: str, source: str = "", fits: Sequence[str] = ()) -> Unusable:
    """No format is called `name`. `fits`: those that the source may be in."""
    file, colon, function = name.rpartition(":")
    meant = ELSEWHERE.get(name.lower()) or nearest(name.lower(), [*FORMATS, AUTO])
    if name.lower() in ELSEWHERE:
        hints = [f'ftc calls it "{meant}"']
    elif meant:
        hints = [f'did you mean "{meant}"?']
    elif colon:
        hints = [
            f'a function of your own is named with its file: "{file or "my_formats"}.py:{function}"'
        ]
    elif name.endswith(".py"):
        hints = [f'name the function in it, too: "{name}:FUNCTION"']
    else:
        hints = [] if fits else [f"name a format: {LISTED}"]
    hints += [f'set format = "{f}", which fits the columns of {source}' for f in fits if f != meant]
    return Unusable("unknown-format", f'no format is called "{name}"', *hints, key="format")


def of_hub(name: str, source: str) -> str:
    """The format of a data set of a hub, whose columns nobody knows here. Raises Unusable."""
    return of_unread(name, source, "what a hub has is read when the run starts")


def of_unread(name: str, source: str, why: str) -> str:
    """The format of a source whose columns nobody knows here, and why not. Raises Unusable."""
    if name in FORMATS:
        return name
    if name != AUTO:
        raise unknown(name)
    message = f"the format of {source} can't be told: {why}"
    hint = f"name the format: {LISTED}"
    raise Unusable("no-format", message, hint, OWN, key="format")
