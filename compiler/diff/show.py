"""A difference in words: what `ftc diff` prints."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict
from typing import Any, cast

from ..diagnostics.snippet import visible
from ..document.write_toml import toml
from .changes import Change, Changes, Kind, body
from .numbers import Effect
from .sides import Side

SIGN: dict[Kind, str] = {"added": "+", "removed": "-", "changed": "~"}
MAX_TEXT = 200_000  # bytes of a file whose lines are compared


def show(difference: Changes, *, files: bool) -> str:
    """The difference for people; `files` adds a unified diff of every file."""
    if not difference:
        return "No changes: both specs compile to the same run.\n"
    lines = [_line(change) for change in difference.keys]
    if difference.derived:
        lines += ["", "What follows:", *(_line(change) for change in difference.derived)]
    if difference.contents:
        lines += ["", "Other content under the same name:"]
        lines += [_line(change, quoted=False) for change in difference.contents]
    if difference.files:
        edited = difference.old.edited | difference.new.edited
        lines += ["", "Files:"]
        for kind, path in difference.files:
            lines.append(f"{SIGN[kind]} {path}{'  (edited)' if path in edited else ''}")
    if difference.effects:
        lines += ["", "In numbers:", *(_effect(effect) for effect in difference.effects)]
    lines += ["", _count(difference), _verdict(difference)]
    if files:
        for _, path in difference.files:
            lines += ["", *_unified(path, difference.old, difference.new)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _line(change: Change, *, quoted: bool = True) -> str:
    old, new = (toml(value) if quoted else value for value in (change.old, change.new))
    if len(old) + len(new) > 60 and _own(change.old, change.new) + _own(change.new, change.old):
        old, new = _without(change.old, change.new), _without(change.new, change.old)
    old, new = _short(old), _short(new)
    values = {"added": new, "removed": old, "changed": f"{old} -> {new}"}
    text = f"{SIGN[change.kind]} {change.path}  {values[change.kind]}"
    text += f"  ({change.remark})" if change.remark else ""
    about = [change.affects, *(["new run"] if change.effect == "new run" else [])]
    text += f"  # {', '.join(about)}" if change.effect else ""
    return visible(text)


def _effect(effect: Effect) -> str:
    old, new = ("-" if n is None else f"{n:,}" for n in (effect.old, effect.new))
    return f"~ {effect.name}  {old} -> {new}"


def _own(value: Any, other: Any) -> list[Any]:
    """What of a list another one lacks."""
    both = isinstance(value, list) and isinstance(other, list)
    return [item for item in cast("list[Any]", value) if item not in other] if both else []


def _without(items: list[Any], others: list[Any]) -> str:
    """A long list for people: what the other one has, too, is left out."""
    own = [toml(item) for item in _own(items, others)]
    shared = ["..."] * (len(own) < len(items))
    return f"[{', '.join([*shared, *own])}]"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:45]}...{text[-10:]}"


def _count(difference: Changes) -> str:
    counts = {kind: sum(c.kind == kind for c in difference.keys) for kind in SIGN}
    keys = "key" if difference.num_same == 1 else "keys"
    return (
        f"{counts['changed']} to change, {counts['added']} to add, {counts['removed']} to remove; "
        f"{len(difference.derived)} derived; {difference.num_same} {keys} unchanged."
    )


def _verdict(difference: Changes) -> str:
    return VERDICTS[difference.resume]


VERDICTS = {
    "new run": "This is a new run: it does not go on from checkpoints of the old one.",
    "resumable": "Checkpoints of the old run can be resumed.",
    "same": "Training stays the same: checkpoints of the old run can be resumed.",
}


def as_json(difference: Changes) -> str:
    """The difference for programs."""
    edited = difference.old.edited | difference.new.edited
    content: dict[str, Any] = {
        "differs": bool(difference),
        "resume": difference.resume,
        "keys": [_record(change) for change in difference.keys],
        "derived": [_record(change) for change in difference.derived],
        "contents": [_record(change) for change in difference.contents],
        "files": [
            {"kind": kind, "path": path, "edited": path in edited}
            for kind, path in difference.files
        ],
        "effects": [asdict(effect) for effect in difference.effects],
        "unchanged_keys": difference.num_same,
    }
    return json.dumps(content, indent=2) + "\n"


def _record(change: Change) -> dict[str, Any]:
    """A change with its class under that name, and its effect: "", cosmetic, resumable, new run."""
    record = asdict(change)
    record["class"] = record.pop("affects")
    return record


def _unified(path: str, old: Side, new: Side) -> list[str]:
    texts: list[list[str]] = []
    for side in (old, new):
        content = body(side, path) if path in side.files else b""
        try:
            texts.append(content.decode("utf-8").splitlines())
        except UnicodeDecodeError:
            return [f"{path} is not text."]
        if len(content) > MAX_TEXT:
            return [f"{path} is too long to be shown."]
    before, after = texts
    lines = difflib.unified_diff(before, after, f"a/{path}", f"b/{path}", lineterm="")
    return [visible(line) for line in lines]
