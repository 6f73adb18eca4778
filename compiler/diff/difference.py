"""The difference of two compiled specs, which can be printed."""

from __future__ import annotations

from .changes import Changes, changes_between
from .show import show
from .sides import Side


class Difference(Changes):
    """What changes, and as `str()` what `ftc diff` prints."""

    def __str__(self) -> str:
        return self.text()

    def text(self, *, files: bool = False) -> str:
        """What `ftc diff` prints; `files` adds a unified diff of every file."""
        return show(self, files=files)


def diff(before: Side, after: Side) -> Difference:
    """Compares two specs key by key, their plans value by value, their files byte by byte."""
    return Difference(**vars(changes_between(before, after)))
