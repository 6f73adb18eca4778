"""Formats of the user's own: a Python file is looked at, never run, when a spec is compiled."""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from ..diagnostics.guess import nearest
from .unusable import Unusable

CUSTOM = re.compile(r"(?P<file>.+\.py):(?P<function>[^:/]*)")
LIMIT = 1_000_000  # bytes of a file that is copied into the run


class FormatFile(NamedTuple):
    """The file of a format, and the function in it. The run carries a copy."""

    path: Path
    function: str
    content: bytes
    sha256: str


def custom(name: str, folder: Path) -> FormatFile | None:
    """The function `FILE.py:FUNCTION`; None if `name` is not of that form.

    The file must be Python, and have a function of that name at top level that takes one row. Raises
    Unusable.
    """
    match = CUSTOM.fullmatch(name)
    if match is None:
        return None
    path, function = folder / match["file"], match["function"]
    content = _content(match["file"], path)
    _check(_parse(content, path), function, path)
    return FormatFile(path, function, content, hashlib.sha256(content).hexdigest())


def _content(name: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        there = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        near = nearest(path.name, there)
        hints = [f'did you mean "{Path(name).with_name(near).as_posix()}"?'] if near else []
        why = f": {error.strerror}" if isinstance(error, OSError) and path.exists() else ""
        raise Unusable(
            "missing-file",
            f"{name} can't be read{why}" if why else f"there is no file {name}",
            *hints,
            "paths are relative to the spec's folder",
            key="format",
        ) from None
    if len(content) > LIMIT:
        message = f"{name} is larger than {LIMIT:,} bytes, and the run carries a copy"
        raise Unusable(
            "bad-format", message, "keep the function in a file of its own", key="format"
        )
    return content


def _parse(content: bytes, path: Path) -> ast.Module:
    hint = "mend it: the run carries a copy of this file"
    try:
        return ast.parse(content, path.name)
    except SyntaxError as error:
        lines = content.decode("utf-8", "replace").splitlines()
        line = min(max(error.lineno or 1, 1), max(len(lines), 1))
        place = (line, max(error.offset or 1, 1), lines[line - 1] if lines else "")
        message = f"not Python: {error.msg}"
        raise Unusable("bad-format", message, hint, key="format", place=place, file=path) from None
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes, deep nesting
        raise Unusable("bad-format", f"not Python: {error}", hint, key="format") from None


def _check(module: ast.Module, function: str, path: Path) -> None:
    """A function of that name stands at top level and can be called with one row."""
    functions = {n.name: n for n in module.body if isinstance(n, ast.FunctionDef)}
    found = functions.get(function)
    if found is None:
        raise _no_function(module, function, list(functions), path.name)
    arguments = found.args
    required = len(arguments.posonlyargs + arguments.args) - len(arguments.defaults)
    named = sum(default is None for default in arguments.kw_defaults)
    takes = len(arguments.posonlyargs + arguments.args) + bool(arguments.vararg)
    if required > 1 or named or not takes:
        count = f"{required + named} arguments" if takes else "no argument"
        place = (found.lineno, found.col_offset + 1, ast.unparse(found).splitlines()[0])
        message = f"`{function}` takes {count}; it is called with one, the row"
        hint = f"begin it with `def {function}(row):`"
        raise Unusable("bad-format", message, hint, key="format", place=place, file=path)


def _no_function(module: ast.Module, function: str, functions: list[str], file: str) -> Unusable:
    message = f"{file} has no function `{function}` at top level"
    for node in module.body:
        if isinstance(node, ast.AsyncFunctionDef | ast.ClassDef) and node.name == function:
            kind = "a class" if isinstance(node, ast.ClassDef) else "an async function"
            message = f"`{function}` in {file} is {kind}, not a function"
    near = nearest(function, functions)
    if near:
        hints = [f'did you mean "{file}:{near}"?']
    elif functions:
        hints = [f"it has {', '.join(functions[:10])}"]
    else:
        hints = [f"write one: `def {function or 'convert'}(row): ...`"]
    return Unusable("bad-format", message, *hints, key="format")
