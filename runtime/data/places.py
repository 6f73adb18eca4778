"""What of a conversation a chat template has a place for: found once for each template, on probes.

A template leaves out in silence what it does not know. So each field is rendered with and without, on
conversations with and without a system text; where these disagree, the row itself decides.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ..rows import Conversation, Message
from . import jinja

SYSTEM: Message = {"role": "system", "content": "Be brief. 请简短。"}
PLAIN: list[Message] = [
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "4"},
]
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}}},
    },
}
CALL = {
    "id": "a1b2c3d4e",
    "type": "function",
    "function": {"name": "add", "arguments": {"a": 2, "b": 2}},
}
CALLING: list[Message] = [
    PLAIN[0],
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "a1b2c3d4e", "name": "add", "content": "4"},
    {"role": "assistant", "content": "It is 4."},
]
REASONING = ("reasoning_content", "reasoning", "thinking")  # transformers makes one of them
BESIDE = " beside tool_calls"
OTHER = "other words"


def fields(conversation: Conversation) -> list[str]:
    """What a conversation has beside questions and answers."""
    found = dict.fromkeys(["tools"] if conversation.tools else [])
    for number, message in enumerate(conversation.messages):
        role = message["role"]
        if role in ("user", "assistant"):
            pass
        elif role == "tool":
            found["tool messages"] = None
        elif role == "system":
            found["later system messages" if number else "system messages"] = None
        if len(message) > 2:
            found |= dict.fromkeys(_of_message(message))
    return list(found)


def _of_message(message: Message) -> Iterator[str]:
    beside = BESIDE if message.get("tool_calls") else ""
    if beside:
        yield "tool_calls"
    if beside and message["content"]:
        yield f"content{beside}"
    yield from (f"{key}{beside}" for key in REASONING if message.get(key))
    if message.get("name") and message["role"] != "tool":  # a tool's is that of the call
        yield "name"


def without(conversation: Conversation, field: str) -> Conversation:
    """The conversation as one that lacks the field would be."""
    if field == "tools":
        return replace(conversation, tools=None)
    messages = enumerate(conversation.messages)
    return replace(conversation, messages=[_lacking(m, field, number) for number, m in messages])


def _lacking(message: Message, field: str, number: int) -> Message:
    key, beside, _ = field.partition(BESIDE)
    calls = "tool_calls" in message
    if field.endswith(" messages"):
        place = {"tool": "tool messages", "system": "later system messages"}.get(message["role"])
        place = "system messages" if place and not number and message["role"] == "system" else place
        return {**message, "content": OTHER} if place == field else message
    if key == "content":
        return {**message, "content": ""} if calls else message
    if key != "tool_calls" and key != "name" and calls != bool(beside):
        return message
    return {k: v for k, v in message.items() if k != key}


def _probes(field: str) -> list[Conversation]:
    """Conversations that have the field, and the rest of which most templates can render."""
    key, beside, _ = field.partition(BESIDE)
    question, call, *rest = CALLING
    if field == "tools":
        bodies = [PLAIN, CALLING]
    elif beside:
        bodies = [[question, {**call, key: "I add them."}, *rest]]
    elif field in ("tool_calls", "tool messages"):
        bodies = [CALLING]
    elif field in REASONING:
        bodies = [[PLAIN[0], {**PLAIN[1], field: "I add them."}]]
    elif field == "name":
        bodies = [[{**PLAIN[0], "name": "Ada"}, PLAIN[1]]]
    elif field == "later system messages":
        bodies = [[*PLAIN, {**SYSTEM, "content": "Be kind."}, *PLAIN]]
    else:
        return [Conversation([SYSTEM, *PLAIN])]
    tools = [TOOL] if field in ("tools", "tool_calls", "tool messages") or beside else None
    return [Conversation([*start, *body], tools) for body in bodies for start in ([], [SYSTEM])]


class Places:
    """Of one template; `variables`: what else it sees, as bos_token."""

    def __init__(self, template: str, variables: dict[str, Any]) -> None:
        self.template, self.variables = template, variables
        self.known: dict[str, bool | None] = {}

    def shown(self, field: str) -> bool | None:
        """Whether the template has a place for it; None where that depends on the conversation."""
        if field not in self.known:
            found = {self._differs(probe, field) for probe in _probes(field)} - {None}
            self.known[field] = found.pop() if len(found) == 1 else None
        return self.known[field]

    def in_row(self, conversation: Conversation, field: str, text: str) -> bool:
        """The same for a conversation, of which the template made `text`."""
        shown = self.shown(field)
        return self._text(without(conversation, field)) != text if shown is None else shown

    def _differs(self, probe: Conversation, field: str) -> bool | None:
        text = self._text(probe)
        return None if text is None else self._text(without(probe, field)) != text

    def _text(self, conversation: Conversation) -> str | None:
        try:
            return jinja.render(self.template, self.variables, conversation)[0]
        except jinja.REFUSED:
            return None


@lru_cache(maxsize=16)
def places(template: str, variables: tuple[tuple[str, Any], ...]) -> Places:
    return Places(template, dict(variables))
