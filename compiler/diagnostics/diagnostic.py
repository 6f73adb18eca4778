"""Diagnostics: what is wrong, where, and how to mend it.

A diagnostic is a value. Stages collect them in lists and nothing is raised or printed before all
are known; `CompileError` carries the list to whoever asked for the compilation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .secrets import mask
from .snippet import shorten, snippet, visible

if TYPE_CHECKING:
    from collections.abc import Iterable


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
