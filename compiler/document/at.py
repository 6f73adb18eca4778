"""A diagnostic at a key of a document."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ..diagnostics.diagnostic import Diagnostic, KeyPath, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .load import Document
    from .scanner import Span


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
