"""Values of a row, checked: what every format asks of them. All raise ValueError, and none changes a row."""

import json
from collections.abc import Collection
from typing import Any

from ..rows import Conversation, Dropped, Message, Row

KINDS = {
    type(None): "missing",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a table",
}


def kind(value: Any) -> str:
    """What a value is, in words."""
    return KINDS.get(type(value), f"of the type {type(value).__name__}")


def text(table: Row, key: str, where: str = "") -> str:
    """The text at `key`. `where` begins the message, as in "message 3: "."""
    value = table.get(key)
    if not isinstance(value, str):
        found = "null" if value is None and key in table else kind(value)
        raise ValueError(f"{where}`{key}` must be a text; it is {found}")
    return value


def either(table: Row, key: str, other: str, where: str = "") -> str:
    """The one of two keys that a value stands at; `key` if it is at none. Two texts that differ are refused."""
    if table.get(other) is None or table.get(key) == table[other]:
        return key
    if isinstance(table.get(key), str) and isinstance(table[other], str):
        raise ValueError(f"{where}`{key}` and `{other}` hold different texts: which one is it?")
    return other if table.get(key) is None else key


def optional_text(table: Row, key: str, where: str = "") -> str:
    """The text at `key`; "" where there is none (Arrow fills gaps with None)."""
    return "" if table.get(key) is None else text(table, key, where)


def tables(row: Row, key: str) -> list[Row]:
    """The list of tables at `key`."""
    value = row.get(key)
    if not isinstance(value, list) or not value:
        raise ValueError(f"`{key}` must be a list with something in it; it is {_amount(value)}")
    for number, item in enumerate(value, 1):
        if not isinstance(item, dict):
            raise ValueError(f"item {number} of `{key}` must be a table; it is {kind(item)}")
    return value


def one_of(value: Any, choices: Collection[str], what: str) -> str:
    """The value, which must be one of these; `what` begins the message, as in "message 3: `role`"."""
    if isinstance(value, str) and value in choices:
        return value
    from difflib import get_close_matches  # which only errors need

    near = get_close_matches(value.lower(), choices, 1, 0.7) if isinstance(value, str) else []
    meant = f'; did you mean "{near[0]}"?' if near else ""
    raise ValueError(f"{what} must be one of {', '.join(choices)}; it is {value!r:.40}{meant}")


def _amount(value: Any) -> str:
    return "empty" if value == [] else kind(value)


def parsed(value: str, what: str) -> Any:
    """A text as JSON."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError(f"{what} is not JSON") from None


def loss(message: Row, key: str, where: str) -> bool:
    """A loss flag. Absent or None (Arrow fills gaps with it) is the default, which is true."""
    value = message.get(key)
    if value is None or value is True or value is False:
        return value is not False
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError(f"{where}`{key}` must be true or false; it is {value!r:.40}")


def turn(question: str, answer: str, system: str = "") -> Conversation:
    """One question and its answer; an empty system prompt is none."""
    first = [{"role": "system", "content": system}] if system else []
    return Conversation(
        [*first, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    )


GREETING = "an answer before the first question"
UNANSWERED = "a question after the last answer"


def dialogue(messages: list[Message], tools: list[Row] | None = None) -> Conversation:
    """Messages as turns: what the rules of the formats with turns have in common.

    Answers before the first question and questions after the last answer are left out, and told: nobody
    asked, as many such rows are pieces of longer ones, and nobody answered. Messages of one side that follow
    each other are joined by a newline, as most chat templates want the sides to take turns. An empty system
    prompt is none. Raises Dropped if no answer is left.
    """
    joined: list[Message] = []
    unread: dict[str, None] = {}
    for message in messages:
        before = joined[-1] if joined else None
        if message["role"] == "assistant" and not _asked(joined):
            unread[GREETING] = None
            continue
        if message["role"] == "system" and not message["content"]:
            continue
        if before and _joins(before, message):
            texts = [text for text in (before["content"], message["content"]) if text]
            joined[-1] = {**before, "content": "\n".join(texts)}
        else:
            joined.append(message)
    while joined and joined[-1]["role"] != "assistant":
        joined.pop()
        unread[UNANSWERED] = None
    if not joined:
        raise Dropped("no question with an answer")
    return Conversation(joined, tools, unread=tuple(unread))


def _asked(messages: list[Message]) -> bool:
    return any(message["role"] != "system" for message in messages)


def _joins(before: Message, message: Message) -> bool:
    plain = {"role", "content"}
    return (
        before["role"] == message["role"]
        and before["role"] in ("user", "assistant")
        and before.keys() == plain == message.keys()
    )
