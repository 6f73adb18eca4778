"""A place in a text as a terminal shows it: the line with carets, its columns, what it must not obey."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import combining, east_asian_width

from .secrets import mask

if TYPE_CHECKING:
    pass


WIDTH = 100  # characters of a source line that are shown
LONGEST = 400  # characters of a message


def shorten(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 100]} ... {text[-80:]}"


def snippet(line: int, column: int, end_column: int, source: str) -> list[str]:
    """The source line with carets under columns [column, end_column).

    Of a long line the part around the carets is shown. Each character that a terminal would not
    print is replaced by one that it does, so that the carets stand in the right place.
    """
    start = max(0, min(column - 1 - WIDTH // 2, len(source) - WIDTH))
    head, tail = "..." if start else "", "..." if len(source) > start + WIDTH else ""
    around = max(0, start - LONGEST)  # a secret counts as one, though only its end be shown
    window = mask(source[around : start + WIDTH + LONGEST])[start - around :][:WIDTH]
    shown = "".join(c if c.isprintable() else " " if c in "\t\xa0" else "\ufffd" for c in window)
    before, marked = shown[: column - 1 - start], shown[column - 1 - start : end_column - 1 - start]
    number = str(line or "")
    gutter = " " * len(number)
    return [
        f"  {number} | {head}{shown}{tail}".rstrip(),
        f"  {gutter} | {' ' * cells(head + before)}{'^' * max(1, cells(marked))}",
    ]


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def visible(text: str) -> str:
    """The text with characters that a terminal would obey, or not show, as TOML escapes."""
    escapes = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return "".join(
        c
        if c.isprintable()
        else escapes.get(c, f"\\u{ord(c):04X}" if ord(c) < 65536 else f"\\U{ord(c):08X}")
        for c in text
    )
