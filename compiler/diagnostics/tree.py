"""Nested data as tomllib and json give it."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_table(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_tuple(value: Any) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)


def has(data: Any, part: str | int) -> bool:
    """Whether `data[part]` exists."""
    if is_array(data):
        return isinstance(part, int) and 0 <= part < len(data)
    return is_table(data) and part in data
