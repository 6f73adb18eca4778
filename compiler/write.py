"""Files -> directory, with ftc.lock; whole or not at all, and never over somebody's edits."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .diagnostics import CompileError, Diagnostic
from .facts import Facts
from .plan import Plan, leaves
from .presets import resource
from .render import File, Files, plan_id

LOCK = "ftc.lock"


def tool_version() -> str:
    try:
        return version("ftc")
    except PackageNotFoundError:
        return "unknown"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def runtime_sha256() -> str:
    """One digest for the runtime's files.

    `ftc.runtime.lock.tree_sha256` computes it again at launch.
    """
    digest = hashlib.sha256()
    for path in sorted(resource("runtime").glob("*.py")):
        digest.update(f"{path.name}\0{sha256(path.read_bytes())}\n".encode())
    return digest.hexdigest()


def lock(plan: Plan, facts: Facts, files: Files, spec_name: str) -> File:
    """ftc.lock: the plan with its origins, the facts, the versions, and a digest for every file."""
    sources = [*((("train", i), s) for i, s in enumerate(plan.data.train))]
    sources += [(("validation", i), s) for i, s in enumerate(plan.data.validation)]
    data: list[dict[str, Any]] = []
    for key, source in sources:
        fact = facts.files.get(key)
        if fact is not None and source.file is not None:
            copied = fact.content is not None
            data.append(
                {
                    "file": source.file.value,
                    "copied": copied,
                    "sha256": fact.sha256,
                    "size": fact.size,
                    "rows": fact.rows,
                }
            )
    model: dict[str, Any] = {"base": plan.model.base.value}
    for name in ("hub_id", "revision", "folder"):
        value = getattr(plan.model, name)
        if value is not None:
            model[name] = value.value
    if facts.local_model is not None:
        model["sha256"] = facts.local_model.sha256
    if plan.model.package is not None:
        model["sha256"] = plan.model.package.sha256.value
    content = {
        "ftc": tool_version(),
        "runtime": {"version": tool_version(), "sha256": runtime_sha256()},
        "spec": {"file": spec_name, "sha256": sha256(files["spec.toml"].content)},
        "plan_id": plan_id(plan),
        "plan": {
            path: {"value": value.value, "origin": str(value.origin)}
            for path, value in leaves(plan)
        },
        "facts": {"model": model, "data": data},
        "files": {path: sha256(file.content) for path, file in files.items()},
    }
    return File((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_lock(folder: Path) -> dict[str, Any] | None:
    """The lock of a run directory, or None if it has none that can be read."""
    try:
        found = json.loads((folder / LOCK).read_text("utf-8"))
        return found if isinstance(found.get("files"), dict) else None
    except (OSError, ValueError, AttributeError):
        return None


def edited(folder: Path) -> list[str]:
    """Generated files that were edited since they were generated, by the lock of their directory."""
    found = read_lock(folder)
    if found is None:
        return []
    names: list[str] = []
    for name, digest in found["files"].items():
        path = folder / name
        if path.is_file() and sha256(path.read_bytes()) != digest:
            names.append(name)
    return sorted(names)


def write(files: Files, folder: Path, *, force: bool = False) -> list[str]:
    """Writes the files; returns the names of those that are new or changed.

    A new directory is built beside its place and renamed, so that it is there whole or not at all. An
    existing run directory keeps what running it produced: each generated file is replaced by a rename, the
    lock last. Raises CompileError if a file was edited (unless `force`), or `folder` is something else.
    """
    _refuse(files, folder, force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
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
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replace(files: Files, staging: Path, folder: Path) -> list[str]:
    previous = read_lock(folder)
    changed: list[str] = []
    for name in sorted(files, key=lambda name: name == LOCK):
        target = folder / name
        if target.is_file() and target.read_bytes() == files[name].content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / name, target)
        changed.append(name)
    for name in previous["files"] if previous else []:
        if name not in files and (folder / name).is_file():
            (folder / name).unlink()
            changed.append(name)
    return changed


def _refuse(files: Files, folder: Path, force: bool) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise CompileError(
            [_problem("bad-output", "this is a link or a file, not a directory", folder)]
        )
    if not folder.is_dir():
        return
    if read_lock(folder) is None and any(folder.iterdir()) and not force:
        message = "the directory is not empty and holds no run of ftc"
        hints = ("choose another directory with -o", "or write into it all the same with --force")
        raise CompileError([_problem("bad-output", message, folder, *hints)])
    for name in files:
        for part in (folder / name, *(folder / name).parents):
            if part == folder:
                break
            if part.is_symlink():
                message = f"{name} would be written through a symbolic link"
                raise CompileError([_problem("bad-output", message, folder)])
    touched = edited(folder)
    if touched and not force:
        message = f"edited since it was generated: {', '.join(touched)}"
        hints = (
            "move your changes into the spec, or keep them in git",
            "overwrite them with --force",
        )
        raise CompileError([_problem("edited", message, folder, *hints)])


def _problem(code: str, message: str, folder: Path, *hints: str) -> Diagnostic:
    return Diagnostic(code, message, str(folder), hints=hints)
