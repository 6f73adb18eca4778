"""Row formats: each a pure function from a row of a data set to its content.

A function raises ValueError with a sentence about the row if it can't be read, and Dropped if the row
is left out on purpose; it never changes the row. `formats.json` has each format's file (`in`), its columns,
and an example row; the compiler reads it, too.

Other tools append consecutive messages of one side without anything between them, and fail on or
train on flags that Arrow filled with None. Here a newline stands between, and None is the default.
"""

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..rows import Content, Conversation, Dropped, Preference, Row
from ..rows.files import Raw
from ..rows.json_text import check_characters, parse_line, strange_json
from .custom import custom

Format = Callable[[Row], Content]
TABLE = json.loads(Path(__file__).with_name("formats.json").read_text("utf-8"))
FORMATS: dict[str, Format] = {
    name: getattr(import_module(f".{row['in']}", __name__), name) for name, row in TABLE.items()
}


def function(name: str) -> Format:
    """The format called `name`: one of FORMATS, or `FILE.py:FUNCTION`.

    Raises RunError if the file can't be run, or has no such function.
    """
    return FORMATS[name] if name in FORMATS else custom(name)


def parse(raw: Raw, place: str) -> Row:
    """A row that was read. Raises RunError, naming the place, if it is not JSON, or not an object."""
    row = parse_line(raw, place) if isinstance(raw, bytes) else raw
    if not isinstance(row, dict):
        raise RunError(
            "bad-row",
            "this row is not a JSON object",
            'a row is an object with a key for each column: {"text": "..."}',
            where=place,
        )
    return row


def convert(format: Format, name: str, place: str, raw: Raw) -> Content | Dropped:
    """What the format called `name` makes of a row. Raises RunError, naming the place, if it can't."""
    try:
        content = format(parse(raw, place))
        if not isinstance(raw, bytes) or b"\\u" in raw:  # how else would half a character get in?
            for text in texts(content):
                check_characters(text, place)
        return content
    except Dropped as dropped:
        return dropped
    except RecursionError as error:
        raise strange_json(place, error) from None
    except ValueError as error:
        raise RunError(
            "bad-row", f"not a row of the format {name}: {error}", *_example(name), where=place
        ) from None


def texts(content: Any) -> Iterator[str]:
    """Each text in a row's content, and in what it holds: messages, thoughts, calls, tools and their keys."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from (*texts(key), *texts(value))
    elif isinstance(content, list):
        for item in content:
            yield from texts(item)
    elif isinstance(content, Conversation | Preference):
        yield from texts(vars(content))


def _example(name: str) -> list[str]:
    if name not in FORMATS:
        return []
    example = json.dumps(TABLE[name]["example"], ensure_ascii=False)
    return [f"a row of the format {name} is {example}"]
