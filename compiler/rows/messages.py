"""What is wrong with the messages of a row, as `ftc.runtime.formats` would say when the run starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..diagnostics.guess import nearest
from ..diagnostics.tree import is_array, is_table

KINDS = {str: "a text", list: "a list", dict: "a table", type(None): "null", bool: "true or false"}


def kind(value: Any) -> str:
    return KINDS.get(value.__class__, "a number")


# Sharegpt's words for sides that OpenAI has others for, as in `ftc.runtime.formats.conversations`.
ITS_OWN = {"human", "gpt", "chatgpt", "bing", "bard", "function_call", "observation"}


def speaks_sharegpt(items: Sequence[Any]) -> bool:
    """Whether sides are told by `from`, or by `role` in sharegpt's words, as its first two turns show."""
    first = items[0] if items and is_table(items[0]) else {}
    if "role" not in first:
        return "from" in first
    if first["role"] is None:
        return first.get("from") is not None
    sides = [item.get("role") for item in items[:2] if is_table(item)]
    return any(isinstance(side, str) and side in ITS_OWN for side in sides)


def are_messages(value: Any) -> bool:
    """Whether a column holds chat messages, in the form of OpenAI or of sharegpt."""
    if not is_array(value) or not value or not all(map(is_table, value)):
        return False
    return all(
        isinstance(item.get(side_key(item, "from")), str)
        and (item.get("content") is not None or item.get("value") is not None or _calls(item))
        for item in value
    )


def misfit(
    column: str, items: Sequence[Any], like: dict[str, Any], roles: Sequence[str], of: str = ""
) -> str:
    """The first problem in words, "" if there is none. `like`: a message as it should be, {"role", "content"}."""
    if not items:
        return f"`{column}` must be a list with something in it; it is empty"
    usual, text = like
    for number, item in enumerate(items, 1):
        side = side_key(item, usual)
        role = item.get(side) if is_table(item) else item
        if role not in roles:
            among = ", ".join(roles)
            return f"message {number}{of}: `{side}` must be one of {among}; it is {role!r:.40}"
        key = _text_key(item, text)
        if not _says(item, key) and not _calls(item):
            found = kind(item[key]) if item.get(key) is not None else "missing"
            if key == "content" and is_array(item.get(key)):
                return f"message {number}{of}: `{key}` has parts that are no text, and ftc reads text alone"
            return f"message {number}{of}: `{key}` must be a text; it is {found}"
    return ""


def side_key(item: Any, usual: str) -> str:
    """Where the side of a message stands: turns of sharegpt may have it at `role`."""
    other = usual == "from" and is_table(item) and item.get("from") is None
    return "role" if other and item.get("role") is not None else usual


def _text_key(item: dict[str, Any], usual: str) -> str:
    """Where the text of a message stands: `content` and `value` may stand for each other."""
    other = "value" if usual == "content" else "content"
    return other if item.get(usual) is None and item.get(other) is not None else usual


def _says(item: dict[str, Any], text: str) -> bool:
    """Whether there is a text; `content` may be a list of parts."""
    value = item.get(text)
    if text == "content" and is_array(value):
        return all(
            is_table(part) and part.get("type") == "text" and isinstance(part.get("text"), str)
            for part in value
        )
    return isinstance(value, str)


def _calls(item: dict[str, Any]) -> bool:
    """Whether the message calls tools, which is judged when the run starts; it needs no text beside them."""
    if "function_call" in (item.get("from"), item.get("role")):
        return True
    return item.get("content") is None and bool(item.get("tool_calls") or item.get("function_call"))


def meant_role(items: Sequence[Any], side: str, roles: Sequence[str]) -> str | None:
    """The role that the first one that is none is most likely a misspelling of."""
    found = (item.get(side_key(item, side)) if is_table(item) else item for item in items)
    wrong = next((role for role in found if role not in roles), None)
    return nearest(wrong.lower(), roles) if isinstance(wrong, str) else None
