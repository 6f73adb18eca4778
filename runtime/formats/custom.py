"""A format of the user's own: a function in a file that the run carries."""

import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import RunError
from ..rows import Content, Conversation, Dropped, Preference, Row, Tokens
from .conversations import conversation, messages
from .values import kind


def custom(name: str) -> Callable[[Row], Content]:
    """`FILE.py:FUNCTION` as a format.

    The function takes a row and returns a list of messages, a row of the format messages (with
    `tools`, say) or conversation, a text, a value of `ftc.runtime.rows`, or None to leave the row out.
    What it raises becomes a ValueError that names the line. Raises RunError if the file can't be run,
    or has no such function.
    """
    file, _, function = name.rpartition(":")
    call: Any = getattr(_module(file), function, None)
    if not callable(call):
        raise RunError("bad-format", f"{file} has no function `{function}`", where=file)

    def convert(row: Row) -> Content:
        try:
            returned = call(row)
        except Dropped:
            raise
        except Exception as error:  # a stranger's code may raise anything
            raise ValueError(f"`{function}` {_said(error, file)}") from error
        return _content(returned, function)

    return convert


def _module(file: str) -> ModuleType:
    """The file, run as a module."""
    path = Path(file)
    if not path.is_file():
        raise RunError(
            "missing-file", "the file of a format is gone", "compile the spec again", where=file
        )
    name = f"ftc_format_{path.stem}"  # no import by this name replaces anything
    spec = spec_from_file_location(name, path, loader=SourceFileLoader(name, file))
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)  # dataclasses look their module up there
    keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # no __pycache__ in a run
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a stranger's code may raise anything
        raise RunError("bad-format", _said(error, file), where=file) from error
    finally:
        sys.dont_write_bytecode = keep
    return module


def _said(error: Exception, file: str) -> str:
    """`raised KeyError: 'answer' (my_formats.py:12)`: the innermost line that is in the file."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == Path(file).name]
    place = f" ({file}:{lines[-1]})" if lines else ""
    return f"raised {type(error).__name__}: {error}{place}"


def _content(value: Any, function: str) -> Content:
    """What a function may return, checked."""
    if value is None:
        raise Dropped(f"left out by `{function}`")
    if isinstance(value, str | Preference):
        return value
    if isinstance(value, Tokens):
        return _tokens(value, function)
    try:
        if isinstance(value, Conversation):
            found = messages(vars(value))
            return replace(found, unread=tuple(dict.fromkeys(value.unread + found.unread)))
        if isinstance(value, list):
            return messages({"messages": value})
        if isinstance(value, dict) and "messages" in value:
            return messages(value)
        if isinstance(value, dict) and "conversation" in value:
            return conversation(value)
    except ValueError as error:
        raise ValueError(f"what `{function}` returned: {error}") from None
    raise ValueError(
        f"`{function}` must return a list of messages, a text, or None; what it returned is {kind(value)}"
    )


def _tokens(value: Tokens, function: str) -> Tokens:
    """Tokens as lists, whatever held them: lists, arrays, tensors."""
    import numpy as np  # which the compiler, that reads rows by the other formats, does without

    if not np.size(value.ids):
        raise Dropped("no tokens")
    ids, loss = np.array(value.ids), np.array(value.loss)
    if ids.dtype.kind not in "iu" or loss.dtype.kind != "b" or ids.shape != loss.shape[:1]:
        raise ValueError(
            f"`{function}` must return Tokens with a list of whole numbers, and one as long of true or false"
        )
    return Tokens(ids.tolist(), loss.tolist())
