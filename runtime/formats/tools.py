"""Tools and calls of them, in the shapes that data sets hold them, as chat templates take them."""

from typing import Any

from ..rows import Row
from .values import kind, parsed


def tools(value: Any) -> list[Row] | None:
    """The tools of a row: a list of functions, or JSON in a text. None if there are none.

    A function is {"type": "function", "function": {"name", ...}}, or the inner table alone, or both in one,
    as OpenAI's Responses API has it. Anthropic's `input_schema` are `parameters`.
    """
    value = _from_text(value, "`tools`")
    if not value:
        return None
    if not isinstance(value, list):
        raise ValueError(f"`tools` must be a list of functions; it is {kind(value)}")
    return [_function(item, f"tool {number}") for number, item in enumerate(value, 1)]


def tool_calls(value: Any, where: str) -> list[Row]:
    """The calls of a message: a list, one call, or JSON of either in a text."""
    value = _from_text(value, f"{where}the tool call")
    if not value:
        return []
    calls = value if isinstance(value, list) else [value]
    return [_call(call, f"{where}tool call {number}") for number, call in enumerate(calls, 1)]


def _from_text(value: Any, what: str) -> Any:
    return parsed(value, what) if isinstance(value, str) and value.strip() else value or None


def _function(item: Any, what: str) -> Row:
    inner = item.get("function", item) if isinstance(item, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise ValueError(f"{what} must be a table with `name`, `description` and `parameters`")
    if inner is not item:
        return {"type": "function", **item, "function": dict(inner)}
    if item.get("type") not in (None, "function", "function_call"):
        raise ValueError(f"{what}: `type` must be function; it is {item['type']!r:.40}")
    return {"type": "function", "function": _flat(item)}


def _flat(item: Row) -> Row:
    renamed = {"input_schema": "parameters", "inputSchema": "parameters"}
    return {renamed.get(key, key): value for key, value in item.items() if key != "type"}


def _call(item: Any, what: str) -> Row:
    """{"type": "function", "function": {"name", "arguments"}}; arguments as a table, and the id kept."""
    call = _function(item, what)
    arguments = _from_text(call["function"].get("arguments"), f"{what}: `arguments`")
    if not isinstance(arguments, dict | None):
        raise ValueError(f"{what}: `arguments` must be a table; it is {kind(arguments)}")
    found: Row = {"type": "function"}
    found["function"] = {"name": call["function"]["name"], "arguments": arguments or {}}
    name = item.get("id") or item.get("call_id")
    return found | ({"id": name} if isinstance(name, str) else {})


# Keywords of JSON Schema that are never null; `default`, `const` and values may be.
NEVER_NULL = {
    "type", "properties", "items", "required", "enum", "description", "name", "parameters", "format",
    "anyOf", "oneOf", "allOf", "additionalProperties", "title", "strict", "minimum", "maximum",
}  # fmt: skip


def filled_by_arrow(available: Any) -> bool:
    """Whether tools have gaps that Arrow filled with null: a property, or a keyword that is never null."""
    if isinstance(available, list):
        return any(map(filled_by_arrow, available))
    if not isinstance(available, dict):
        return False
    properties = available.get("properties")
    gaps = isinstance(properties, dict) and None in properties.values()
    return gaps or any(
        key in NEVER_NULL if value is None else filled_by_arrow(value)
        for key, value in available.items()
    )
