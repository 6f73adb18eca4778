"""What changes between two compiled specs: computed here as values, shown by `show`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from . import Compiled
from .load import Document
from .plan import Value, leaves
from .write import LOCK

Absent = object()


@dataclass(frozen=True)
class Change:
    """A key that was added, removed or changed; or a value that changed because of one (derived)."""

    kind: Literal["added", "removed", "changed"]
    path: str
    old: Any
    new: Any
    derived: str = ""  # where the new value comes from, for a value that the spec doesn't set


@dataclass(frozen=True)
class Difference:
    keys: tuple[Change, ...]
    derived: tuple[Change, ...]
    files: tuple[tuple[Literal["added", "removed", "changed"], str], ...]


def diff(old: tuple[Document, Compiled], new: tuple[Document, Compiled]) -> Difference:
    """Compares two specs key by key, their plans value by value, and their files byte by byte."""
    keys = tuple(_keys(dict(_flat(old[0].data)), dict(_flat(new[0].data))))
    set_in_spec = {change.path for change in keys}
    derived = tuple(
        change
        for change in _plan_changes(dict(leaves(old[1].plan)), dict(leaves(new[1].plan)))
        if change.path not in set_in_spec and change.path != "summary"
    )
    return Difference(keys, derived, tuple(_files(old[1], new[1])))


def _flat(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict):
        for key, value in data.items():  # pyright: ignore
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(data, list) and data and isinstance(data[0], dict):
        for index, value in enumerate(data):  # pyright: ignore
            yield from _flat(value, f"{path}[{index}]")
    else:
        yield path, data


def _keys(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path, Absent), new.get(path, Absent)
        if before is Absent:
            yield Change("added", path, None, after)
        elif after is Absent:
            yield Change("removed", path, before, None)
        elif before != after or type(before) is not type(after):
            yield Change("changed", path, before, after)


def _plan_changes(old: dict[str, Value[Any]], new: dict[str, Value[Any]]) -> Iterator[Change]:
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        values = (before.value if before else None, after.value if after else None)
        if values[0] != values[1] and not (after and after.origin.kind == "spec"):
            kind = "added" if before is None else "removed" if after is None else "changed"
            yield Change(kind, path, *values, derived=str(after.origin) if after else "")


def _files(
    old: Compiled, new: Compiled
) -> Iterator[tuple[Literal["added", "removed", "changed"], str]]:
    for path in sorted(old.files.keys() | new.files.keys()):
        if path not in old.files:
            yield "added", path
        elif path not in new.files:
            yield "removed", path
        elif _body(path, old) != _body(path, new):
            yield "changed", path


def _body(path: str, compiled: Compiled) -> bytes:
    """A file's content without what merely names the plan."""
    from .render import plan_id

    content = compiled.files[path].content
    if path == LOCK:
        return b""  # it follows from the others
    return content.replace(plan_id(compiled.plan).encode(), b"")


SIGN = {"added": "+", "removed": "-", "changed": "~"}


def show(difference: Difference, old: Compiled, new: Compiled, *, files: bool) -> str:
    """The difference for people; `files` adds a unified diff of every file."""
    if not (difference.keys or difference.derived or difference.files):
        return "No changes: both specs compile to the same run.\n"
    lines = [_line(change) for change in difference.keys]
    lines += [f"{_line(change)}  ({change.derived or 'follows'})" for change in difference.derived]
    if difference.files:
        lines += ["", "Files:"]
        lines += [f"{SIGN[kind]} {path}" for kind, path in difference.files]
    counts = {kind: sum(c.kind == kind for c in difference.keys) for kind in SIGN}
    lines += [
        "",
        f"{counts['changed']} to change, {counts['added']} to add, {counts['removed']} to remove; "
        f"{len(difference.derived)} derived.",
    ]
    if files:
        for _, path in difference.files:
            lines += ["", *_unified(path, old, new)]
    return "\n".join(lines) + "\n"


def _line(change: Change) -> str:
    values = {
        "added": _show(change.new),
        "removed": _show(change.old),
        "changed": f"{_show(change.old)} -> {_show(change.new)}",
    }
    return f"{SIGN[change.kind]} {change.path}  {values[change.kind]}"


def _show(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _unified(path: str, old: Compiled, new: Compiled) -> list[str]:
    def lines(compiled: Compiled) -> list[str]:
        file = compiled.files.get(path)
        return file.content.decode("utf-8", "replace").splitlines() if file else []

    return list(difflib.unified_diff(lines(old), lines(new), f"a/{path}", f"b/{path}", lineterm=""))
