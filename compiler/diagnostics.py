"""Diagnostics: what is wrong in a spec, where, and how to mend it.

A diagnostic is a value. Stages collect them in lists and nothing is raised or printed before all are
known; `CompileError` carries the list to whoever asked for the compilation.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .load import Document, Span

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Diagnostic:
    """One problem at one place.

    `line` and `column` are 1-based and count characters; `end_column` is exclusive. `source` is the
    line of text that the place is on (None where there is no text, as for a missing file). `notes`
    are further places that take part: (line, text) pairs.
    """

    code: str
    message: str
    path: str
    line: int = 1
    column: int = 1
    end_column: int = 1
    source: str | None = None
    notes: tuple[tuple[int, str], ...] = ()
    hints: tuple[str, ...] = ()
    severity: Severity = "error"

    def __str__(self) -> str:
        head = f"{self.path}:{self.line}:{self.column}: {self.severity}[{self.code}]: {self.message}"
        lines = [head]
        if self.source is not None:
            lines += snippet(self.line, self.column, self.end_column, self.source)
        lines += [f"  note: line {line}: {text}" for line, text in self.notes]
        lines += [f"  hint: {hint}" for hint in self.hints]
        return "\n".join(lines)


MAX_SNIPPET = 110  # characters of a source line that are shown


def snippet(line: int, column: int, end_column: int, source: str) -> list[str]:
    """The source line with carets under columns [column, end_column), control characters made visible."""
    start = max(0, column - 1 - MAX_SNIPPET // 2) if len(source) > MAX_SNIPPET else 0
    window = "".join(c if c.isprintable() else " " if c == "\t" else "�" for c in source)[
        start : start + MAX_SNIPPET
    ]
    gutter = " " * len(str(line))
    width = max(1, min(end_column - column, len(window) - (column - 1 - start)))
    return [
        f"  {line} | {window}".rstrip(),
        f"  {gutter} | {' ' * (column - 1 - start)}{'^' * width}",
    ]


class CompileError(Exception):
    """A spec that can't be compiled. `diagnostics` has every problem, sorted by place."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = sort(diagnostics)
        super().__init__("\n\n".join(str(d) for d in self.diagnostics))


def sort(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """By place, then code; doubles (the same thing said twice of one place) are dropped."""
    unique = {(d.path, d.line, d.column, d.code, d.message): d for d in diagnostics}
    return tuple(unique[key] for key in sorted(unique))


def at(
    document: Document,
    path: Sequence[str | int],
    code: str,
    message: str,
    *,
    on: Literal["key", "value"] = "key",
    hints: Sequence[str] = (),
    notes: Sequence[tuple[Sequence[str | int], str]] = (),
    severity: Severity = "error",
) -> Diagnostic:
    """A diagnostic at the key (or the value) that `path` names in the document.

    `notes` name further key paths; a path that the document lacks is left out.
    """
    span: Span | None = document.value(path) if on == "value" else None
    span = span or document.locate(path)
    places = [(document.key(other), text) for other, text in notes]
    return Diagnostic(
        code=code,
        message=message,
        path=document.path,
        line=span.line,
        column=span.column,
        end_column=span.end_column,
        source=document.line(span.line),
        notes=tuple((place.line, text) for place, text in places if place is not None),
        hints=tuple(hints),
        severity=severity,
    )


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` is most likely a misspelling of, or None if none is close."""
    matches = get_close_matches(word, list(candidates), n=1, cutoff=0.7)
    return matches[0] if matches else None
