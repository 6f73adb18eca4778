"""The runtime's files: what a lock is about, and what a run with vendor_runtime carries."""

from __future__ import annotations

from functools import cache

from ..catalog.presets import resource

VENDORED = "ftc/"  # where they go in the run directory
PACKAGE = b'"""The runtime of this run, as it was when the run was compiled."""\n'


@cache
def runtime_files() -> dict[str, bytes]:
    """Path below the runtime's folder -> content, sorted by path, of what a run imports."""
    folder = resource("runtime")
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".json"))
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in names.items() if name[:6] != "tools/"}


def vendored_files() -> dict[str, bytes]:
    """The package `ftc` of a run directory. Python finds it before an installed one."""
    runtime = {f"{VENDORED}runtime/{path}": text for path, text in runtime_files().items()}
    return {f"{VENDORED}__init__.py": PACKAGE, **runtime}
