"""A changed text as the pieces that it is made of, each with its place in the texts it came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Piece(NamedTuple):
    """A part of a text, and the offsets of what it is in its source, or of what it stands for there."""

    text: str
    start: int
    end: int


def between(pieces: Sequence[Piece], start: int, end: int) -> Iterator[Piece]:
    """The pieces of what is between two offsets of the text."""
    at = 0
    for text, origin, origin_end in pieces:
        low, high = max(start - at, 0), min(end - at, len(text))
        if (low, high) == (0, len(text)):
            yield Piece(text, origin, origin_end)
        elif low < high:
            yield Piece(text[low:high], origin + low, origin + high)
        at += len(text)


def source_of(pieces: Sequence[Piece], start: int, end: int) -> tuple[int, int]:
    """Where the source has what is between two offsets of the text."""
    at = 0
    for text, origin, origin_end in pieces:
        if start < at + len(text):
            if origin_end - origin != len(text):  # not as it stands in its source
                return origin, origin_end
            return origin + start - at, origin + min(end - at, len(text))
        at += len(text)
    return (pieces[-1].end, pieces[-1].end) if pieces else (start, end)
