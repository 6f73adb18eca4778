"""Diagnostics for machines: JSON, and SARIF 2.1.0."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..version import VERSION
from .codes import MEANINGS
from .diagnostic import MOST, Diagnostic
from .secrets import mask
from .snippet import shorten
from .tree import is_table, is_tuple

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_json(diagnostics: Sequence[Diagnostic]) -> str:
    """A list of objects with the fields of Diagnostic; secrets are masked as in the text."""
    return _dump([_masked(asdict(_capped(diagnostic))) for diagnostic in _first(diagnostics)])


LONGEST = 2000  # characters of a text in JSON and SARIF


def _first(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """The first of very many, with one that counts the others."""
    shown, others = list(diagnostics[:MOST]), diagnostics[MOST:]
    if others:
        errors = [diagnostic for diagnostic in others if diagnostic.severity == "error"]
        first = (errors or list(others))[0]
        message = f"{len(others):,} more problems are not shown, this is the place of the first"
        shown.append(
            Diagnostic(
                "too-many",
                message,
                first.path,
                first.line,
                first.column,
                first.column + 1,
                severity=first.severity,
            )
        )
    return shown


def _capped(diagnostic: Diagnostic) -> Diagnostic:
    """The diagnostic with its texts shortened; a source line that is too long is left out."""
    source = diagnostic.source
    return replace(
        diagnostic,
        message=shorten(diagnostic.message),
        notes=tuple(map(shorten, diagnostic.notes)),
        hints=tuple(map(shorten, diagnostic.hints)),
        source=source if source is None or len(source) <= LONGEST else None,
        argument=shorten(diagnostic.argument) if diagnostic.argument else None,
    )


def as_sarif(diagnostics: Sequence[Diagnostic]) -> str:
    """A log with one run (OASIS SARIF 2.1.0), as code hosts and editors take it."""
    diagnostics = _first(diagnostics)
    codes = sorted({diagnostic.code for diagnostic in diagnostics})
    rules = [{"id": code, "shortDescription": {"text": MEANINGS[code]}} for code in codes]
    driver = {"name": "ftc", "version": VERSION, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(diagnostic, codes) for diagnostic in diagnostics],
    }
    return _dump({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


MACHINE: dict[str, Callable[[Sequence[Diagnostic]], str]] = {"json": as_json, "sarif": as_sarif}


def _result(diagnostic: Diagnostic, codes: list[str]) -> dict[str, Any]:
    diagnostic = _capped(diagnostic)
    place, argument = _place(diagnostic), diagnostic.argument
    text = [f"{argument}: {diagnostic.message}" if argument else diagnostic.message]
    text += [f"note: {note}" for note in diagnostic.notes]
    text += [f"hint: {hint}" for hint in diagnostic.hints]
    return {
        "ruleId": diagnostic.code,
        "ruleIndex": codes.index(diagnostic.code),
        "level": diagnostic.severity,
        "message": {"text": mask("\n".join(text))},
        "locations": [place],
    }


def _place(diagnostic: Diagnostic) -> dict[str, Any]:
    """A place in a file; for an argument of the command line, the file that it changes."""
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(diagnostic.path)}}
    if diagnostic.line:
        place["region"] = _region(diagnostic)
    named = [{"fullyQualifiedName": mask(diagnostic.argument)}] if diagnostic.argument else []
    return {"physicalLocation": place, **({"logicalLocations": named} if named else {})}


def _region(diagnostic: Diagnostic) -> dict[str, Any]:
    region: dict[str, Any] = {
        "startLine": diagnostic.line,
        "startColumn": diagnostic.column,
        "endColumn": diagnostic.end_column,
    }
    if diagnostic.source is not None:
        region["snippet"] = {"text": mask(diagnostic.source)}
    return region


def _uri(path: str) -> str:
    """A relative path stays relative, as code hosts want it; SARIF gives absolute ones a scheme."""
    if Path(path).is_absolute():
        return Path(path).as_uri()
    return quote(os.fsencode(Path(path).as_posix()))


def _masked(value: Any) -> Any:
    if is_table(value):
        return {key: _masked(item) for key, item in value.items()}
    if is_tuple(value):
        return [_masked(item) for item in value]
    return mask(value) if isinstance(value, str) else value


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
