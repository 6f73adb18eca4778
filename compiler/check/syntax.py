"""Syntax errors as diagnostics, with hints that hold: what one proposes is judged before it is said."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace

from ..diagnostics.diagnostic import Diagnostic
from ..document.load import Document
from ..facts.gather import gather
from ..spec.data import Data
from .partial import judge


def judged(error: Diagnostic, mended: str) -> Diagnostic:
    """The syntax error with the hints of what would be wrong with its line in `mended`, if there are any."""
    hints = _hints(error, mended)
    if not hints:
        return error
    message = error.message.replace("the text `", "`")
    message = message.replace("` needs quotes", "` is not a TOML value")
    return replace(error, message=message, hints=hints)


def _hints(error: Diagnostic, mended: str) -> tuple[str, ...]:
    document = Document(error.path, mended, tomllib.loads(mended))
    spec, found, document = judge(document)
    # Files may be large, and no text for a key depends on them.
    no_data = Data.model_construct(train=[])
    facts = gather(spec.model_copy(update={"data": no_data}), document)
    here = [
        d
        for d in (*found, *facts.problems)
        if d.line == error.line and not d.code.startswith("missing-")
    ]
    if any("[...]" in hint for hint in error.hints):  # what is in the list is not judged
        here = [d for d in here if d.code == "unknown-key"]
    line = mended.split("\n")[error.line - 1]
    return tuple(_whole(hint, line) for diagnostic in here for hint in diagnostic.hints)


NAMED = re.compile(r"(?:called|did you mean) `(\w+)`|^`(\w+)` belongs")


def _whole(hint: str, line: str) -> str:
    """The hint at another name or place with the value as TOML has it, which the spec does not have yet."""
    named, value = NAMED.search(hint), line.partition("=")[2].strip()
    if not named or value in ("", "[]") or re.search("write `|it takes|leave it out", hint):
        return hint
    return f"{hint.rstrip('?')}: write `{named[1] or named[2]} = {value}`"
