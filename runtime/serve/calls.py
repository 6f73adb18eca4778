"""Calls of tools in what the model writes: in the form in which its chat template writes them."""

import json
import secrets
from typing import Any

from ..data import jinja
from ..export import served_tokenizer

Calls = list[dict[str, Any]]


def opening(tokenizer: Any) -> str | None:
    """What stands in front of the JSON of a call; "" where an answer that is JSON is a call.

    None for a template that has no place for calls, or writes them in a form that can't be read back.
    """
    user, call = served_tokenizer.CALLING[:2]
    how: dict[str, Any] = {"tools": [served_tokenizer.TOOL], "tokenize": False}
    try:
        before = jinja.applied(tokenizer, [user], add_generation_prompt=True, **how)
        after = jinja.applied(tokenizer, [user, call], **how)
    except Exception:  # a template refuses in many ways
        return None
    answer = after[len(before) :]
    for place in (n for n, letter in enumerate(answer) if letter in "[{"):
        mark = answer[:place].strip()
        content, calls = read(answer, mark)
        if not content and [each["function"] for each in calls] == [_expected(call)]:
            return mark
    return None


def _expected(message: dict[str, Any]) -> dict[str, str]:
    function = message["tool_calls"][0]["function"]
    return {"name": function["name"], "arguments": json.dumps(function["arguments"])}


def read(text: str, mark: str) -> tuple[str, Calls]:
    """An answer's text in front of its calls, and the calls as OpenAI has them.

    All of it is text if what follows `mark` is not the JSON of a call: the model said so.
    """
    content, *written = text.split(mark) if mark else ("", text)
    if not written:
        return text, []
    calls: Calls = []
    for each in written:
        try:
            value, _ = json.JSONDecoder().raw_decode(each.lstrip())
        except (ValueError, RecursionError):
            return text, []
        for call in value if isinstance(value, list) else [value]:
            found = _function(call)
            if found is None:
                return text, []
            # Nine letters and digits, as Mistral's templates want it.
            calls.append({"id": secrets.token_hex(5)[:9], "type": "function", "function": found})
    return (content.rstrip(), calls) if calls else (text, [])


def _function(call: Any) -> dict[str, str] | None:
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", call.get("parameters"))
    if not isinstance(arguments, dict):
        return None
    return {"name": call["name"], "arguments": json.dumps(arguments, ensure_ascii=False)}
