"""A difference in words: what `ftc diff` prints."""

from __future__ import annotations

import difflib

from . import Compiled
from .diagnostics import visible
from .diff import Change, Difference, Kind, body
from .quote import toml

SIGN: dict[Kind, str] = {"added": "+", "removed": "-", "changed": "~"}
MAX_TEXT = 200_000  # bytes of a file whose lines are compared


def show(difference: Difference, old: Compiled, new: Compiled, *, files: bool) -> str:
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
        lines += ["", "Files:", *(f"{SIGN[kind]} {path}" for kind, path in difference.files)]
    lines += ["", _count(difference), _verdict(difference)]
    if files:
        for _, path in difference.files:
            lines += ["", *_unified(path, old, new)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _line(change: Change, *, quoted: bool = True) -> str:
    old, new = (_short(toml(value) if quoted else value) for value in (change.old, change.new))
    values = {"added": new, "removed": old, "changed": f"{old} -> {new}"}
    text = f"{SIGN[change.kind]} {change.path}  {values[change.kind]}"
    text += f"  ({change.remark})" if change.remark else ""
    text += "  # new run" if change.effect == "new run" else ""
    return visible(text)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:45]}...{text[-10:]}"


def _count(difference: Difference) -> str:
    counts = {kind: sum(c.kind == kind for c in difference.keys) for kind in SIGN}
    keys = "key" if difference.num_same == 1 else "keys"
    return (
        f"{counts['changed']} to change, {counts['added']} to add, {counts['removed']} to remove; "
        f"{len(difference.derived)} derived; {difference.num_same} {keys} unchanged."
    )


def _verdict(difference: Difference) -> str:
    """May the new run go on from the old one's checkpoints?"""
    changes = (*difference.keys, *difference.derived, *difference.contents)
    effects = {change.effect for change in changes}
    if "new run" in effects:
        return (
            "This is a new run (see # new run): it does not go on from checkpoints of the old one."
        )
    if "resumable" in effects:
        return "Checkpoints of the old run can be resumed."
    return "Training stays the same: checkpoints of the old run can be resumed."


def _unified(path: str, old: Compiled, new: Compiled) -> list[str]:
    texts: list[list[str]] = []
    for compiled in (old, new):
        content = body(compiled, path) if path in compiled.files else b""
        try:
            texts.append(content.decode("utf-8").splitlines())
        except UnicodeDecodeError:
            return [f"{path} is not text."]
        if len(content) > MAX_TEXT:
            return [f"{path} is too long to be shown."]
    before, after = texts
    lines = difflib.unified_diff(before, after, f"a/{path}", f"b/{path}", lineterm="")
    return [visible(line) for line in lines]
