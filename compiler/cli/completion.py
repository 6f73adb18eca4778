"""What a shell completes beside commands, options and files: the keys of the language."""

from __future__ import annotations

from click import Context, Parameter
from click.shell_completion import CompletionItem

from ..spec.names import names


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
