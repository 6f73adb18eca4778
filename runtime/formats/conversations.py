"""Formats with a conversation a row: lists of messages or turns."""

import re
from dataclasses import replace
from typing import Any

from ..rows import Content, Conversation, Dropped, Message, Row
from .settings import FURTHER, check_keys, learnt, of_row, without_gaps
from .tools import tool_calls, tools
from .values import dialogue, either, kind, loss, one_of, optional_text, tables, text

ROLES = ("system", "user", "assistant", "tool")


def messages(row: Row) -> Conversation:
    """{"messages": [{"role", "content"}, ...], "tools": [...]}, as OpenAI's chat API has them.

    The messages go to the chat template as they stand: none is joined, moved or left out. `loss`
    (`train`, `training`: true or false; OpenAI's `weight`: 1 or 0) on an answer says whether it is learnt.
    A text may come in parts ({"type": "text", "text"}). `tools`, and the arguments of a call, may be JSON in
    a text. What OpenAI called functions, `function_call` and the role function before are tools and calls of
    them. `chat_template_kwargs` are further variables of the template. Messages with `from`, or with
    sharegpt's roles, are read as those of sharegpt; a text may stand at `value`.
    """
    items = tables(row, "messages")
    if speaks_sharegpt(items):
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
    role = one_of("tool" if role == "function" else role, ROLES, f"{where}`role`")
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


def _content(item: Row, where: str, optional: bool = False, key: str = "content") -> str:
    """The text of a message, at `key` or the other one of `content` and `value`."""
    key = either(item, key, "value" if key == "content" else "content", where)
    value = item.get(key)
    if not isinstance(value, list) or key == "value":
        return optional_text(item, key, where) if optional else text(item, key, where)
    if not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
        raise ValueError(f"{where}`content` has parts that are no text, and ftc reads text alone")
    return "".join(text(part, "text", where) for part in value)


def listed(value: Any, column: str) -> list[Message]:
    """A column's list of messages, each with role and content, or with from and value."""
    if not isinstance(value, list) or not value:
        found = "empty" if value == [] else kind(value)
        raise ValueError(f"`{column}` must be a text or a list of messages; it is {found}")
    for number, item in enumerate(value, 1):
        if not isinstance(item, dict):
            raise ValueError(
                f"message {number} of `{column}`: it must be a table; it is {kind(item)}"
            )
    read = turned if speaks_sharegpt(value) else message
    return [read(item, f"message {n} of `{column}`: ") for n, item in enumerate(value, 1)]


def prompt_completion(row: Row) -> Conversation:
    """{"prompt", "completion"}: texts, or messages with `tools` (TRL). The completion alone is learnt.

    `label` says which completions are bad ones (TRL's unpaired preference), and all would be learnt.
    """
    if isinstance(row.get("label"), bool):
        raise ValueError(
            "`label` tells good completions from bad ones, and ftc would learn both: keep the good ones, "
            "and leave the column out"
        )
    row = without_gaps(row)
    before = _said(row, "prompt", "user")
    answers = _said(row, "completion", "assistant")
    if before[-1]["role"] == "assistant":
        raise ValueError(CONTINUED)
    if answers[-1]["role"] != "assistant":
        raise ValueError("`completion` must end with an answer of the assistant")
    given = [m | {"loss": False} if m["role"] == "assistant" else m for m in before]
    return Conversation([*given, *answers], tools(row.get("tools")), of_row(row))


CONTINUED = (
    "`prompt` ends with a message of the assistant, and ftc does not go on with one: "
    "move its text to the answer"
)


def _said(row: Row, column: str, role: str) -> list[Message]:
    value = row.get(column)
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    return listed([value] if isinstance(value, dict) and "role" in value else value, column)


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


ITS_OWN = SHAREGPT.keys() - {*ROLES}


def speaks_sharegpt(items: list[Row]) -> bool:
    """Whether sides are told by `from`, or by `role` in sharegpt's words, as its first two turns show."""
    if "role" not in items[0]:
        return "from" in items[0]
    first = items[0]["role"]
    if first is None:  # Arrow filled it
        return items[0].get("from") is not None
    return any(isinstance(item.get("role"), str) and item["role"] in ITS_OWN for item in items[:2])


def sharegpt(row: Row) -> Conversation:
    """{"conversations": [{"from", "value"}, ...], "system", "tools"}, as LLaMA-Factory reads it, too.

    `from` is human or user, gpt (chatgpt, bing, bard) or assistant, system, function_call (the value is
    JSON with `name` and `arguments`, or a list of such), observation or tool. See `values.dialogue` for
    the turns. Turns with `role` in OpenAI's words are read as those of messages; `content` may stand for
    `value`.
    """
    row = without_gaps(row)
    items = tables(row, "conversations")
    system = optional_text(row, "system")
    first = [{"role": "system", "content": system}] if system else []
    if system and "system" in (items[0].get("role"), items[0].get("from")):
        raise ValueError(
            "the system prompt stands in `system` and in `conversations`: which one holds?"
        )
    if "role" in items[0] and not speaks_sharegpt(items):
        return messages({**row, "messages": [*first, *items]})
    said = [turned(item, f"message {number}: ") for number, item in enumerate(items, 1)]
    found = dialogue([*first, *said], tools(row.get("tools")))
    return replace(found, chat_template_kwargs=of_row(row))


def wizardlm(row: Row) -> Conversation:
    """{"conversations": [{"from": "human" | "gpt", "value"}, ...]} (WizardLM_evol_instruct_V2_196k)."""
    sides = {"human": "user", "gpt": "assistant"}
    items = enumerate(tables(row, "conversations"), 1)
    return dialogue([turned(item, f"message {number}: ", sides) for number, item in items])


IMAGE = "<image>"


def llava(row: Row) -> Conversation:
    """wizardlm about an image (LLaVA-Pretrain, LLaVA-Instruct-150K, ShareGPT4V): its text alone.

    A question's mark <image> goes to a line of its own in front, once, as LLaVA trains it.
    """
    found = wizardlm(row)
    return replace(
        found, messages=[{**item, "content": _image_first(item)} for item in found.messages]
    )


def _image_first(item: Message) -> str:
    content: str = item["content"]
    if item["role"] != "user" or IMAGE not in content:
        return content
    return f"{IMAGE}\n{content.replace(IMAGE, '').strip()}".strip()


def turned(item: Row, where: str, sides: dict[str, str] = SHAREGPT) -> Message:
    """A message of {"from", "value"}; `role` and `content` may stand for them."""
    key = "from" if item.get("role") is None else either(item, "from", "role", where)
    side = one_of(item.get(key), sides, f"{where}`{key}`")
    if side == "function_call":
        key = either(item, "value", "content", where)
        calls = tool_calls(item.get(key), where)
        if not calls:
            raise ValueError(f"{where}`{key}` must be a tool call, with `name` and `arguments`")
        found: Message = {"role": "assistant", "content": "", "tool_calls": calls}
    else:
        found = {"role": sides[side], "content": _content(item, where, key="value")}
    found |= {key: text(item, key, where) for key in FURTHER if item.get(key) is not None}
    taught = learnt(item, where)
    return found | ({"loss": False} if found["role"] == "assistant" and taught is False else {})


def conversation(row: Row) -> Content:
    """{"conversation": [{"system", "input", "output", "output_with_loss"}, ...]}, XTuner's own.

    A single turn with an output alone is plain text, as XTuner's documentation says of pretraining.
    An empty list is a row that its maker left out. Turns with sides (`role`, `from`) are read as those of
    sharegpt.
    """
    if row.get("conversation") == []:
        raise Dropped("an empty conversation")
    turns = tables(row, "conversation")
    if "output" not in turns[0] and ("role" in turns[0] or "from" in turns[0]):
        return sharegpt({**row, "conversations": turns})
    found: list[Message] = []
    for number, item in enumerate(turns, 1):
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
    return dialogue([{"role": sides[s], "content": t.strip()} for s, t in found])
