"""What a shell completes beside commands, options and files: the keys of the language.

click does the rest; `docs/guide.md` has the line that tells a shell of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from click import Context, Parameter
from click.shell_completion import CompletionItem


@dataclass(frozen=True)
class Name:
    """A key or a table of the language; `values`: those that the key lists."""

    path: str
    help: str
    is_table: bool
    values: tuple[Any, ...]


def explainable(_context: Context, _parameter: Parameter, start: str) -> list[CompletionItem]:
    """For KEY of `ftc explain`: keys and tables."""
    every = {name.path: name.help for name in names()}
    return [CompletionItem(p, help=text) for p, text in every.items() if p.startswith(start)]


def settable(_context: Context, _parameter: Parameter, start: str) -> list[CompletionItem]:
    """For `--set`: keys; after the `=`, the values that a key lists."""
    path, equals, _ = start.partition("=")
    if not equals:
        every = {name.path: name.help for name in names() if not name.is_table}
        return [CompletionItem(p, help=text) for p, text in every.items() if p.startswith(path)]
    values = [f"{path}={value}" for name in names() if name.path == path for value in name.values]
    return [CompletionItem(value) for value in dict.fromkeys(values) if value.startswith(start)]


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
