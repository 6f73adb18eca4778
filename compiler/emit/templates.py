"""Templates: Jinja's syntax for text with values in it, and nothing that computes.

Jinja parses a template. As there is nothing in it but names, filters, `if` and `for`, placing the
values is a short walk over the parsed tree. To have Jinja write Python code for each template and
compile that takes four times as long as the whole of this, which only many renderings would repay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, StrictUndefined, nodes

from ..catalog.presets import resource
from . import quote

Fill = Callable[[str], str]  # renders a passage with what its script has so far


@cache
def environment() -> Environment:
    """The syntax and the filters; StrictUndefined: a name without a value is an error."""
    env = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    env.filters = {**quote.FILTERS}
    return env


@cache
def parsed(path: str) -> nodes.Template:
    """The template `path` in templates/run, without its suffix."""
    file = resource("templates") / "run" / f"{path}.jinja"
    return environment().parse(file.read_text("utf-8"), path, str(file))


def fill(path: str, variables: dict[str, Any]) -> str:
    """The text of a template with the values in place. Raises UndefinedError where one lacks."""
    return "".join(_texts(parsed(path).body, variables))


def _texts(body: Sequence[nodes.Node], scope: dict[str, Any]) -> Iterator[str]:
    for node in body:
        match node:
            case nodes.Output():
                yield from _texts(node.nodes, scope)
            case nodes.TemplateData():
                yield node.data
            case nodes.If(elif_=[]):
                yield from _texts(node.body if _value(node.test, scope) else node.else_, scope)
            case nodes.For(target=nodes.Name(name=name)):
                for item in _value(node.iter, scope):
                    yield from _texts(node.body, {**scope, name: item})
            case _:
                yield str(_value(node, scope))


def _value(node: nodes.Node, scope: dict[str, Any]) -> Any:
    match node:
        case nodes.Name():
            return (
                scope[node.name] if node.name in scope else environment().undefined(name=node.name)
            )
        case nodes.Getattr():
            return environment().getattr(_value(node.node, scope), node.attr)
        case nodes.Filter(node=nodes.Expr() as inner):
            return quote.FILTERS[node.name](_value(inner, scope))
        case _:
            raise TypeError(f"line {node.lineno}: a template has no {type(node).__name__}")
