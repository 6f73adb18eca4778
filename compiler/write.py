"""Files -> directory, with ftc.lock; whole or not at all, and never over somebody's edits."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from .diagnostics import CompileError, Diagnostic
from .lockfile import LOCK, read_lock, sha256
from .render import Files

PENDING = "ftc.lock.new"  # the next lock, while the files that it is about are replaced


def _digests(folder: Path) -> dict[str, set[str]]:
    """The generated files of a run directory with the digests that they may have.

    Two where a compilation was stopped halfway: its lock is still pending, beside the last one.
    """
    digests: dict[str, set[str]] = {}
    for lock_name in (LOCK, PENDING):
        found = read_lock(folder, lock_name)
        files: dict[str, Any] = found["files"] if found else {}
        for name, digest in files.items():
            if not Path(name).is_absolute() and ".." not in Path(name).parts:
                digests.setdefault(name, set()).add(str(digest))
    return digests


def edited(folder: Path) -> list[str]:
    """Generated files that were edited since they were generated, by the directory's lock."""
    return sorted(
        name
        for name, digests in _digests(folder).items()
        if (folder / name).is_file() and sha256((folder / name).read_bytes()) not in digests
    )


def write(files: Files, folder: Path, *, force: bool = False) -> list[str]:
    """Writes the files; returns the names of those that are new or changed.

    A new directory is built beside its place and renamed, so that it is there whole or not at all.
    An existing run directory keeps what running it produced: each generated file is replaced by a
    rename, the lock last. Raises CompileError if a file was edited (unless `force`), if `folder` is
    something else, or can't be written.
    """
    try:
        _refuse(files, folder, force)
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            return _write(files, staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        message = f"can't be written ({error.strerror}{where})"
        hint = "choose another directory with -o, or make this one writable"
        raise CompileError([_problem("bad-output", message, folder, hint)]) from None


def _write(files: Files, staging: Path, folder: Path) -> list[str]:
    for name, file in files.items():
        path = staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(0o755 if file.executable else 0o644)
    staging.chmod(0o755)
    if not folder.exists():
        staging.rename(folder)
        return list(files)
    return _replace(files, staging, folder)


def _replace(files: Files, staging: Path, folder: Path) -> list[str]:
    """Moves what is new or changed into the directory, and removes what is no longer generated."""
    stale = [name for name in _digests(folder) if name not in files and (folder / name).is_file()]
    changed = [name for name in files if _differs(staging / name, folder / name)]
    if changed or stale:
        shutil.copyfile(staging / LOCK, staging / PENDING)
        (staging / PENDING).replace(folder / PENDING)
    for name in sorted(changed, key=lambda name: name == LOCK):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(folder / name)
    for name in stale:
        (folder / name).unlink()
    (folder / PENDING).unlink(missing_ok=True)
    return changed + stale


def _differs(new: Path, old: Path) -> bool:
    return (
        not old.is_file()
        or old.read_bytes() != new.read_bytes()
        or old.stat().st_mode & 0o100 != new.stat().st_mode & 0o100
    )


def _refuse(files: Files, folder: Path, force: bool) -> None:
    """Raises CompileError where writing would leave the directory, or destroy somebody's work."""
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            message = f"{place} is a file, so no run can be written there"
            hint = "choose another directory with -o"
            raise CompileError([_problem("bad-output", message, folder, hint)])
    if folder.is_symlink():
        message = "this is a symbolic link, and a run is not written through one"
        hint = f"name what it points to: {folder.readlink()}"
        raise CompileError([_problem("bad-output", message, folder, hint)])
    if not folder.is_dir():
        return
    if read_lock(folder) is None and any(folder.iterdir()) and not force:
        message = "the directory is not empty, and no run of ftc"
        hints = ("choose another directory with -o", "or write into it all the same with --force")
        raise CompileError([_problem("bad-output", message, folder, *hints)])
    for name in files:
        for part in (folder / name, *(folder / name).parents):
            if part == folder:
                break
            if part.is_symlink():
                link = part.relative_to(folder)
                message = f"{link} is a symbolic link, and {name} would be written through it"
                hint = f"remove the link {part}"
                raise CompileError([_problem("bad-output", message, folder, hint)])
    known = _digests(folder)
    touched = [*edited(folder), *(name for name in files if name not in (*known, LOCK))]
    touched = [name for name in touched if _is_work(files, folder, name)]
    if touched and not force:
        message = f"edited since it was generated: {', '.join(sorted(touched))}"
        hints = (
            "move the change into the spec, or keep it in git",
            "then let ftc overwrite it with --force",
        )
        raise CompileError([_problem("edited", message, folder, *hints)])


def _is_work(files: Files, folder: Path, name: str) -> bool:
    """Whether the file holds something that this compilation would not write itself."""
    path = folder / name
    return path.is_file() and not (name in files and path.read_bytes() == files[name].content)


def _problem(code: str, message: str, folder: Path, *hints: str) -> Diagnostic:
    return Diagnostic(code, message, str(folder), hints=hints)


def outdated(files: Files, folder: Path) -> dict[str, str]:
    """Files of a run directory that `files` doesn't agree with: missing, changed or extra."""
    found: dict[str, str] = {}
    for name, file in files.items():
        path = folder / name
        if not path.is_file():
            found[name] = "missing"
        elif path.read_bytes() != file.content:
            found[name] = "changed"
    previous: list[str] = list((read_lock(folder) or {"files": {}})["files"])
    for name in previous:
        if name not in files and (folder / name).is_file():
            found[name] = "extra"
    return found
