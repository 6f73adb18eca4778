"""What the name of a source says: a file, a data set of the Hub, or neither, and what is meant then."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from ..catalog.hubs import DATA_SUFFIXES, MODELSCOPE, OTHER_SUFFIXES, TEXT, is_file
from ..diagnostics.guess import nearest
from .unusable import Unusable


def exists(path: Path) -> bool:
    """Whether there is anything by that name."""
    with suppress(OSError, ValueError):  # a name that is too long, or holds a NUL
        return path.exists()
    return False


def is_link(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.is_symlink()
    return False


def no_source(name: str, file: Path) -> Unusable:
    """A name that is neither a file's nor a data set's, with what may be meant."""
    kinds = ", ".join((*TEXT, ".parquet", ".arrow")) + "; text also as .gz and .zst"
    message = f'"{name}" is neither a data file ({kinds}) nor a Hub id (`org/name`)'
    if exists(file) and file.is_dir():
        kinds_there = sorted({p.suffix for p in file.iterdir() if p.name.endswith(DATA_SUFFIXES)})
        patterns = " or ".join(f'"{Path(name, "*" + kind).as_posix()}"' for kind in kinds_there)
        hint = f"name its files: {patterns}" if patterns else "it has no data files"
        return Unusable("bad-source", f'"{name}" is a folder, not a data file', hint)
    if "://" in name:
        return _address(name)
    if name.endswith(".txt"):
        hint = 'make a row of each text, in a .jsonl file: {"text": "..."}'
        message = f'"{name}" is a text, and where a row ends in it nobody can tell'
        return Unusable("bad-source", message, hint)
    if name.endswith(OTHER_SUFFIXES):
        hint = f"ftc reads {kinds}: convert it, for example to JSON Lines"
        return Unusable("bad-source", f'"{name}" is of a kind that ftc does not read', hint)
    hint = "the Hub names a data set with its owner, such as `stanfordnlp/imdb`"
    if name.startswith(MODELSCOPE):
        message = f'"{name}" names no data set of ModelScope (`modelscope:org/name`)'
        hint = "name it with its owner, such as `modelscope:damo/MSAgent-Bench`"
    near = nearest(file.name.lower(), _beside(file))
    hints = [f'did you mean "{Path(name).with_name(near).as_posix()}"?'] if near else []
    return Unusable("bad-source", message, *hints, hint)


def _address(name: str) -> Unusable:
    message = f'"{name}" is an address, and a source is a file here or a data set of the Hub'
    hint = "download it, and name the file"
    if found := re.match(r"https?://huggingface\.co/datasets/([^/]+/[^/?#]+)", name):
        hint = f'write "{found[1]}"'
    pattern = r"https?://(?:www\.)?modelscope\.(?:cn|ai)/datasets/([^/]+/[^/?#]+)"
    if found := re.match(pattern, name):
        hint = f'write "{MODELSCOPE}{found[1]}"'
    return Unusable("bad-source", message, hint)


def _beside(file: Path) -> list[str]:
    """The data files in the folder where a file is looked for."""
    with suppress(OSError, ValueError):
        return [p.name for p in file.parent.glob("*") if is_file(p.name) and p.is_file()]
    return []


def missing(name: str, file: Path) -> Unusable:
    """A file that is not there, with the one that may be meant."""
    relative = "paths are relative to the spec's folder"
    if "://" in name:
        return _address(name)
    if name.startswith(("~", "$")):
        relative += f"; `{Path(name).parts[0]}` is not replaced in a spec"
    if exists(file):
        return Unusable("missing-file", f"{name} is there, and is no regular file", relative)
    if is_link(file):
        message = f"{name} is a link to {file.readlink()}, which is not there"
        return Unusable("missing-file", message, "restore that file, or name another")
    if not exists(file.parent):
        message = f"there is no folder {Path(name).parent.as_posix()}, so no file {name}"
        return Unusable("missing-file", message, relative)
    beside = _beside(file)
    near = nearest(file.name, beside)
    hints = [f'did you mean "{Path(name).with_name(near).as_posix()}"?'] if near else []
    if not near and beside:
        hints = [f"beside it there is {', '.join(sorted(beside)[:5])}"]
    hints.append(relative)
    return Unusable("missing-file", f"there is no file {name}", *hints)
