"""Generated Python, laid out as its formatter would where values are long."""

from __future__ import annotations

import re
from textwrap import wrap

from . import quote

CONSTANT = re.compile(r"^(?P<code>[A-Z][A-Z0-9_]* = .+)  # (?P<comment>.+)$")


def tidy(text: str) -> str:
    """Lays out lines that long values made too long: a constant's comment goes above it."""
    lines: list[str] = []
    for line in text.split("\n"):
        match = CONSTANT.match(line) if len(line) > quote.WIDTH else None
        if match is None:
            lines.append(line)
            continue
        target, value = match["code"].split(" = ", 1)
        words = wrap(
            match["comment"], quote.WIDTH - 2, break_long_words=False, break_on_hyphens=False
        )
        lines += [f"# {part}" for part in words]
        if len(match["code"]) > quote.WIDTH and len(value) + 4 <= quote.WIDTH:
            lines += [f"{target} = (", f"    {value}", ")"]
        else:
            lines.append(match["code"])
    return "\n".join(lines)
