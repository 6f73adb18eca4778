"""`ftc verify`: is a run directory still what was compiled? Its lock is what it is judged by.

Whether the spec and its data would compile to something else now is another question, which
`ftc compile --check` answers: small data files are copied into the run, and their originals may change without any
effect on it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...runtime.process.digests import by_size, digests, other_parts, weight_files, whole_sha256
from ..diagnostics.tree import is_table
from ..emit.vendor import VENDORED
from ..version import VERSION
from .lock import run_lock, runtime_sha256, sha256

Kind = Literal["edited", "missing", "stale", "data", "base", "runtime"]


@dataclass(frozen=True)
class Finding:
    """`what` is a file of the run, or what else differs; `why` says how, in words."""

    kind: Kind
    what: str
    why: str


def verify_run(folder: Path, deep: bool = False) -> list[Finding]:
    """Compares a run directory with its lock, its spec, its base and the runtime.

    `deep`: every byte of a local base's weights, too, with what the newest
    checkpoint has recorded. Raises CompileError if it has no lock that can be read, or a pending one.
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
    found += _base(folder, lock["facts"]["model"])
    if deep:
        found += _every_byte(folder, lock["facts"]["model"])
    vendored = any(name.startswith(VENDORED) for name in lock["files"])
    if not vendored and lock["runtime"]["sha256"] != runtime_sha256():
        versions = f"compiled with {lock['runtime']['version']}, installed is {VERSION}"
        found.append(Finding("runtime", "ftc.runtime", f"it is another one ({versions})"))
    return found + _spec(folder, lock["spec"]["path"], lock["spec"]["sha256"])


def _data(folder: Path, name: str, digest: str) -> list[Finding]:
    path = folder / name
    if not path.is_file():
        return [Finding("missing", name, "the data file is gone")]
    if sha256(path.read_bytes()) != digest:
        return [Finding("data", name, "it changed since the run was compiled")]
    return []


def _base(folder: Path, model: dict[str, Any]) -> list[Finding]:
    """A local base: its config, tokenizer and code, and samples of its weights."""
    name = model.get("folder")
    if not name:
        return []
    try:
        whole = by_size(folder / name)
        now = digests(folder / name) if whole else {}
    except OSError as error:
        return [Finding("base", name, f"it can't be read: {error.strerror}")]
    if not whole:
        return [Finding("missing", name, "the base model is gone")]
    why = "it changed since the run was compiled"
    if "digests" not in model:
        return [Finding("base", name, why)] if whole != model.get("sha256") else []
    return [Finding("base", f"{name} ({part})", why) for part in other_parts(model["digests"], now)]


def _every_byte(folder: Path, model: dict[str, Any]) -> list[Finding]:
    """The weights of a local base, compared with those that the newest checkpoint was trained on."""
    name = model.get("folder")
    if not name:
        return []  # a commit of the Hub, or a package with its own digest
    recorded = recorded_base(folder)
    if recorded is None:
        why = (
            "no checkpoint has recorded all its bytes yet, so there is nothing to compare them with"
        )
        return [Finding("base", name, why)]
    checkpoint, then = recorded
    try:
        now = {path.name: whole_sha256(path) for path in weight_files(folder / name)}
    except OSError as error:
        return [Finding("base", name, f"it can't be read: {error.strerror}")]
    why = f"it is not what {checkpoint.relative_to(folder)} was trained on"
    names = sorted(file for file in then.keys() | now.keys() if then.get(file) != now.get(file))
    return [Finding("base", f"{name}/{file}", why) for file in names]


def recorded_base(folder: Path) -> tuple[Path, dict[str, str]] | None:
    """The newest checkpoint that has recorded the digests of the base's weight files, and they."""
    steps = [path for path in folder.glob("checkpoints/step-*") if path.name[5:].isdigit()]
    for checkpoint in sorted(steps, key=lambda path: int(path.name[5:]), reverse=True):
        with suppress(OSError, ValueError, RecursionError):
            found: Any = json.loads((checkpoint / "base.json").read_text("utf-8"))
            if is_table(found) and found:
                return checkpoint, {name: str(digest) for name, digest in found.items()}
    return None


def _spec(folder: Path, name: str, digest: str) -> list[Finding]:
    """The spec that the run came from, where it still stands beside it."""
    path = folder / name
    if path.is_file() and _text_sha256(path) != digest:
        return [Finding("stale", name, "the spec changed since; compile it again")]
    return []


def _text_sha256(path: Path) -> str:
    """Of the text as `load` takes it, without a byte-order mark."""
    return sha256(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
