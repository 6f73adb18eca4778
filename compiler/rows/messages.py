"""What is wrong with the messages of a row, as `ftc.runtime.formats` would say when the run starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..diagnostics.diagnostic import nearest
from ..diagnostics.tree import is_array, is_table

KINDS = {str: "a text", list: "a list", dict: "a table", type(None): "null", bool: "true or false"}


def kind(value: Any) -> str:
    return KINDS.get(value.__class__, "a number")


def misfit(column: str, items: Sequence[Any], like: dict[str, Any], roles: Sequence[str]) -> str:
    """The first problem in words, "" if there is none. `like`: a message as it should be, {"role", "content"}."""
    if not items:
        return f"`{column}` must be a list with something in it; it is empty"
    side, text = like
    for number, item in enumerate(items, 1):
        role = item.get(side) if is_table(item) else item
        if role not in roles:
            among = ", ".join(roles)
            return f"message {number}: `{side}` must be one of {among}; it is {role!r:.40}"
        if not _says(item, text) and not _calls(item):
            found = kind(item[text]) if item.get(text) is not None else "missing"
            if is_array(item.get(text)):
                return f"message {number}: `{text}` has parts that are no text, and ftc reads text alone"
            return f"message {number}: `{text}` must be a text; it is {found}"
    return ""


def _says(item: dict[str, Any], text: str) -> bool:
    """Whether there is a text; that of OpenAI's messages, `content`, may be a list of parts."""
    value = item.get(text)
    if text == "content" and is_array(value):
        return all(
            is_table(part) and part.get("type") == "text" and isinstance(part.get("text"), str)
            for part in value
        )
    return isinstance(value, str)


def _calls(item: dict[str, Any]) -> bool:
    """Whether the message calls tools, which is judged when the run starts; it needs no text beside them."""
    if item.get("from") == "function_call":
        return True
    return item.get("content") is None and bool(item.get("tool_calls") or item.get("function_call"))


def meant_role(items: Sequence[Any], side: str, roles: Sequence[str]) -> str | None:
    """The role that the first one that is none is most likely a misspelling of."""
    found = (item.get(side) if is_table(item) else item for item in items)
    wrong = next((role for role in found if role not in roles), None)
    return nearest(wrong.lower(), roles) if isinstance(wrong, str) else None
