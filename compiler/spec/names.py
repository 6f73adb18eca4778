"""The paths of every key and table of the language."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Name:
    """A key or a table of the language; `values`: those that the key lists."""

    path: str
    help: str
    is_table: bool
    values: tuple[Any, ...]


def names() -> Iterator[Name]:
    """Every key and table, of a list of tables the first; a key of several methods comes with each."""
    from ..spec.describe import is_list, literals, models_in
    from ..spec.spec import Spec, Table

    def walk(model: type[Table], prefix: str) -> Iterator[Name]:
        for key, field in model.model_fields.items():
            inner = list(models_in(field.annotation))
            path = f"{prefix}{key}{'[0]' if inner and is_list(field.annotation) else ''}"
            values = () if inner else tuple(literals(field.annotation))
            yield Name(path, field.description or "", bool(inner), values)
            for table in inner:
                yield from walk(table, f"{path}.")

    return walk(Spec, "")
