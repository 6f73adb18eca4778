"""A source that can't be trained on: what is wrong, and where."""

from __future__ import annotations

from pathlib import Path

Place = tuple[int, int, str]  # line and column, from 1, and the text of the line


class Unusable(Exception):
    """What is wrong with a source.

    `place` is in `file` (None: the source's own); without one, it is the spec's `key`.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *hints: str,
        key: str = "source",
        place: Place | None = None,
        file: Path | None = None,
    ) -> None:
        self.code, self.message, self.hints = code, message, hints
        self.key, self.place, self.file = key, place, file
