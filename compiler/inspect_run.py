"""`ftc verify`: is a run directory still what was compiled? Its lock is what it is judged by.

Whether the spec and its data would compile to something else now is another question, which
`ftc compile --check` answers: small data files are copied into the run, and their originals may change without any
effect on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .lockfile import run_lock, sha256, tool_version
from .vendor import VENDORED, runtime_sha256

Kind = Literal["edited", "missing", "stale", "data", "runtime"]


@dataclass(frozen=True)
class Finding:
    """`what` is a file of the run, or what else differs; `why` says how, in words."""

    kind: Kind
    what: str
    why: str


def verify_run(folder: Path) -> list[Finding]:
    """Compares a run directory with its lock, its spec and the installed runtime.

    Raises CompileError if it has no lock that can be read, or a pending one.
    """
    lock = run_lock(folder, "name a directory that `ftc compile SPEC -o DIRECTORY` made")
    found: list[Finding] = []
    for name, digest in lock["files"].items():
        path = folder / name
        if not path.is_file():
            found.append(Finding("missing", name, "it was generated and is gone"))
        elif sha256(path.read_bytes()) != digest:
            kind = "data" if name.startswith("data/") else "edited"
            found.append(Finding(kind, name, "it changed since it was generated"))
    for entry in lock["facts"]["data"]:
        if not entry["copied"]:
            found += _data(folder, entry["file"], entry["sha256"])
    vendored = any(name.startswith(VENDORED) for name in lock["files"])
    if not vendored and lock["runtime"]["sha256"] != runtime_sha256():
        versions = f"compiled with {lock['runtime']['version']}, installed is {tool_version()}"
        found.append(Finding("runtime", "ftc.runtime", f"it is another one ({versions})"))
    return found + _spec(folder, lock["spec"]["path"], lock["spec"]["sha256"])


def _data(folder: Path, name: str, digest: str) -> list[Finding]:
    path = folder / name
    if not path.is_file():
        return [Finding("missing", name, "the data file is gone")]
    if sha256(path.read_bytes()) != digest:
        return [Finding("data", name, "it changed since the run was compiled")]
    return []


def _spec(folder: Path, name: str, digest: str) -> list[Finding]:
    """The spec that the run came from, where it still stands beside it."""
    path = folder / name
    if path.is_file() and _text_sha256(path) != digest:
        return [Finding("stale", name, "the spec changed since; compile it again")]
    return []


def _text_sha256(path: Path) -> str:
    """Of the text as `load` takes it, without a byte-order mark."""
    return sha256(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
