"""Diagnostics: what is wrong, where, and how to mend it.

A diagnostic is a value. Stages collect them in lists and nothing is raised or printed before all
are known; `CompileError` carries the list to whoever asked for the compilation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from unicodedata import combining, east_asian_width
from unicodedata import name as unicode_name

from .secrets import mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..document.load import Document
    from ..document.scanner import Span

Severity = Literal["error", "warning"]
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Diagnostic:
    """One problem at one place.

    `line` and `column` are 1-based and count characters; `end_column` is exclusive; line 0 stands
    for a file or directory as a whole, or for an `argument` of the command line, in which columns
    are counted then. `source` is the line of text that the place is on, None where there is nothing
    to show. `notes` say why it matters and what else takes part, `hints` are the ways out.
    """

    code: str
    message: str
    path: str
    line: int = 0
    column: int = 1
    end_column: int = 2
    source: str | None = None
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    severity: Severity = "error"
    argument: str | None = None

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        if self.argument:  # a long one would leave no room for what is wrong with it
            place = self.argument if len(self.argument) <= 200 else f"{self.argument[:80]} ..."
        lines = [f"{place}: {self.severity}[{self.code}]: {self.message}"]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  hint: {hint}" for hint in self.hints]
        lines = [visible(mask(shorten(line))) for line in lines]
        if self.source is not None:
            lines[1:1] = snippet(self.line, self.column, self.end_column, self.source)
        return "\n".join(lines)


MOST = 100  # problems that are shown
WIDTH = 100  # characters of a source line that are shown
LONGEST = 400  # characters of a message


def shorten(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 100]} ... {text[-80:]}"


def snippet(line: int, column: int, end_column: int, source: str) -> list[str]:
    """The source line with carets under columns [column, end_column).

    Of a long line the part around the carets is shown. Each character that a terminal would not
    print is replaced by one that it does, so that the carets stand in the right place.
    """
    start = max(0, min(column - 1 - WIDTH // 2, len(source) - WIDTH))
    head, tail = "..." if start else "", "..." if len(source) > start + WIDTH else ""
    around = max(0, start - LONGEST)  # a secret counts as one, though only its end be shown
    window = mask(source[around : start + WIDTH + LONGEST])[start - around :][:WIDTH]
    shown = "".join(c if c.isprintable() else " " if c in "\t\xa0" else "\ufffd" for c in window)
    before, marked = shown[: column - 1 - start], shown[column - 1 - start : end_column - 1 - start]
    number = str(line or "")
    gutter = " " * len(number)
    return [
        f"  {number} | {head}{shown}{tail}".rstrip(),
        f"  {gutter} | {' ' * cells(head + before)}{'^' * max(1, cells(marked))}",
    ]


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def visible(text: str) -> str:
    """The text with characters that a terminal would obey, or not show, as TOML escapes."""
    escapes = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return "".join(
        c
        if c.isprintable()
        else escapes.get(c, f"\\u{ord(c):04X}" if ord(c) < 65536 else f"\\U{ord(c):08X}")
        for c in text
    )


class CompileError(Exception):
    """A spec that can't be compiled. `diagnostics` has every problem, sorted by place."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = sort(diagnostics)
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return "\n\n".join(str(d) for d in self.diagnostics)


def sort(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """By place; doubles (the same thing said twice of one place) are dropped."""
    unique = {(*_place(d), d.code, d.message): d for d in diagnostics}
    return tuple(sorted(unique.values(), key=_place))


def _place(diagnostic: Diagnostic) -> tuple[str, int, str, int]:
    return diagnostic.path, diagnostic.line, diagnostic.argument or "", diagnostic.column


def at(
    document: Document,
    path: KeyPath,
    code: str,
    message: str,
    *,
    on: Literal["key", "value"] = "key",
    why: str = "",
    others: Sequence[tuple[KeyPath, str]] = (),
    hints: Sequence[str] = (),
    severity: Severity = "error",
) -> Diagnostic:
    """A diagnostic at the key (or the value) that `path` names in the document.

    `others` name further key paths that take part, each with what it says; a path that the document
    does not set is left out. A key that is missing is reported at the table that lacks it.
    """
    span = (document.value(path) if on == "value" else None) or document.locate(path)
    somewhere = any(document.key(path[:end]) for end in range(1, len(path) + 1))
    places = [(place.line, text) for other, text in others if (place := document.key(other))]
    notes = [
        *([why] if why else []),
        *(f"{document.argument(line) or f'line {line}'}: {text}" for line, text in places),
    ]
    found = on_span(document, span, code, message, notes, hints, severity)
    return found if somewhere else replace(found, source=None)


def on_span(
    document: Document,
    span: Span,
    code: str,
    message: str,
    notes: Sequence[str],
    hints: Sequence[str],
    severity: Severity = "error",
) -> Diagnostic:
    """A diagnostic at a place in the document, or on the command line that changed it."""
    argument = document.argument(span.line)
    return Diagnostic(
        code=code,
        message=message,
        path=document.path,
        line=0 if argument else span.line,
        column=span.column,
        end_column=span.end_column,
        source=document.line(span.line),
        notes=tuple(notes),
        hints=tuple(hints),
        severity=severity,
        argument=argument,
    )


def first_set(document: Document, *paths: KeyPath) -> KeyPath:
    """The first of the key paths that the document sets; the first of all if it sets none."""
    return next((path for path in paths if document.key(path)), paths[0])


def odd_letter(text: str) -> str:
    """What is hard to see in a text: its first letter from beyond ASCII, by name; "" if it has none."""
    odd = next((c for c in text if c.isalpha() and not c.isascii()), "")
    return f"`{odd}` is U+{ord(odd):04X}, {unicode_name(odd, 'a letter')}" if odd else ""


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` is most likely a misspelling of, or None if none is close."""
    from difflib import get_close_matches  # 4 ms that only errors need

    matches = get_close_matches(word, list(candidates), n=1, cutoff=0.7)
    return matches[0] if matches else None


def guess(word: str, candidates: Iterable[str]) -> list[str]:
    """A hint with the nearest candidate, if one is near."""
    near = nearest(word.lower(), candidates)
    return [f'did you mean "{near}"?'] if near else []
