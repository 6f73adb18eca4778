"""Diagnostics as text on stderr, or for machines as JSON or SARIF 2.1.0 on stdout."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar
from urllib.parse import quote

import click

from ..diagnostics.codes import MEANINGS
from ..diagnostics.diagnostic import MOST, CompileError, Diagnostic, shorten
from ..diagnostics.secrets import mask
from ..diagnostics.tree import is_table, is_tuple
from ..run_dir.lock import tool_version

T = TypeVar("T")
Format = Literal["text", "json", "sarif"]
FORMATS: tuple[Format, ...] = ("text", "json", "sarif")
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def report(diagnostics: Sequence[Diagnostic], form: Format = "text") -> None:
    """Every diagnostic. As text each stands apart, its severity in colour on a terminal."""
    if form != "text":
        click.echo(MACHINE[form](diagnostics), nl=False)
        return
    for diagnostic in diagnostics[:MOST]:
        text = str(diagnostic)
        colour = "red" if diagnostic.severity == "error" else "yellow"
        marker = f"{diagnostic.severity}[{diagnostic.code}]"
        click.echo(text.replace(marker, click.style(marker, fg=colour, bold=True), 1), err=True)
        click.echo(err=True)
    if len(diagnostics) > MOST:
        click.echo(f"{len(diagnostics) - MOST:,} more are not shown.\n", err=True)


def columns() -> int | None:
    """How wide a terminal is that reads stdout; None where nothing is to be wrapped, as in a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def without_advice(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """The diagnostics without those that `ftc check` and `ftc compile` show: else every command would."""
    advice = ("unpinned", *ESTIMATES)
    return [diagnostic for diagnostic in diagnostics if diagnostic.code not in advice]


# Warnings by the bytes of the rows, which whoever counts their tokens gives again.
ESTIMATES = ("few-steps", "many-dropped")


def short_pins(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """The diagnostics with one short word for all on pins of a spec."""
    unpinned = Counter(d.path for d in diagnostics if d.code == "unpinned")
    words = [
        Diagnostic(
            "unpinned",
            "what this run takes of the Hub is not pinned to a commit, so it may change"
            if number == 1
            else f"{number} things that this run takes of the Hub are not pinned, so they may change",
            path,
            hints=(f"`ftc check {shlex.quote(path)}` shows how to pin",),
            severity="warning",
        )
        for path, number in unpinned.items()
    ]
    others = [diagnostic for diagnostic in diagnostics if diagnostic.code != "unpinned"]
    return [*others, *words]


def fail(diagnostics: Sequence[Diagnostic], form: Format = "text") -> NoReturn:
    """Every diagnostic, how many there are, and the end of the process."""
    report(diagnostics, form)
    if form == "text":
        counts: list[str] = []
        for severity in ("error", "warning"):
            number = sum(d.severity == severity for d in diagnostics)
            counts += [f"{number:,} {severity}{'' if number == 1 else 's'}"] if number else []
        click.echo(f"{', '.join(counts)}. Nothing was written.", err=True)
    sys.exit(2)


def attempt(action: Callable[[], T], form: Format = "text") -> T:
    """The action's result, or the end of the process with every error."""
    try:
        return action()
    except CompileError as error:
        fail(error.diagnostics, form)


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
    driver = {"name": "ftc", "version": tool_version(), "rules": rules}
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
