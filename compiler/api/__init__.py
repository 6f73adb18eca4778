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

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .library import *  # noqa: F403 - what its __all__ says


def __getattr__(name: str) -> Any:
    if name != "runtime":  # which `from ftc import runtime` looks for before it is imported
        library = import_module("ftc.library")
        if name in ("__all__", *library.__all__):
            return getattr(library, name)
    raise AttributeError(f"module 'ftc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return import_module("ftc.library").__all__
