"""The functions of `import ftc`: what the command line does, values in and values out.

A spec is named by its path. `settings` change values of it for this call, as `--set` does:
`{"optim.learning_rate": 1e-4, "data.train[0].max_samples": 100}`. Nothing is printed. What is wrong
is raised as CompileError, which carries every problem.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .compiler.diagnostics.diagnostic import CompileError, Diagnostic
from .compiler.diff.compare import compare
from .compiler.diff.difference import Difference
from .compiler.document.load import Document
from .compiler.document.write_toml import toml
from .compiler.emit.files import File
from .compiler.pipeline.compile import Compiled, compile_document, compile_for, load
from .compiler.pipeline.set_values import override
from .compiler.plan.explain import Explained
from .compiler.plan.explain import explain as explained
from .compiler.plan.plan import Plan
from .compiler.run_dir.verify import Finding, verify_run
from .compiler.run_dir.write import write as write_files
from .compiler.spec.json_schema import schema
from .compiler.version import VERSION

__all__ = [
    "Compilation",
    "CompileError",
    "Diagnostic",
    "Difference",
    "Explained",
    "File",
    "Finding",
    "Plan",
    "__version__",
    "check",
    "compile",
    "diff",
    "explain",
    "schema",
    "verify",
    "write",
]

__version__ = VERSION
PathLike = str | os.PathLike[str]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Compilation(Mapping[str, File]):
    """A compiled spec: a mapping from each path in the run directory to its `File`.

    `folder` is the run directory that it was compiled for. Nothing is there before `write`.
    """

    folder: Path
    compiled: Compiled

    @property
    def plan(self) -> Plan:
        """Every value of the run, each with its origin."""
        return self.compiled.plan

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What deserves a word, though nothing is wrong."""
        return self.compiled.warnings

    @property
    def summary(self) -> str:
        """The run in a sentence."""
        return self.plan.summary.value

    def __getitem__(self, path: str) -> File:
        return self.compiled.files[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.compiled.files)

    def __len__(self) -> int:
        return len(self.compiled.files)

    def __repr__(self) -> str:
        """Three lines: the whole would be every file and value."""
        plan, warned = self.plan, len(self.warnings)
        words = f"{plan.method.kind.value} of {plan.model.base.value}"
        return (
            f"<Compilation of {plan.name.value}: {words}\n"
            f"  {len(self)} files for {self.folder}\n"
            f"  {warned} warning{'s' * (warned != 1)}; see .summary, .plan, .warnings, .explain()>"
        )


def compile(
    spec: PathLike, output: PathLike | None = None, *, settings: Settings | None = None
) -> Compilation:
    """Compiles a spec for the run directory `output` (`runs/NAME` if None). Writes nothing."""
    document = _document(spec, settings)
    folder = default_folder(document) if output is None else Path(output)
    return Compilation(folder, compile_for(document, os.fspath(spec), folder))


def write(compilation: Compilation, *, force: bool = False) -> list[str]:
    """Writes a run directory, whole or not at all; the paths of what is new or changed.

    What a run has produced in its directory stays. A generated file that was edited is not
    overwritten, unless `force` is set: that is a CompileError, too.
    """
    return write_files(compilation.compiled.files, compilation.folder, force=force)


def check(spec: PathLike, *, settings: Settings | None = None) -> tuple[Diagnostic, ...]:
    """Every problem of a spec, errors and warnings, by place; none if all is fine.

    Problems are the answer here, so no CompileError is raised for them.
    """
    try:
        return compile_document(_document(spec, settings)).warnings
    except CompileError as error:
        return error.diagnostics


def explain(
    spec: PathLike, key: str | None = None, *, settings: Settings | None = None
) -> list[Explained]:
    """Every decided value of a spec with its origin, or those of one key or table."""
    document = _document(spec, settings)
    return explained(document, compile_document(document).plan, key)


def diff(old: PathLike, new: PathLike) -> Difference:
    """What changes between two specs, run directories, or either in git (`REV:PATH`).

    It is false if nothing changes; `str()` of it is what `ftc diff` prints.
    """
    return compare(os.fspath(old), os.fspath(new))


def verify(run: PathLike) -> list[Finding]:
    """What of a run directory is no longer what was compiled; nothing if all is."""
    return verify_run(Path(run))


def default_folder(document: Document) -> Path:
    """Where a run goes if nobody says where."""
    return Path("runs") / str(document.data.get("name", "run"))


def _document(spec: PathLike, settings: Settings | None) -> Document:
    """The spec with its settings."""
    given = [f"{key}={toml(value)}" for key, value in (settings or {}).items()]
    return override(load(os.fspath(spec)), given)
