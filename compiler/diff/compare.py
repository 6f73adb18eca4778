"""`ftc diff OLD NEW`: finds what is named, reads both sides, compares them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ..diagnostics.diagnostic import CompileError, Diagnostic
from ..pipeline.compile import compile_document, compile_for, load
from .difference import Difference, diff
from .revisions import FORM, Place, take_out
from .sides import Side, of_compiled, of_run


def compare(old: str, new: str) -> Difference:
    """What is between two sides. Raises CompileError with the problems of both.

    Each is a spec, a run directory, or one of them in a revision of git (`REV:PATH`).
    """
    problems: list[Diagnostic] = []
    with ExitStack() as stack:
        places: list[Place] = []
        for text in (old, new):
            try:
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="ftc-"))).resolve()
                places.append(find(text, folder))
            except CompileError as error:
                problems += error.diagnostics
        runs = [place.home for place in places if place.path.is_dir()]
        sides: list[Side] = []
        for place in places:
            try:
                sides.append(read(place, runs[0] if runs else None))
            except CompileError as error:
                problems += error.diagnostics
    if problems:
        raise CompileError(problems)
    return diff(*sides)


def find(text: str, folder: Path) -> Place:
    """What `text` names. What is on disk comes before what is in a revision, as with git.

    A revision's files are put into `folder`.
    """
    path = Path(text)
    if not path.exists() and FORM.fullmatch(text):
        return take_out(text, folder)
    return Place(path, path)


def read(place: Place, run: Path | None) -> Side:
    """The side that is at a place. A spec beside a run is compiled for the run's directory."""
    try:
        if place.path.is_dir():
            return of_run(place.path, "name a spec, or a directory that `ftc compile` made")
        document = load(place.path)
        if run is None:
            return of_compiled(document, compile_document(document))
        return of_compiled(document, compile_for(document, place.home, run))
    except CompileError as error:
        raise CompileError(_as_named(d, place) for d in error.diagnostics) from None


def _as_named(diagnostic: Diagnostic, place: Place) -> Diagnostic:
    """A diagnostic about a revision speaks of it, not of the temporary files."""
    if place.root is None:
        return diagnostic
    notes = tuple(place.named(note) for note in diagnostic.notes)
    if diagnostic.code in ("missing-file", "unknown-model", "unknown-chat-template"):
        where = f"revision {place.revision}" if place.revision else "what is staged"
        notes += (f"the files that a spec names are taken from {where}, too",)
    return replace(
        diagnostic,
        path=place.named(diagnostic.path),
        message=place.named(diagnostic.message),
        notes=notes,
        hints=tuple(place.named(hint) for hint in diagnostic.hints),
    )
