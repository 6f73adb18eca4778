"""A spec in, the files of a run directory out: the stages, one after the other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..check.validate import validate
from ..diagnostics.diagnostic import CompileError, Diagnostic, sort
from ..document.load import Document
from ..document.load import load as load_document
from ..emit.files import Files
from ..emit.render import render
from ..emit.verify import verify
from ..estimate.duration import of_duration
from ..estimate.memory import will_not_fit
from ..facts.gather import Facts
from ..plan.data import copied_names
from ..plan.plan import Plan
from ..plan.resolve import resolve
from ..run_dir.lock import LOCK, lock


@dataclass(frozen=True)
class Compiled:
    """A spec's whole result; nothing is on disk yet."""

    plan: Plan
    facts: Facts
    files: Files
    warnings: tuple[Diagnostic, ...]


def load(path: str | Path) -> Document:
    """Reads a spec. Raises CompileError where it is no TOML."""
    return load_document(path, _judged)


def _judged(error: Diagnostic, mended: str) -> Diagnostic:
    from ..check.syntax import judged  # the words for what is wrong take a while to load

    return judged(error, mended)


def compile_document(document: Document, spec_folder: str = "..") -> Compiled:
    """Compiles a loaded spec. `spec_folder` is the way from the run directory to the spec's folder.

    Raises CompileError with every problem.
    """
    checked = validate(document)
    plan = resolve(checked, spec_folder)
    names = copied_names(checked.facts)
    spec_name = Path(document.path).name
    files = render(plan, checked.facts, names, spec_name, document.text)
    problems = verify(files, plan)
    if problems:
        raise CompileError(problems)
    in_file = document.text if document.original is None else document.original
    files[LOCK] = lock(plan, checked.facts, files, f"{spec_folder}/{spec_name}", in_file)
    large = will_not_fit(plan, checked.facts.architecture, document)
    short = of_duration(plan, checked.facts, document)
    return Compiled(plan, checked.facts, files, sort([*checked.warnings, *large, *short]))


def compile_for(document: Document, path: str | Path, output: str | Path) -> Compiled:
    """Compiles a document, read from the spec at `path`, for a run directory at `output`."""
    spec_folder = os.path.relpath(Path(path).resolve().parent, Path(output).resolve())
    return compile_document(document, Path(spec_folder).as_posix())


def compile_file(path: str | Path, output: str | Path) -> Compiled:
    """Loads and compiles a spec for a run directory at `output`; writes nothing."""
    return compile_for(load(path), path, output)
