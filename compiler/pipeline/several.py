"""Specs -> compiled runs, each with its directory; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..diagnostics.diagnostic import CompileError, Diagnostic
from ..document.at import at
from ..document.load import Document
from .compile import Compiled, compile_document, compile_for, load
from .set_values import override


class Target(NamedTuple):
    """A spec, and the run directory that it is compiled for."""

    spec: Path
    document: Document
    folder: Path


class Checked(NamedTuple):
    """A spec without errors."""

    spec: Path
    document: Document
    compiled: Compiled


def check_each(
    specs: Sequence[Path], settings: Sequence[str]
) -> tuple[list[Checked], list[Diagnostic]]:
    """The specs without errors, and the problems of the others."""
    found: list[Checked] = []
    problems: list[Diagnostic] = []
    for spec in dict.fromkeys(specs):
        try:
            document = override(load(spec), settings)
            found.append(Checked(spec, document, compile_document(document)))
        except CompileError as error:
            problems += error.diagnostics
    return found, problems


def compile_each(
    specs: Sequence[Path], output: Path | None, settings: Sequence[str]
) -> list[tuple[Path, Compiled]]:
    """Each spec compiled, with its run directory. Raises CompileError with the problems of all."""
    targets: list[Target] = []
    compiled: list[tuple[Path, Compiled]] = []
    problems: list[Diagnostic] = []
    for spec in specs:
        try:
            document = override(load(spec), settings)
            name = str(document.data.get("name", "run"))
            several = output and len(specs) > 1
            folder = output / name if output and several else output or Path("runs") / name
            compiled.append((folder, compile_for(document, spec, folder)))
            targets.append(Target(spec, document, folder))
        except CompileError as error:
            problems += error.diagnostics
    problems += _same_output(targets)
    if problems:
        raise CompileError(problems)
    return compiled


def _same_output(targets: Sequence[Target]) -> list[Diagnostic]:
    """The specs that would be written over others."""
    found: list[Diagnostic] = []
    first: dict[Path, Target] = {}
    for target in targets:
        other = first.setdefault(target.folder.resolve(), target)
        if other.spec.resolve() == target.spec.resolve():  # one file, named twice: the same run
            continue
        name = target.document.data["name"]
        alone = "compile each alone, with an -o of its own"
        found.append(
            at(
                target.document,
                ("name",),
                "same-output",
                f"{target.spec} and {other.spec} would be written to one directory, {target.folder}",
                on="value",
                why=f'both have name = "{name}", and a run directory is called after its spec\'s name',
                hints=["give one of them another name", f"or {alone}"],
            )
        )
    return found
