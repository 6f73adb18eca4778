"""A conversation as the model's chat template writes it, or why it can't."""

import re
from collections.abc import Callable
from typing import Any

from ..data import jinja, time_limit
from ..errors import RunError
from ..formats import conversations
from ..rows import Conversation, Message
from .errors import ApiError

COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
OTHER = "_other"  # put behind a text, it shows whether the template writes that text


def conversation(raw: dict[str, Any], called: bool) -> Conversation:
    """The messages, and the tools if they may be `called`, as training reads them.

    `developer` is the newer name of `system`. Raises ApiError for what training would not read.
    """
    found = []
    for number, item in enumerate(raw["messages"]):
        known = {**item, "role": "system"} if item["role"] == "developer" else item
        try:
            found.append(conversations.message(known))
        except ValueError as error:
            raise ApiError(400, f"messages[{number}]: {error}", f"messages[{number}]") from None
    return Conversation(found, conversations.tools(raw["tools"]) if called else None)


def prompt(tokenizer: Any, asked: Conversation) -> str:
    """What stands in front of the next answer.

    Raises ApiError where the template refuses or leaves out, or takes too long.
    """
    try:
        return time_limit.within(lambda: _prompt(tokenizer, asked))
    except RunError as error:
        text = f"messages: {error.args[1]}"[:1000]
        raise ApiError(400, text, "messages", "template-refused") from None


def _prompt(tokenizer: Any, asked: Conversation) -> str:
    text = _written(tokenizer, asked.messages, asked.tools)
    for what, param, other in _others(asked):
        try:
            left_out = _written(tokenizer, *other) == text
        except RunError:
            continue  # it looks at it, so it has a place
        if left_out:
            message = f"{param}: the model's chat template has no place for {what}"
            raise ApiError(400, message, param, "unsupported_parameter")
    known = COMMENT.sub("", tokenizer.chat_template)
    if "reasoning_content" not in known and any("reasoning_content" in m for m in asked.messages):
        message = "messages: the model's chat template has no place for reasoning_content"
        raise ApiError(400, message, "messages", "unsupported_parameter")
    return text


def _written(tokenizer: Any, messages: list[Message], tools: list[dict[str, Any]] | None) -> str:
    how = {"add_generation_prompt": True, "tokenize": False}
    return jinja.applied(tokenizer, messages, tools=tools, **how)


Other = tuple[str, str, tuple[list[Message], list[dict[str, Any]] | None]]


def _others(asked: Conversation) -> list[Other]:
    """The same conversation with another text in one place: what place, its param, and the conversation."""
    found: list[Other] = []
    if asked.tools:
        found.append(("tools", "tools", (asked.messages, [*map(_other_function, asked.tools)])))

    def where(what: str, has: Callable[[Message], Any], change: Callable[[Message], Any]) -> None:
        for number, message in enumerate(asked.messages):
            if has(message):
                other = [*asked.messages]
                other[number] = {**message, **change(message)}
                found.append((what, f"messages[{number}]", (other, asked.tools)))
                return  # one of its kind stands for all: a conversation may be long

    def other_content(message: Message) -> Message:
        return {"content": f"{message['content']}{OTHER}"}

    where("a system text", lambda m: m["role"] == "system", other_content)
    where("the answer of a tool", lambda m: m["role"] == "tool", other_content)
    where(
        "tool_calls",
        lambda m: m.get("tool_calls"),
        lambda m: {"tool_calls": [*map(_other_function, m["tool_calls"])]},
    )
    where(
        "a text beside tool_calls",
        lambda m: m.get("tool_calls") and m["content"].strip(),
        other_content,
    )
    where(
        "names",
        lambda m: m["role"] != "tool" and m.get("name"),
        lambda m: {"name": f"{m['name']}{OTHER}"},
    )
    return found


def _other_function(item: dict[str, Any]) -> dict[str, Any]:
    function = {**item["function"], "name": f"{item['function']['name']}{OTHER}"}
    return {**item, "function": function}
