"""Formats of data sets that show how tools are used, from before chat templates knew tools."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from ..rows import Conversation, Dropped, Message, Row
from .values import UNANSWERED, kind, one_of, optional_text, tables, text

# The labels are fixed: answers hold them, and who serves the model looks for them.
REACT = """\
你是一个能够调用外部工具的助手。可用的工具有：
{tools}
需要使用工具时，请按以下格式回复：
```
Thought:这一步要解决什么问题，是否需要工具
Action:工具名称，只能从 [{names}] 中选择
Action Input:工具的输入参数
```
工具会按以下格式返回：
```
Response:工具的结果
```
已经知道答案，或者不需要工具时，请按以下格式回复：
```
Thought:得出最终答案的思考
Final Answer:最终答案
```
开始!
"""
CALL = re.compile(r"(.*?)<\|startofthink\|>(.*?)<\|endofthink\|>", re.DOTALL)
NO_RESPONSE = "a tool's result that can't be read, or that no answer follows"
EXECUTION, END = "<|startofexec|>", "<|endofexec|>"


def msagent(row: Row) -> Conversation:
    """{"conversations": [{"from", "value"}, ...]} (MSAgent-Bench), as a list or a Python literal.

    Tool use becomes ReAct text. A tool's response is a system message before an empty question, as
    XTuner has it, so that templates which know no tools can render it; without a final answer behind
    it, or if it is not JSON, the conversation goes on without it.
    """
    found: list[Message] = []
    unread: dict[str, None] = {}
    system = question = ""
    messages = _literal(row)
    for number, item in enumerate(messages, 1):
        where = f"message {number}: "
        side, value = item.get("from"), text(item, "value", where)
        if side == "system":
            system += _react(value)
        elif side == "user":
            question += f"{value}\n"
        elif side == "assistant":
            call, execution, response = value.partition(EXECUTION)
            found += _turn(system, question, _answer(call))
            responses = _response(response) if execution else []
            found += responses
            unread |= {NO_RESPONSE: None} if execution and not responses else {}
            system = question = ""
        else:
            one_of(side, ("system", "user", "assistant"), f"{where}`from`")
    if not found or len(messages) == 1:
        raise Dropped("no question with an answer")
    unread |= {UNANSWERED: None} if question else {}
    return Conversation(found, unread=tuple(unread))


def _literal(row: Row) -> list[Row]:
    """The messages; XTuner evaluates the text as code, here it can only be a literal."""
    value: Any = row.get("conversations")
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise ValueError("`conversations` is a text, but no Python literal") from None
    return tables({"conversations": value}, "conversations")


def _turn(system: str, question: str, answer: str) -> list[Message]:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _react(value: str) -> str:
    """The system prompt for the tools whose descriptions, as JSON, stand in a text."""
    described: dict[str, str] = {}
    for tool in _objects(value):
        name = tool.get("name")
        if isinstance(name, str) and "description" in tool:
            inputs = _inputs(tool)
            described[name] = f"{tool['description']}" + (f"\n输入参数: {inputs}" if inputs else "")
    return REACT.format(tools=described, names=list(described)) if described else value


def _objects(value: str) -> Iterator[Row]:
    """The JSON objects in a text that describe a tool."""
    place, decode = value.find("{"), json.JSONDecoder().raw_decode
    while place >= 0:
        try:
            found, end = decode(value, place)
        except (ValueError, RecursionError):
            found, end = {}, place + 1
        if "name" in found and "description" in found:
            yield found
        else:
            end = place + 1
        place = value.find("{", end)


def _inputs(tool: Row) -> dict[str, Any]:
    """Parameter -> description, where paths[0].parameters has them."""
    try:
        return {item["name"]: item["description"] for item in tool["paths"][0]["parameters"]}
    except (LookupError, TypeError):
        return {}


def _answer(value: str) -> str:
    try:
        answer, calls = CALL.subn(_action, value)
    except (ValueError, LookupError, TypeError, RecursionError):
        raise Dropped("a tool call that can't be read") from None
    return f"{answer}\n" if calls else f"Final Answer:{value}\n"


def _action(match: re.Match[str]) -> str:
    thought, call = match[1].strip(), _fenced(match[2])
    said = f"Thought:{thought}\n" if thought else ""
    return f"{said}Action:{call['api_name']}\nAction Input:{call['parameters']}\n"


def _fenced(value: str) -> Any:
    return json.loads(value.replace("```JSON", "").replace("```", "").replace("\n", ""))


def _response(value: str) -> list[Message]:
    result, _, answer = value.partition(END)
    try:
        response = f"Response:{_fenced(result)}\n"
    except (ValueError, RecursionError):
        return []
    answer = answer.strip()
    return _turn(response, "", f"Final Answer:{answer}\n") if answer else []


# Part of a turn -> the marks around its text.
MOSS = {
    "Human": ("<|Human|>:", "<eoh>"),
    "Inner Thoughts": ("<|Inner Thoughts|>:", "<eot>"),
    "Commands": ("<|Commands|>:", "<eoc>"),
    "Tool Responses": ("<|Results|>:", "<eor>"),
    "MOSS": ("<|MOSS|>:", "<eom>"),
}
# What MOSS's system prompt calls the one parameter of each of its functions.
PARAMETERS = {
    "Search": "query",
    "Calculate": "expression",
    "Solve": "equation",
    "Text2Image": "description",
}


def moss_sft(row: Row) -> Conversation:
    """{"meta_instruction", "chat": {"turn_1": {"Human", "Commands", ..., "MOSS"}}} (moss-003-sft).

    Commands become tool calls, with the thoughts before them as their text, and what the tools answer
    a message of the role tool. Marks such as <eoh> are left out: a chat template brings its own. Only
    what the model says is learnt (XTuner trains on the human's text, too: that is loss_on = "all").
    """
    chat = row.get("chat")
    if not isinstance(chat, dict):
        raise ValueError(f"`chat` must be a table of turns; it is {kind(chat)}")
    system = optional_text(row, "meta_instruction").strip()
    found: list[Message] = [{"role": "system", "content": system}] if system else []
    for name, parts in sorted(chat.items(), key=lambda item: _number(item[0])):
        if parts in (None, {}):  # Arrow fills the turns of a shorter conversation
            continue
        if not isinstance(parts, dict):
            raise ValueError(f"`{name}` must be a table of parts; it is {kind(parts)}")
        found += _moss_turn(parts, name)
    if not any(item["role"] == "assistant" for item in found):
        raise Dropped("no question with an answer")
    return Conversation(found)


def _number(name: str) -> int:
    digits = re.search(r"[0-9]{1,9}$", name)
    return int(digits[0]) if digits else 0


def _moss_turn(parts: Row, name: str) -> list[Message]:
    read = dict.fromkeys(MOSS, optional_text) | {"Human": text, "MOSS": text}
    said = {
        part: _bare(read[part](parts, part, f"{name}: "), *marks) for part, marks in MOSS.items()
    }
    calls = _calls(said["Commands"])
    thoughts, answer = said["Inner Thoughts"], said["MOSS"]
    found: list[Message] = [{"role": "user", "content": said["Human"]}]
    if calls:
        found.append({"role": "assistant", "content": thoughts, "tool_calls": calls})
        found.append({"role": "tool", "content": said["Tool Responses"]})
    elif thoughts:
        answer = f"{thoughts}\n{answer}"
    return [*found, {"role": "assistant", "content": answer}]


def _bare(value: str, start: str, end: str) -> str:
    """The text between the marks; the word None stands for nothing."""
    value = value.strip().removeprefix(start).removesuffix(end).strip()
    return "" if value == "None" else value


def _calls(value: str) -> list[Row]:
    """Commands such as `Search("...")`, one or several with commas between them."""
    if not value:
        return []
    try:
        listed = ast.parse(f"[{value}]", mode="eval").body
        calls = [_named(call) for call in getattr(listed, "elts", [])]
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError, AttributeError):
        raise Dropped("a command that can't be read") from None
    return [{"type": "function", "function": call} for call in calls]


def _named(call: Any) -> Row:
    name, (argument,) = call.func.id, call.args
    return {"name": name, "arguments": {PARAMETERS.get(name, "input"): ast.literal_eval(argument)}}
