"""A value as a spec would have it."""

from __future__ import annotations

from typing import Any

from ..diagnostics.tree import is_array, is_table, is_tuple


def toml(value: Any) -> str:
    """A value as a spec would have it, on one line; a table is only named."""
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value))}"'
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if is_table(value):
        return "a table"
    if is_array(value) or is_tuple(value):
        items = [toml(item) for item in value]
        return "a list of tables" if "a table" in items else f"[{', '.join(items)}]"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def _escaped(character: str) -> str:
    """In a basic string of TOML 1.0, which holds no control character as it is."""
    if character in ESCAPES:
        return ESCAPES[character]
    return f"\\u{ord(character):04X}" if character < " " or character == "\x7f" else character
