"""Is this still the run that was compiled? Compares a run directory with its ftc.lock.

    python -m ftc.runtime.lock [--allow-drift] [further arguments of launch.sh]

Edited scripts are welcome and named in one line. Changed data, another base model or another runtime
would train something else under the same name: they are refused, unless --allow-drift says "I know". So are
packages of requirements.txt that this environment lacks, before any of them is loaded.
Needs the standard library only, so it answers at once.
"""

import hashlib
import json
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import RunError, run
from . import digests

LOCK = "ftc.lock"
PENDING = "ftc.lock.new"  # there while a compilation replaces the files of the directory
# What every command and every run relies on in a lock, by type; one of another version may hold more.
DATA = {
    "group": str,
    "file": str,
    "copied": bool,
    "sha256": str,
    "size": int,
    "rows": (int, type(None)),
}
SHAPE = {
    "runtime": {"version": str, "sha256": str},
    "spec": {"path": str, "sha256": str},
    "plan_id": str,
    "plan": dict,
    "facts": {"model": dict, "data": [DATA]},
    "files": dict,
}
ENTRY = {"value": object, "origin": str, "changes": str}  # of a plan
FORMAT = {"group": str, "index": int, "name": str, "sha256": str}  # a function of the user's own


def sha256(path: Path) -> str | None:
    """The file's digest, or None if there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(folder: Path) -> str:
    """One digest for the Python and JSON files of a runtime that a run imports, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".json")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith("tools/"):
            digest.update(f"{name}\0{sha256(path)}\n".encode())
    return digest.hexdigest()


HELD: dict[Path, bytes] = {}


def hold() -> None:
    """From now on the lock of this run is what it is now, though another may be compiled into its place."""
    path = Path(LOCK).absolute()
    HELD[path] = path.read_bytes()


def content(folder: Path | None = None) -> bytes:
    """The lock of a run directory or of a checkpoint, as it was when this process took `hold` of it."""
    path = ((folder or Path()) / LOCK).absolute()
    return HELD.get(path) or path.read_bytes()


def plan(folder: Path | None = None) -> dict[str, Any]:
    """The plan in a run directory's lock: key -> value."""
    lock = read(folder)
    return {key: entry["value"] for key, entry in lock["plan"].items()}


def edited(folder: Path | None = None) -> tuple[str, dict[str, str | None]]:
    """The compiled plan's id, and the generated files that differ now, with their sha256 (None: missing).

    Raises RunError if the lock is missing or unreadable.
    """
    lock, found = read(folder), {}
    for name, then in lock["files"].items():
        now = sha256((folder or Path()) / name)
        if now != then and not name.startswith("data/"):
            found[name] = now
    return lock["plan_id"], found


def drift(folder: Path | None = None) -> list[str]:
    """What else differs from the run that was compiled, in sentences: data, base model, runtime."""
    return list(_drift(folder or Path(), read(folder)))


def read(folder: Path | None = None) -> dict[str, Any]:
    """The lock of a run directory or a checkpoint. Raises RunError if it is missing or damaged."""
    try:
        found = json.loads(content(folder))
    except (OSError, ValueError, RecursionError):
        found = None
    if not is_lock(found):
        where = str((folder or Path()) / LOCK)
        hint = "compile the spec again" if folder is None else "take another checkpoint"
        raise RunError("no-lock", "this is missing or damaged", hint, where=where)
    return found


def is_lock(found: Any) -> bool:
    """Whether what was read has all that is relied on in a lock."""
    if not _fits(found, SHAPE) or not found["plan"] or not found["files"]:
        return False
    plan = found["plan"]
    return (
        _fits(list(plan.values()), [ENTRY])
        and all(_fits(plan[key]["value"], [str]) for key in plan if key.endswith(".files"))
        and _fits(list(found["files"].values()), [str])
        and _fits(found["facts"].get("formats", []), [FORMAT])
    )


def _fits(found: Any, shape: Any) -> bool:
    """`shape` is a type, several, a table of shapes, or a list with the shape of its items."""
    if isinstance(shape, dict):
        return isinstance(found, dict) and all(
            key in found and _fits(found[key], inner) for key, inner in shape.items()
        )
    if isinstance(shape, list):
        return isinstance(found, list) and all(_fits(item, shape[0]) for item in found)
    return isinstance(found, shape)


def _drift(folder: Path, lock: dict[str, Any]) -> Iterable[str]:
    copied = {name: then for name, then in lock["files"].items() if name.startswith("data/")}
    referred = {e["file"]: e["sha256"] for e in lock["facts"]["data"] if not e["copied"]}
    for name, then in {**copied, **referred}.items():
        if (now := sha256(folder / name)) != then:
            yield f"{name} {'changed since the run was compiled' if now else 'is not there'}"
    model = lock["facts"]["model"]
    if model.get("folder"):
        yield from _model(folder, model)
    vendored = "ftc/runtime/lock.py" in lock["files"]  # then an edit of it is named as such
    if not vendored and tree_sha256(Path(__file__).parent.parent) != lock["runtime"]["sha256"]:
        yield f"the installed ftc.runtime is not the one it was compiled with ({lock['runtime']['version']})"


def _model(folder: Path, model: dict[str, Any]) -> Iterable[str]:
    """What of a local base is not as the lock has it; one of an earlier version has a digest of the whole alone."""
    name = model["folder"]
    try:
        whole = digests.by_size(folder / name)
        now = digests.digests(folder / name) if whole else {}
    except OSError as error:
        yield f"the base model in {name} can't be read: {error.strerror}"
        return
    if not whole:
        yield f"the base model in {name} is not there"
    elif parts := digests.other_parts(model.get("digests"), now):
        yield f"{_the(parts)} of the base model in {name} changed since the run was compiled"
    elif not model.get("digests") and whole != model.get("sha256"):
        yield f"the base model in {name} is another one"


def _the(parts: list[str]) -> str:
    return " and ".join(f"the {part}" for part in parts)


def differences(checkpoint: Path, folder: Path | None = None) -> list[str]:
    """Why a checkpoint can't be resumed: what its lock and the run's disagree on that matters.

    A changed learning-rate schedule or length, another place to run, other words in a log or another way to
    write the same do not. Values are compared by what they come to (`identity`, where the lock has it).
    """
    now, then = read(folder), read(checkpoint)
    found = []
    judged_below = {"model.folder", "model.chat_template"}
    for key in sorted((now["plan"].keys() | then["plan"].keys()) - judged_below):
        entries = [lock["plan"].get(key) for lock in (then, now)]
        there = [entry for entry in entries if entry]
        by = "identity" if all("identity" in entry for entry in there) else "value"
        values = [entry and entry[by] for entry in entries]
        if values[0] != values[1] and "new run" in {entry["changes"] for entry in there}:
            words = [repr(entry["value"] if entry else None) for entry in entries]
            if words[0] != words[1]:  # else its content is another: see below
                found.append(f"{key} was {words[0]} and is {words[1]}")
    if len({lock["files"].get("chat_template.jinja") for lock in (now, then)}) > 1:
        found.append("the chat template has another text")
    if _files(now, "train") != _files(then, "train"):
        found.append("the training data is other data")
    code = [
        [f["sha256"] for f in lock["facts"].get("formats", []) if f["group"] == "train"]
        for lock in (then, now)
    ]
    if code[0] != code[1]:
        found.append("the training data is read by another function")
    models = [lock["facts"]["model"] for lock in (then, now)]
    if parts := digests.other_parts(*(model.get("digests") for model in models)):
        found.append(f"{_the(parts)} of the base model changed")
    elif models[0].get("sha256") != models[1].get("sha256"):
        found.append("the base model is another one")
    return found


def _files(lock: dict[str, Any], group: str) -> dict[str, list[str]]:
    """The digests of each source's files, whatever they are called."""
    digests = {entry["file"]: entry["sha256"] for entry in lock["facts"]["data"]}
    found = {}
    for key, entry in lock["plan"].items():
        source, _, kind = key.rpartition(".")
        if source.startswith(f"data.{group}[") and kind in ("file", "files"):
            value = entry["value"]
            found[source] = [digests.get(n, "") for n in (value if kind == "files" else [value])]
    return found


def validation(folder: Path | None = None) -> list[Any]:
    """What a run or a checkpoint is validated on: losses are comparable where this is equal."""
    lock = read(folder)
    keys = {
        key: entry.get("identity", entry["value"])
        for key, entry in lock["plan"].items()
        if key.startswith("data.validation") and not key.endswith((".file", ".files"))
    }
    formats = [f["sha256"] for f in lock["facts"].get("formats", []) if f["group"] == "validation"]
    set_here = {key: value for key, value in keys.items() if value is not None}
    return [set_here, _files(lock, "validation"), formats]


def not_installed(folder: Path | None = None) -> list[str]:
    """The packages that requirements.txt pins and this environment lacks, whatever their versions."""
    file = (folder or Path()) / "requirements.txt"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    pinned = [line.split("==")[0].strip() for line in lines if "==" in line and line[0].isalpha()]
    return [name for name in pinned if not _has(name)]


# flash-attn is compiled against the torch that is there, and its build asks for these.
FLASH = [
    "pip install \"$(grep '^torch==' requirements.txt)\" setuptools wheel ninja packaging && "
    "pip install --no-build-isolation -r requirements.txt",
    'or, without flash-attn, set model.attention = "segment_sdpa" and compile again',
]


def _has(package: str) -> bool:
    import importlib.metadata  # 18 ms that the compiler, which imports this file, does not need

    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def whole(folder: Path | None = None) -> None:
    """Raises RunError while the files of the directory may be those of two compilations."""
    if ((folder or Path()) / PENDING).exists():
        raise RunError(
            "pending",
            "a compilation into this directory was interrupted, or has not ended; its files may be those "
            "of two different runs",
            "compile the spec into it again, which finishes it",
            where=PENDING,
        )


def check(arguments: list[str], folder: Path | None = None) -> None:
    """Prints what was edited. Raises RunError for a compilation that was interrupted, for packages that
    are missing, and for drift that `--allow-drift` doesn't allow."""
    whole(folder)
    _, changed = edited(folder)
    if changed:
        print(f"Edited since it was generated: {', '.join(sorted(changed))}.", flush=True)
    if missing := not_installed(folder):
        raise RunError(
            "not-installed",
            f"this environment has no {', no '.join(missing)}",
            *(FLASH if "flash-attn" in missing else ["pip install -r requirements.txt"]),
            "or take the line out of requirements.txt, if the run does without",
            where="requirements.txt",
        )
    differs = "; ".join(drift(folder))
    if not differs:
        return
    if "--allow-drift" in arguments:
        print(f"Drift allowed: {differs}.", flush=True)
        return
    raise RunError(
        "drift",
        differs,
        "compile the spec again, and ftc.lock follows",
        "or say that you know: bash launch.sh --allow-drift",
        where=LOCK,
    )


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    run(lambda: check(sys.argv[1:]))
