"""Formats with a conversation a row: lists of messages or turns."""

import re

from ..rows import Content, Conversation, Dropped, Message, Row
from .settings import FURTHER, check_keys, learnt, of_row, without_gaps
from .tools import tool_calls, tools
from .values import dialogue, loss, optional_text, tables, text

ROLES = ("system", "user", "assistant", "tool")


def messages(row: Row) -> Conversation:
    """{"messages": [{"role", "content"}, ...], "tools": [...]}, as OpenAI's chat API has them.

    The messages go to the chat template as they stand: none is joined, moved or left out. `loss`
    (`train`, `training`: true or false; OpenAI's `weight`: 1 or 0) on an answer says whether it is learnt.
    A text may come in parts ({"type": "text", "text"}). `tools`, and the arguments of a call, may be JSON in
    a text. What OpenAI called functions, `function_call` and the role function before are tools and calls of
    them. `chat_template_kwargs` are further variables of the template. Messages with `from` are read as
    those of sharegpt.
    """
    items = tables(row, "messages")
    if "from" in items[0] and "role" not in items[0]:
        return sharegpt({**row, "conversations": items})
    if len(row) > 1 or any(len(item) > 2 for item in items):
        row = without_gaps(row)
    conversation = [
        message(item, f"message {number}: ") for number, item in enumerate(row["messages"], 1)
    ]
    if not any(item["role"] == "assistant" for item in conversation):
        raise Dropped("no message of the assistant")
    if len(row) == 1:
        return Conversation(conversation)
    available = tools(row.get("tools") or row.get("functions"))
    return Conversation(conversation, available, of_row(row))


def message(item: Row, where: str = "") -> Message:
    """One message, with the keys that a chat template reads; an unset one (None) is left out."""
    role = item.get("role")
    if len(item) == 2 and role in ROLES and isinstance(item.get("content"), str):
        return {**item}  # most are like this
    role = "tool" if role == "function" else role
    if role not in ROLES:
        raise ValueError(f"{where}`role` must be one of {', '.join(ROLES)}; it is {role!r:.40}")
    calls = tool_calls(item.get("tool_calls") or item.get("function_call"), where)
    found: Message = {"role": role, "content": _content(item, where, optional=bool(calls))}
    found |= {key: text(item, key, where) for key in FURTHER if item.get(key) is not None}
    check_keys(item, where)
    taught = learnt(item, where)
    if role != "assistant":
        if calls:
            raise ValueError(
                f"{where}only the assistant can have `tool_calls`, not the role {role}"
            )
        if taught:
            raise ValueError(
                f"{where}only an answer can be learnt, not a message of the role {role}"
            )
        return found
    return (
        found
        | ({"tool_calls": calls} if calls else {})
        | ({} if taught is not False else {"loss": False})
    )


def _content(item: Row, where: str, optional: bool) -> str:
    value = item.get("content")
    if not isinstance(value, list):
        return optional_text(item, "content", where) if optional else text(item, "content", where)
    if not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
        raise ValueError(f"{where}`content` has parts that are no text, and ftc reads text alone")
    return "".join(text(part, "text", where) for part in value)


SHAREGPT = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
}


def sharegpt(row: Row) -> Conversation:
    """{"conversations": [{"from", "value"}, ...], "system", "tools"}, as LLaMA-Factory reads it, too.

    `from` is human or user, gpt (chatgpt, bing, bard) or assistant, system, function_call (the value is
    JSON with `name` and `arguments`, or a list of such), observation or tool. See `values.dialogue` for
    the turns. Turns with `role` and `content` are read as those of messages.
    """
    row = without_gaps(row)
    items = tables(row, "conversations")
    system = optional_text(row, "system")
    if "role" in items[0] and "from" not in items[0]:
        first = [{"role": "system", "content": system}] if system else []
        return messages({**row, "messages": [*first, *items]})
    conversation = [_from(item, number, SHAREGPT) for number, item in _numbered(row)]
    if system and conversation[0]["role"] == "system":
        raise ValueError(
            "the system prompt stands in `system` and in `conversations`: which one holds?"
        )
    first = [{"role": "system", "content": system}] if system else []
    return Conversation(dialogue([*first, *conversation]), tools(row.get("tools")), of_row(row))


def wizardlm(row: Row) -> Conversation:
    """{"conversations": [{"from": "human" | "gpt", "value"}, ...]} (WizardLM_evol_instruct_V2_196k)."""
    sides = {"human": "user", "gpt": "assistant"}
    return Conversation(dialogue([_from(item, number, sides) for number, item in _numbered(row)]))


IMAGE = "<image>"


def llava(row: Row) -> Conversation:
    """wizardlm about an image (LLaVA-Pretrain, LLaVA-Instruct-150K, ShareGPT4V): its text alone.

    A question's mark <image> goes to a line of its own in front, once, as LLaVA trains it.
    """
    conversation = wizardlm(row).messages
    return Conversation([{**item, "content": _image_first(item)} for item in conversation])


def _image_first(item: Message) -> str:
    content: str = item["content"]
    if item["role"] != "user" or IMAGE not in content:
        return content
    return f"{IMAGE}\n{content.replace(IMAGE, '').strip()}".strip()


def _numbered(row: Row) -> enumerate[Row]:
    found = enumerate(tables(row, "conversations"), 1)
    if "from" not in row["conversations"][0] and "role" in row["conversations"][0]:
        raise ValueError(
            "these are messages with `role`: call the column `messages`, for that format"
        )
    return found


def _from(item: Row, number: int, sides: dict[str, str]) -> Message:
    """A message of a list with {"from", "value"}."""
    where = f"message {number}: "
    side = item.get("from")
    if not isinstance(side, str) or side not in sides:
        raise ValueError(f"{where}`from` must be one of {', '.join(sides)}; it is {side!r:.40}")
    if side == "function_call":
        calls = tool_calls(item.get("value"), where)
        if not calls:
            raise ValueError(f"{where}`value` must be a tool call, with `name` and `arguments`")
        found: Message = {"role": "assistant", "content": "", "tool_calls": calls}
    else:
        found = {"role": sides[side], "content": text(item, "value", where)}
    found |= {key: text(item, key, where) for key in FURTHER if item.get(key) is not None}
    taught = learnt(item, where)
    return found | ({"loss": False} if found["role"] == "assistant" and taught is False else {})


def conversation(row: Row) -> Content:
    """{"conversation": [{"system", "input", "output", "output_with_loss"}, ...]}, XTuner's own.

    A single turn with an output alone is plain text, as XTuner's documentation says of pretraining.
    An empty list is a row that its maker left out.
    """
    if row.get("conversation") == []:
        raise Dropped("an empty conversation")
    found: list[Message] = []
    for number, item in enumerate(tables(row, "conversation"), 1):
        where = f"turn {number}: "
        system, output = optional_text(item, "system", where), text(item, "output", where)
        learnt = {} if loss(item, "output_with_loss", where) else {"loss": False}
        found += [{"role": "system", "content": system}] if system else []
        found += [{"role": "user", "content": optional_text(item, "input", where)}]
        found += [{"role": "assistant", "content": output} | learnt]
    if len(found) == 2 and not found[0]["content"] and "loss" not in found[1]:
        return found[1]["content"]
    return Conversation(found)


# Only these two words make a border: an answer may hold other headings.
BORDER = re.compile(r"(?<!#)###\s*(Human|Assistant):")


def oasst1(row: Row) -> Conversation:
    """{"text": "### Human: ...### Assistant: ..."} (timdettmers/openassistant-guanaco)."""
    before, *parts = BORDER.split(text(row, "text"))
    if before.strip():
        raise ValueError("`text` must begin with `### Human:`")
    sides = {"Human": "user", "Assistant": "assistant"}
    found = zip(parts[::2], parts[1::2], strict=True)
    return Conversation(dialogue([{"role": sides[s], "content": t.strip()} for s, t in found]))
