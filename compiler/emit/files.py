"""A file of a run directory, before it is on disk."""

from __future__ import annotations

from typing import NamedTuple


class File(NamedTuple):
    content: bytes
    executable: bool = False


Files = dict[str, File]
