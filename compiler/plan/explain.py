"""Every decided value of a spec with its origin: a line of it, a default, a preset, a formula."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any

from ..diagnostics.diagnostic import CompileError, Diagnostic, KeyPath
from ..diagnostics.guess import nearest
from ..diagnostics.machine import as_json as diagnostics_as_json
from ..diagnostics.snippet import cells, visible
from ..diagnostics.tree import is_array, is_table
from ..document.load import Document
from ..document.write_toml import toml
from ..spec.describe import CHANGES, METHODS, changes, choice, dotted, extra, field_at, homes
from ..spec.names import names
from ..spec.other_tools import NO_KEY, RENAMED
from .plan import Plan
from .values import Value, leaves

INDEX = re.compile(r"\[\d+\]")
UNSET = "unset"  # the origin of what neither the spec nor the plan says


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
    found = found or _left_out(document, wanted)
    if not found:
        raise CompileError([_unknown(document, wanted, [e.path for e in every])])
    return found


def _below(name: str, wanted: str) -> bool:
    """Whether `wanted` is the name or a table around it; it may leave out the numbers of a list."""
    return any(
        form == wanted or form.startswith((f"{wanted}.", f"{wanted}["))
        for form in (name, INDEX.sub("", name))
    )


def _left_out(document: Document, wanted: str) -> list[Explained]:
    """A key that the plan has no value of: it is not set, or set to what takes no effect, or is renamed there."""
    kind = document.data.get("method", {}).get("kind", "full")
    parts = _parts(wanted)
    field = field_at(tuple(part for part in parts if isinstance(part, str)), kind)
    if field is None:
        return []
    found: list[Explained] = []
    for path, value in _set_at(document.data, parts):
        span = document.locate(path)
        line = None if document.argument(span.line) else span.line
        name = dotted(path)
        found.append(_of_key(name, value, document.where(span), name, line, kind))
    # Required in a table that is not there.
    default = None if field.is_required() else field.get_default()
    return found or [_of_key(wanted, default, UNSET, wanted, None, kind)]


def _set_at(data: Any, parts: KeyPath, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Each place in a spec that `parts` leads to, with its value; it may leave out the numbers of a list."""
    if is_array(data) and parts and not isinstance(parts[0], int):
        for number, item in enumerate(data):
            yield from _set_at(item, parts, (*path, number))
    elif not parts:
        yield path, data
    else:
        children: dict[Any, Any] = dict(enumerate(data)) if is_array(data) else {}
        children = data if is_table(data) else children
        if parts[0] in children:
            yield from _set_at(children[parts[0]], parts[1:], (*path, parts[0]))


def _unknown(document: Document, wanted: str, paths: Sequence[str]) -> Diagnostic:
    """What a name may mean: a key of another method, one of another table, another tool's word, a misspelt one."""
    word = wanted.rpartition(".")[2]
    own = document.data.get("method", {}).get("kind", "full")
    kinds = [kind for kind in METHODS if field_at(_parts(INDEX.sub("", wanted)), kind)]
    at_home = [f"{home}.{word}" if home else word for home in homes(word)]
    near = nearest(wanted, [*paths, *(name.path for name in names())])
    hint = "`ftc explain SPEC` lists them"
    if kinds and own not in kinds:
        needs = choice([f'kind = "{kind}"' for kind in kinds])
        hint = f'it has no meaning with kind = "{own}", but with {needs}'
    elif word.lower() in RENAMED:
        hint = f"it is called `{RENAMED[word.lower()]}` here"
    elif word.lower() in NO_KEY:
        hint = f"there is no such key: {NO_KEY[word.lower()]}"
    elif at_home:
        hint = f"did you mean {choice([f'`{path}`' for path in at_home])}?"
    elif near:
        hint = f"did you mean `{near}`?"
    message = f"no value is called `{wanted}`"
    return Diagnostic("unknown-key", message, document.path, hints=(hint,))


def _explained(document: Document, path: str, value: Value[Any]) -> Explained:
    kind, detail = value.origin.kind, value.origin.detail
    key = detail if kind in ("spec", "default") else None
    span = document.key(_parts(key)) if key and kind == "spec" else None
    method = document.data.get("method", {}).get("kind", "full")
    origin = str(value.origin)
    if span is not None:
        origin = document.where(span)
    line = span.line if span and not document.argument(span.line) else None
    return _of_key(path, value.value, origin, key, line, method)


def _of_key(
    path: str, value: Any, origin: str, key: str | None, line: int | None, method: str
) -> Explained:
    """A value with what the language says of its key."""
    parts = _parts(key) if key else ()
    field = field_at(parts, method) if key else None
    return Explained(
        path,
        value,
        origin,
        key,
        line,
        (field.description or "") if field else "",
        str(extra(field).get("unit", "")) if field else "",
        changes(parts) if key else "",
    )


def _parts(path: str) -> KeyPath:
    return tuple(int(p) if p.isdigit() else p for p in re.split(r"[.\[\]]+", path) if p)


def show(explained: list[Explained], *, details: bool, width: int | None = None) -> str:
    """A line a value, in columns; with `details` its help and what a change of it means.

    `width`: of a terminal; where a line has no room there, the origin goes to a line of its own.
    """
    rows = [(e.path, *_value_and_origin(e)) for e in explained]
    first = max((len(path) for path, _, _ in rows), default=0)
    second = max((len(value) for _, value, _ in rows), default=0)
    if width:
        second = min(second, max(8, width - first - ORIGIN - 4))
    lines: list[str] = []
    for e, (path, value, origin) in zip(explained, rows, strict=True):
        line = f"{path:<{first}}  {value:<{second}}  {origin}".rstrip()
        if width and cells(line) > width:
            lines += [_cut(f"{path:<{first}}  {value}".rstrip(), width), *_wrapped(origin, width)]
        else:
            lines.append(line)
        for text in (e.help, CHANGES.get(e.changes, "")) if details else ():
            lines += _wrapped(text, width) if text else []
    return "\n".join(lines) + "\n"


ORIGIN = 22  # columns that most origins have room in


def _wrapped(text: str, width: int | None) -> list[str]:
    """A text, indented, in lines that fit."""
    if width is None:
        return [f"    {text}"]
    return wrap(
        text, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    )


def _cut(line: str, width: int) -> str:
    return line if cells(line) <= width else f"{line[: width - 1]}…"


def as_json(explained: list[Explained], warnings: Sequence[Diagnostic]) -> str:
    """The values for programs, and what deserves a word."""
    said = json.loads(diagnostics_as_json(warnings))
    content = {"values": [asdict(value) for value in explained], "warnings": said}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _value_and_origin(explained: Explained) -> tuple[str, str]:
    if explained.origin != UNSET:
        return _value(explained), explained.origin
    return f"{UNSET}; default {_value(explained)}" if explained.value is not None else UNSET, ""


def _value(explained: Explained) -> str:
    value = explained.value
    text = json.dumps(value, ensure_ascii=False) if is_table(value) else toml(value)
    text = visible(text if len(text) <= 48 else text[:47] + "…")
    unit = explained.unit.removesuffix("s") if value == 1 else explained.unit
    return f"{text} {unit}".rstrip()
