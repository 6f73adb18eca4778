"""What `ftc diff` compares: a spec as it compiles now, or a run as its lock recorded it.

A run directory is not compiled again. Its lock says what was decided when it was, by the ftc of
that day and of the data of that day, and that is what a run is; another ftc might decide otherwise.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..catalog.presets import Architecture, find_model
from ..diagnostics.diagnostic import CompileError, Diagnostic
from ..diagnostics.tree import is_array, is_table, is_tuple
from ..document.load import Document
from ..facts.gather import DataFile
from ..pipeline.compile import Compiled, load
from ..plan.names import SOURCE, decided_by, key_of
from ..plan.values import Origin, Value, leaves
from ..rows.patterns import joined_sha256
from ..run_dir.lock import LOCK, no_lock, read_lock, run_lock, sha256

Values = dict[str, Value[Any]]
TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True)
class Content:
    """What stands behind a name: data files, a function, a template or a model folder. `words` has its
    size; `parts` are the digests of the files, in order, where they are several; `older` is the digest that
    locks of earlier versions have of the same."""

    name: str
    sha256: str
    words: str = ""
    parts: tuple[str, ...] = ()
    older: str = ""

    def is_as(self, other: Content) -> bool:
        """Whether both are the same, whatever their names."""
        same = (self.parts or (self.sha256,)) == (other.parts or (other.sha256,))
        return same or self.older == other.sha256 or other.older == self.sha256


@dataclass(frozen=True)
class Side:
    """One side of a difference.

    `data`: the spec. `plan`: every value by its path. `contents`: by key path, as in
    "data.train[0]". `files`: the run directory's, of which `edited` are not as generated. `entries`:
    the plan as a lock has it.
    """

    data: dict[str, Any]
    plan: Values
    entries: dict[str, Any]
    contents: dict[str, Content]
    files: dict[str, bytes]
    architecture: Architecture | None
    edited: frozenset[str] = frozenset()


def of_compiled(document: Document, compiled: Compiled) -> Side:
    """A spec, as it compiles now."""
    facts = compiled.facts
    contents = {f"data.{g}[{i}]": _content(file) for (g, i), file in facts.files.items()}
    for (group, index), found in facts.formats.items():
        if found.code is not None:
            content = Content(found.code.path.name, found.code.sha256)
            contents[f"data.{group}[{index}].format"] = content
    if facts.local_model:
        model = facts.local_model
        contents["model.base"] = _base(model.path.name, model.sha256, model.digests)
    template = sha256(compiled.files[TEMPLATE].content)
    contents["model.chat_template"] = Content(compiled.plan.model.chat_template.value, template)
    return Side(
        document.data,
        {path: Value(_listed(v.value), v.origin) for path, v in leaves(compiled.plan)},
        json.loads(compiled.files[LOCK].content)["plan"],
        contents,
        {path: file.content for path, file in compiled.files.items()},
        facts.architecture,
    )


def _content(file: DataFile) -> Content:
    parts = tuple(part.sha256 for part in file.parts)
    return Content(file.path.name, file.sha256, _words(file.rows, file.size), parts)


def _base(name: str, sha256: str, digests: dict[str, str] | None) -> Content:
    return (
        Content(name, joined_sha256(digests.items()), older=sha256)
        if digests
        else Content(name, sha256)
    )


def _words(rows: int | None, size: int) -> str:
    return f"{rows:,} rows" if rows is not None else f"{size:,} bytes"


def _listed(value: Any) -> Any:
    """As JSON has it: no tuples."""
    return list(value) if is_tuple(value) else value


def of_run(folder: Path, wanted: str = "name a directory that `ftc compile` made") -> Side:
    """A run directory: the plan, the facts and the files that its lock records; `wanted` says what to name
    if it is none.

    Files come from the directory, edits and all. Raises CompileError without a lock and its spec.
    """
    lock = run_lock(folder, wanted)
    document = load(folder / "spec.toml")
    side = _of_lock(folder, lock, document.data, wanted)
    if "spec.toml" in side.edited:
        message = "spec.toml was edited since, so the lock says nothing about it"
        hint = "undo the edit, or compile it again"
        raise CompileError([Diagnostic("edited", message, str(folder), hints=(hint,))])
    return side


def of_trained(folder: Path, compiled: Side) -> Side:
    """What was trained in a run directory, which is what it was compiled to (`compiled`), unless that was
    done again since the last start: the lock of that stands in logs/, or in the newest checkpoint."""
    steps = (path.name for path in folder.glob("checkpoints/step-*") if path.name[5:].isdigit())
    newest = sorted(steps, key=lambda name: int(name[5:]))[-1:]
    places = (folder / "logs", *(folder / "checkpoints" / name for name in newest))
    lock = next((found for place in places if (found := read_lock(place)) is not None), None)
    if lock is None or lock == read_lock(folder):
        return compiled
    same_spec = lock["files"].get("spec.toml") == sha256(compiled.files["spec.toml"])
    side = _of_lock(folder, lock, compiled.data if same_spec else None, "")
    edited = {
        name for name in side.edited if name in compiled.edited
    }  # not what was compiled since
    return replace(side, edited=frozenset(edited))


def _of_lock(folder: Path, lock: dict[str, Any], data: dict[str, Any] | None, wanted: str) -> Side:
    """The side that a lock records; `data` is the spec, read off the plan where it is gone."""
    digests: dict[str, str] = lock["files"]
    files = {name: (folder / name).read_bytes() for name in digests if (folder / name).is_file()}
    files[LOCK] = b""
    changed = frozenset(n for n, d in digests.items() if n in files and sha256(files[n]) != d)
    try:
        plan = {path: _value(path, entry) for path, entry in lock["plan"].items()}
        data = _set_in(plan) if data is None else data
        contents = dict(_contents(data, plan, lock))
    except (KeyError, TypeError, AttributeError):
        raise no_lock(folder, wanted) from None
    preset = find_model(str(plan["model.base"].value)) if "model.base" in plan else None
    architecture = preset.architecture if preset else None
    return Side(data, plan, lock["plan"], contents, files, architecture, changed)


def _set_in(plan: Values) -> dict[str, Any]:
    """The keys that a plan's spec set, as far as its plan has them, and where its rows come from."""
    data: dict[str, Any] = {"data": {}}
    for path, value in plan.items():
        key = (decided_by(path) or (path,))[0] if SOURCE.fullmatch(path) else key_of(path)
        if value.origin.kind != "spec" and not SOURCE.fullmatch(path):
            continue
        *tables, last = re.findall(r"[^.\[\]]+", key)
        table: Any = data
        for name, following in pairwise([*tables, last]):
            if name.isdigit():
                while len(table) <= int(name):
                    table.append({})
                table = table[int(name)]
            else:
                table = table.setdefault(name, [] if following.isdigit() else {})
        table[last] = value.value
    return data


def _value(path: str, entry: dict[str, Any]) -> Value[Any]:
    text: str = entry["origin"]
    if text.startswith("= "):
        return Value(entry["value"], Origin("derived", text[2:]))
    if text.startswith("preset "):
        return Value(entry["value"], Origin("preset", text[7:]))
    return Value(entry["value"], Origin("spec" if text == "spec" else "default", key_of(path)))


def _joined(files: Value[Any] | None, by_file: dict[str, Any]) -> dict[str, Any] | None:
    """The files of a pattern as one, as in `data_files`."""
    if files is None:
        return None
    entries = [by_file[file] for file in files.value]
    rows: list[int | None] = [entry["rows"] for entry in entries]
    return {
        "sha256": joined_sha256((posixpath.basename(e["file"]), e["sha256"]) for e in entries),
        "parts": tuple(entry["sha256"] for entry in entries),
        "size": sum(entry["size"] for entry in entries),
        "rows": None if None in rows else sum(row for row in rows if row is not None),
    }


def _contents(
    spec: dict[str, Any], plan: Values, lock: dict[str, Any]
) -> Iterator[tuple[str, Content]]:
    facts = lock["facts"]
    by_file = {entry["file"]: entry for entry in facts["data"]}
    for group in ("train", "validation"):
        sources: Any = spec["data"].get(group, [])
        for index, source in enumerate(sources if is_array(sources) else []):
            value = plan.get(f"data.{group}[{index}].file")
            several = plan.get(f"data.{group}[{index}].files")
            entry = by_file.get(value.value) if value else _joined(several, by_file)
            if entry is not None and is_table(source):
                words = _words(entry["rows"], entry["size"])
                name = posixpath.basename(str(source["source"]))
                parts = entry.get("parts", ())
                yield f"data.{group}[{index}]", Content(name, entry["sha256"], words, parts)
    for entry in facts.get("formats", []):
        place = f"data.{entry['group']}[{entry['index']}].format"
        yield place, Content(entry["name"], entry["sha256"])
    if "folder" in facts["model"]:
        name = posixpath.basename(posixpath.normpath(spec["model"]["base"]))
        yield "model.base", _base(name, facts["model"]["sha256"], facts["model"].get("digests"))
    name = str(plan["model.chat_template"].value)
    yield "model.chat_template", Content(name, lock["files"][TEMPLATE])
