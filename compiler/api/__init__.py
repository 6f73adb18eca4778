"""ftc as a library: what the command line does, as functions that return values.

    import ftc

    run = ftc.compile("spec.toml", "runs/first")
    print(run.summary)
    ftc.write(run)

Nothing is printed. What is wrong with a spec is raised as `CompileError`, which carries every
problem as a `Diagnostic`. This module is the package `ftc` itself. It imports nothing before a
name is asked for, because the process that trains imports `ftc.runtime` and needs no compiler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftc.library import (
        Compilation,
        CompileError,
        Diagnostic,
        Difference,
        Explained,
        File,
        Finding,
        Plan,
        __version__,
        check,
        compile,
        diff,
        explain,
        schema,
        verify,
        write,
    )

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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ftc' has no attribute {name!r}")
    from ftc import library

    return getattr(library, name)


def __dir__() -> list[str]:
    return __all__
