"""A source that is several files: `data/*.jsonl`, written out when the spec is compiled."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable
from itertools import islice, takewhile
from pathlib import Path

from .unusable import Unusable

MOST = 100_000  # files of one pattern


def is_pattern(name: str) -> bool:
    """Whether `*`, `?` or `[` in it stand for other characters."""
    return glob.has_magic(name)


def expand(name: str, folder: Path) -> list[str]:
    """The files that fit, relative as the pattern is, in the order of their names.

    `**` is any number of folders. Raises Unusable where it leads out of the folder that it begins with, by `..` or
    by a link to another folder, and for too many files. A link to a file is a file.
    """
    parts = Path(name).parts
    fixed = list(takewhile(lambda part: not is_pattern(part), parts))
    if ".." in parts[len(fixed) :]:
        raise Unusable("bad-source", f"{name} has `..` behind a wildcard", "name the folder itself")
    root = Path(folder, *fixed).resolve()
    files: dict[Path, str] = {}  # once each, though links lead to a folder by several ways
    found = glob.iglob(name, root_dir=folder, recursive=True)  # noqa: PTH207 (pathlib has no absolute ones)
    for each in islice(found, MOST + 1):
        path = folder / each
        if not path.is_file():
            continue
        parent = path.parent.resolve()
        if not parent.is_relative_to(root):
            message = f"{name} leads out of {root}, to {parent}, by a link"
            raise Unusable("bad-source", message, "name that folder in a source of its own")
        known = files.setdefault(parent / path.name, each)
        files[parent / path.name] = min(known, each, key=lambda n: (len(Path(n).parts), n))
        if len(files) == MOST:
            raise Unusable(
                "bad-source", f"{name} fits {MOST:,} files or more", "join them to fewer files"
            )
    return sorted(Path(each).as_posix() for each in files.values())


def joined_sha256(files: Iterable[tuple[str, str]]) -> str:
    """One digest for several files, by name (without folders) and content."""
    text = "".join(f"{name}\0{digest}\n" for name, digest in files)
    return hashlib.sha256(text.encode()).hexdigest()
