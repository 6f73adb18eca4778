"""Syntax errors as diagnostics, with hints that hold: what one proposes is judged before it is said."""

from __future__ import annotations

import re
import tomllib

from ..diagnostics.diagnostic import Diagnostic
from ..document.load import Document, SpecSyntaxError
from ..document.scanner import START
from ..facts.gather import gather
from ..spec.data import Data
from .partial import judge


def diagnostics(error: SpecSyntaxError) -> list[Diagnostic]:
    """One for each syntax error."""
    return [_diagnostic(each) for each in (error, *error.others)]


def _diagnostic(error: SpecSyntaxError) -> Diagnostic:
    message, hints = error.message, (error.hint,) if error.hint else ()
    if error.mended is not None and (better := _judged(error, error.mended)):
        message = message.replace("the text `", "`").replace(
            "` needs quotes", "` is not a TOML value"
        )
        hints = better
    return Diagnostic(
        error.kind,
        message,
        error.path,
        error.span.line if error.line or error.span != START else 0,
        error.span.column,
        error.span.end_column,
        source=error.line or None,
        hints=hints,
    )


def _judged(error: SpecSyntaxError, mended: str) -> tuple[str, ...]:
    """The hints of what would be wrong with the line if the error's hint were followed; none if it would be right."""
    document = Document(error.path, mended, tomllib.loads(mended))
    spec, found, document = judge(document)
    no_data = Data.model_construct(
        train=[]
    )  # files may be large, and no text for a key depends on them
    facts = gather(spec.model_copy(update={"data": no_data}), document)
    here = [
        d
        for d in (*found, *facts.problems)
        if d.line == error.span.line and not d.code.startswith("missing-")
    ]
    if error.hint and "[...]" in error.hint:  # what is in the list is not judged
        here = [d for d in here if d.code == "unknown-key"]
    line = mended.split("\n")[error.span.line - 1]
    return tuple(_whole(hint, line) for diagnostic in here for hint in diagnostic.hints)


NAMED = re.compile(r"(?:called|did you mean) `(\w+)`|^`(\w+)` belongs")


def _whole(hint: str, line: str) -> str:
    """The hint at another name or place with the value as TOML has it, which the spec does not have yet."""
    named, value = NAMED.search(hint), line.partition("=")[2].strip()
    if not named or value in ("", "[]") or re.search("write `|it takes|leave it out", hint):
        return hint
    return f"{hint.rstrip('?')}: write `{named[1] or named[2]} = {value}`"
