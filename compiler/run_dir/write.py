"""Files -> directory, with ftc.lock; whole or not at all, and never over somebody's edits."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..diagnostics.diagnostic import CompileError, Diagnostic
from ..emit.files import Files
from ..spec.keys import MOST_BYTES
from .lock import LOCK, PENDING, read_lock, sha256

STAGING = ".ftc-new"  # where the files are written before they are moved into their places


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
    An existing one keeps what running it produced: its files are built inside of it, as it may be a
    mount point, and each is replaced by a rename. The next lock, ftc.lock.new, is there from before the
    first of them until after the last, and whoever reads the directory meanwhile refuses it. Raises
    CompileError if a file was edited (unless `force`), if `folder` is something else, or can't be written.
    """
    try:
        _refuse_place(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _staging(folder) as staging:
            _refuse(files, folder, force)
            return _write(files, staging, folder)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        message = f"can't be written ({error.strerror}{where})"
        hint = "choose another directory with -o, or make this one writable"
        raise CompileError([_problem("bad-output", message, folder, hint)]) from None


@contextmanager
def _staging(folder: Path) -> Generator[Path]:
    """An empty directory on the file system of `folder`, this process's alone until it leaves.

    Another compilation into the same place waits for it. What a killed one left there is removed.
    """
    place = folder.resolve()
    while True:
        inside = place.is_dir()
        staging = place / STAGING if inside else place.with_name(_beside(place.name))
        with suppress(FileExistsError):
            staging.mkdir()
        try:
            held = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # the other one renamed or removed it in between
        try:
            with suppress(OSError):  # a file system without such locks
                fcntl.flock(held, fcntl.LOCK_EX)
            if not _is(staging, held) or place.is_dir() != inside:
                continue  # the other one renamed or removed it while this one waited
            try:
                for left in staging.iterdir():
                    shutil.rmtree(
                        left
                    ) if left.is_dir() and not left.is_symlink() else left.unlink()
                yield staging
            finally:
                if _is(staging, held):  # else it is the run directory by now
                    shutil.rmtree(staging, ignore_errors=True)
            return
        finally:
            os.close(held)


def _beside(name: str) -> str:
    """What is staged for a directory of that name, in as many bytes as a file system takes."""
    if len(os.fsencode(name)) + len(STAGING) + 1 > MOST_BYTES:
        name = sha256(os.fsencode(name))
    return f".{name}{STAGING}"


def _is(path: Path, descriptor: int) -> bool:
    """Whether the open directory is the one at `path`."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _write(files: Files, staging: Path, folder: Path) -> list[str]:
    for name, file in files.items():
        path = staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(0o755 if file.executable else 0o644)
    staging.chmod(0o755)
    if staging.parent != folder.resolve():
        staging.rename(folder)
        return list(files)
    return _replace(files, staging, folder)


def _replace(files: Files, staging: Path, folder: Path) -> list[str]:
    """Moves what is new or changed into the directory, and removes what is no longer generated."""
    stale = _stale(files, folder)
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


def _stale(files: Files, folder: Path) -> list[str]:
    """The files that an earlier compilation generated and this one doesn't."""
    return [name for name in _digests(folder) if name not in files and (folder / name).is_file()]


def _differs(new: Path, old: Path) -> bool:
    return (
        not old.is_file()
        or old.read_bytes() != new.read_bytes()
        or old.stat().st_mode & 0o100 != new.stat().st_mode & 0o100
    )


def _refuse_place(folder: Path) -> None:
    """Raises CompileError where there can't be a directory, or it would be somewhere else."""
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            message = f"{place} is a file, so no run can be written there"
            hint = "choose another directory with -o"
            raise CompileError([_problem("bad-output", message, folder, hint)])
    if folder.is_symlink():
        message = "this is a symbolic link, and a run is not written through one"
        hint = f"name what it points to: {folder.readlink()}"
        raise CompileError([_problem("bad-output", message, folder, hint)])


def _refuse(files: Files, folder: Path, force: bool) -> None:
    """Raises CompileError where writing would leave the directory, or destroy somebody's work."""
    if not folder.is_dir():
        return
    ours = (STAGING, PENDING)  # what a first compilation that was killed left in an empty directory
    foreign = any(path.name not in ours for path in folder.iterdir())
    if read_lock(folder) is None and read_lock(folder, PENDING) is None and foreign and not force:
        message = "the directory is not empty, and not a run of ftc"
        if (folder / LOCK).exists():
            message = f"{LOCK} is damaged, so what was edited since can't be told"
        hints = ("choose another directory with -o", "or write into it all the same with --force")
        raise CompileError([_problem("bad-output", message, folder, *hints)])
    for name, done in (
        *((n, "written") for n in files),
        *((n, "removed") for n in _stale(files, folder)),
    ):
        for part in (folder / name, *(folder / name).parents):
            if part == folder:
                break
            if part.is_symlink():
                link = part.relative_to(folder)
                message = f"{link} is a symbolic link, and {name} would be {done} through it"
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
