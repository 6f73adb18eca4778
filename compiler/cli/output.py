"""Diagnostics as text on stderr, or for machines as JSON or SARIF 2.1.0 on stdout."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NoReturn, TypeVar

import click

from ..diagnostics.diagnostic import MOST, CompileError, Diagnostic
from ..diagnostics.machine import MACHINE

T = TypeVar("T")
Format = Literal["text", "json", "sarif"]
FORMATS: tuple[Format, ...] = ("text", "json", "sarif")


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
