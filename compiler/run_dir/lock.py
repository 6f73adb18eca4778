"""ftc.lock: what a run was compiled from and into, so that any drift from it shows."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from ...runtime.process.lock import LOCK, PENDING, is_lock, tree_sha256
from ..catalog.presets import resource
from ..diagnostics.diagnostic import CompileError, Diagnostic
from ..diagnostics.guess import nearest
from ..emit.files import File, Files
from ..facts.gather import Facts
from ..plan.identity import identities, plan_id
from ..plan.names import key_of
from ..plan.plan import Plan
from ..plan.values import leaves
from ..spec.describe import changes
from ..version import VERSION


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def runtime_sha256() -> str:
    """The digest of the installed runtime, as a launch computes it again."""
    return tree_sha256(resource("runtime"))


def lock(plan: Plan, facts: Facts, files: Files, spec_path: str, spec_text: str) -> File:
    """ftc.lock: the plan with its origins, the facts, the versions, and a digest for every file.

    `spec_path`: the way from the run directory to the spec, whose text was `spec_text` (before any
    `--set`).
    """
    content = {
        "ftc": VERSION,
        "runtime": {"version": VERSION, "sha256": runtime_sha256()},
        "spec": {"path": spec_path, "sha256": sha256(spec_text.encode())},
        "plan_id": plan_id(plan),
        "plan": dict(_plan(plan, facts)),
        "facts": {
            "model": _model(plan, facts),
            "data": list(_data(plan, facts)),
            "formats": list(_formats(facts)),
        },
        "files": {path: sha256(file.content) for path, file in files.items()},
    }
    return File((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def _plan(plan: Plan, facts: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each value with its origin, what a change of it means for checkpoints ("" if nothing), and what it
    comes to, where that is not the value as it is written."""
    known = identities(plan, facts)
    for path, value in leaves(plan):
        origin = value.origin
        given = origin.kind in ("spec", "default")
        key = origin.detail if given else key_of(path) if origin.kind == "derived" else path
        parts = tuple(part.split("[")[0] for part in key.split("."))
        entry = {"value": value.value, "origin": str(origin), "changes": changes(parts)}
        yield path, entry | ({"identity": known[path]} if path in known else {})


def _data(plan: Plan, facts: Facts) -> Iterator[dict[str, Any]]:
    """The local data files: where the run has them, and what they were."""
    groups = (("train", plan.data.train), ("validation", plan.data.validation))
    for group, sources in groups:
        for index, source in enumerate(sources):
            fact = facts.files.get((group, index))
            files = (
                source.files.value if source.files else [source.file.value] if source.file else []
            )
            parts = (fact.parts or (fact,)) if fact else ()
            for file, part in zip(files, parts, strict=True):
                yield {
                    "group": group,
                    "file": file,
                    "copied": part.content is not None,
                    "sha256": part.sha256,
                    "size": part.size,
                    "rows": part.rows,
                }


def _formats(facts: Facts) -> Iterator[dict[str, Any]]:
    """The functions of the user's own that read rows."""
    for (group, index), found in facts.formats.items():
        if found.code is not None:
            yield {
                "group": group,
                "index": index,
                "name": found.code.path.name,
                "sha256": found.code.sha256,
            }


def _model(plan: Plan, facts: Facts) -> dict[str, Any]:
    """The base model: how it is found, and a digest where it can be had without the network."""
    model: dict[str, Any] = {"base": plan.model.base.value}
    for name in ("hub_id", "modelscope", "revision", "folder"):
        value = getattr(plan.model, name)
        if value is not None:
            model[name] = value.value
    if facts.local_model is not None:
        model["sha256"] = facts.local_model.sha256
        model["digests"] = facts.local_model.digests
    if plan.model.package is not None:
        model["sha256"] = plan.model.package.sha256.value
    return model


def read_lock(folder: Path, name: str = LOCK) -> dict[str, Any] | None:
    """The lock of a run directory, or None if it has none that can be read."""
    try:
        found: Any = json.loads((folder / name).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if is_lock(found) else None


def run_lock(folder: Path, wanted: str) -> dict[str, Any]:
    """The lock of a whole run directory; `wanted` says what to name if this is not one.

    Raises CompileError without a lock that can be read, or where a compilation was interrupted.
    """
    if (folder / PENDING).exists():
        message = f"a compilation into this directory was interrupted, or has not ended: {PENDING} is there"
        why = "its files may be those of two different runs"
        hint = "compile the spec into it again, which finishes it"
        raise CompileError(
            [Diagnostic("pending", message, str(folder), notes=(why,), hints=(hint,))]
        )
    found = read_lock(folder)
    if found is None:
        raise no_lock(folder, wanted)
    return found


def no_lock(folder: Path, wanted: str) -> CompileError:
    """Why this is no run directory; `wanted` says what to name instead."""
    message, hints = f"{LOCK} is missing", [wanted]
    if (folder / LOCK).exists():
        message = f"{LOCK} is damaged"
        hints.append("or compile its spec into it again, with --force")
    elif folder.is_file():
        message = "this is a file, not a run directory"
        if folder.suffix == ".toml":
            hints = [
                f"`ftc compile {shlex.quote(str(folder))}` makes a run of it: name that directory"
            ]
    elif not folder.exists():
        message = "there is no such directory"
        with suppress(OSError):
            runs = [path.parent.name for path in folder.parent.glob(f"*/{LOCK}")]
            near = nearest(folder.name, sorted(runs))
            hints = [f"did you mean `{folder.with_name(near)}`?"] if near else hints
    return CompileError([Diagnostic("no-lock", message, str(folder), hints=tuple(hints))])
