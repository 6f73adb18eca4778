"""Every decided value of a spec with its origin: a line of it, a default, a preset, a formula."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .diagnostics import CompileError, Diagnostic, nearest, visible
from .language import changes, extra, field_at
from .load import Document
from .plan import Plan, Value, leaves
from .quote import toml
from .report import as_json as diagnostics_as_json
from .tree import is_table


@dataclass(frozen=True)
class Explained:
    """One value.

    `key` is the spec's key that decides it (None for one that is derived), `line` where it is set;
    `help`, `unit` and `changes` (what a change means for checkpoints) are the key's.
    """

    path: str
    value: Any
    origin: str
    key: str | None
    line: int | None
    help: str
    unit: str
    changes: str


def explain(document: Document, plan: Plan, wanted: str | None = None) -> list[Explained]:
    """The plan's values in its order; `wanted` (a path, a key or a table) keeps those below it.

    Raises CompileError if there is none below it.
    """
    every = [_explained(document, path, value) for path, value in leaves(plan) if path != "summary"]
    if wanted is None:
        return every
    found = [e for e in every if any(_below(name, wanted) for name in (e.path, e.key) if name)]
    if not found:
        guess = nearest(wanted, [e.path for e in every])
        hint = f"did you mean `{guess}`?" if guess else "`ftc explain SPEC` lists them"
        message = f"no value is called `{wanted}`"
        raise CompileError([Diagnostic("unknown-key", message, document.path, hints=(hint,))])
    return found


def _below(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith((f"{wanted}.", f"{wanted}["))


def _explained(document: Document, path: str, value: Value[Any]) -> Explained:
    kind, detail = value.origin.kind, value.origin.detail
    key = detail if kind in ("spec", "default") else None
    parts = (
        [int(p) if p.isdigit() else p for p in re.split(r"[.\[\]]+", detail) if p] if key else []
    )
    span = document.key(parts) if kind == "spec" else None
    method = document.data.get("method", {}).get("kind", "full")
    field = field_at(tuple(parts), method) if key else None
    origin = str(value.origin)
    if span is not None:
        origin = document.where(span)
    return Explained(
        path,
        value.value,
        origin,
        key,
        span.line if span and not document.argument(span.line) else None,
        (field.description or "") if field else "",
        str(extra(field).get("unit", "")) if field else "",
        changes(tuple(parts), method) if key else "",
    )


def show(explained: list[Explained], *, details: bool) -> str:
    """A line a value, in columns; with `details` its help and what a change of it means."""
    rows = [(e.path, _value(e), e.origin) for e in explained]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    lines: list[str] = []
    for e, (path, value, origin) in zip(explained, rows, strict=True):
        lines.append(f"{path:<{widths[0]}}  {value:<{widths[1]}}  {origin}")
        if details and e.help:
            lines.append(f"    {e.help}")
        if details and e.changes:
            lines.append(f"    {CHANGES[e.changes]}")
    return "\n".join(lines) + "\n"


CHANGES = {
    "resumable": "A change keeps checkpoints usable.",
    "new run": "A change makes another run: its checkpoints can't be gone on with.",
    "cosmetic": "A change has no effect on what is learnt.",
}


def as_json(explained: list[Explained], warnings: Sequence[Diagnostic]) -> str:
    """The values for programs, and what deserves a word."""
    said = json.loads(diagnostics_as_json(warnings))
    content = {"values": [asdict(value) for value in explained], "warnings": said}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _value(explained: Explained) -> str:
    value = explained.value
    text = json.dumps(value, ensure_ascii=False) if is_table(value) else toml(value)
    text = visible(text if len(text) <= 48 else text[:47] + "…")
    unit = explained.unit.removesuffix("s") if value == 1 else explained.unit
    return f"{text} {unit}".rstrip()
