"""Values as source text of the language that they land in, laid out as its formatter would.

Every value of a spec passes through one of these on its way into a generated file.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from ..diagnostics.tree import is_array, is_table, is_tuple
from ..plan.data import SourcePlan
from ..plan.values import Value, is_value

WIDTH = 100  # columns of the generated Python


def bare(value: Any) -> Any:
    """The value itself; None stays None."""
    return value.value if is_value(value) else value


def py(value: Any) -> str:
    """A Python literal. Items of a list or dict get a line each; a number is written as ruff would."""
    value = bare(value)
    if isinstance(value, str):
        return _py_text(value)
    if is_array(value):
        items = "".join(f"    {py(item)},\n" for item in value)
        return f"[\n{items}]"
    if is_table(value):
        items = "".join(f"    {inline(k)}: {inline(v)},\n" for k, v in value.items())
        return f"{{\n{items}}}"
    return inline(value)


def inline(value: Any) -> str:
    """A Python literal on one line."""
    value = bare(value)
    if isinstance(value, str):
        return _py_text(value)
    if is_array(value):
        return f"[{', '.join(inline(item) for item in value)}]"
    if is_tuple(value):
        return f"({', '.join(inline(item) for item in value)})"
    if is_table(value):
        return f"{{{', '.join(f'{inline(k)}: {inline(v)}' for k, v in value.items())}}}"
    return repr(value)


def _py_text(text: str) -> str:
    """Double quotes, unless that needs more escapes than single ones."""
    quote = "'" if text.count('"') > text.count("'") else '"'

    def escape(character: str) -> str:
        if character in (quote, "\\"):
            return "\\" + character
        return character if character.isprintable() else repr(character)[1:-1]

    return quote + "".join(escape(character) for character in text) + quote


def sh(value: Any) -> str:
    """One word of a shell command."""
    return shlex.quote(str(bare(value)))


def name(value: Any) -> str:
    """An identifier that the compiler chose itself, such as a dtype."""
    text = str(bare(value))
    if not text.isidentifier():
        raise ValueError(f"{text!r} is no identifier")
    return text


def comment(value: Any) -> str:
    """Text in a comment or in prose: one line, nothing that could end it or be run."""
    text = str(bare(value))
    kept = (c if c.isprintable() and c not in '`\\"$' else " " for c in text)
    return " ".join("".join(kept).split()) or "-"


def comment_lines(value: Any) -> str:
    """The same for text of several lines, which stay apart."""
    return "\n".join(comment(line) for line in str(bare(value)).splitlines())


FORMULA = re.compile(r"[\w)] [x/] [\w(]")  # 32 / (1 x 4)


def origin(value: Any) -> str:
    """Where a value comes from, as a comment; a value that is absent is absent by default.

    A derived one has a formula, behind "=", or a reason, behind "auto:".
    """
    if not is_value(value):
        return "default"
    derived = value.origin.kind == "derived" and not FORMULA.search(value.origin.detail)
    return comment(f"auto: {value.origin.detail}" if derived else str(value.origin))


def constant(name: str, value: Value[Any]) -> str:
    """A constant with its origin; a list or a dict that is too long for a line gets a line an item."""
    text = f"{name} = {inline(value)}"
    return f"{text if len(text) <= WIDTH else f'{name} = {py(value)}'}  # {origin(value)}"


def source(plan: SourcePlan) -> str:
    """The call that makes a `data.Source`, inside a list."""
    given = [(key, value) for key, value in plan._asdict().items() if value is not None]
    return call("data.Source", [f"{key}={inline(value)}" for key, value in given], indent=4)


def call(function: str, arguments: list[str], indent: int, before: int = 1) -> str:
    """A call on one line, or its arguments on a line of their own, or with a line for each.

    `before`: how many more characters are on the line, such as a comma.
    """
    inside = ", ".join(arguments)
    one_line = f"{function}({inside})"
    if indent + len(one_line) + before <= WIDTH:
        return one_line
    if indent + 4 + len(inside) <= WIDTH:
        return f"{function}(\n{' ' * (indent + 4)}{inside}\n{' ' * indent})"
    lines = "".join(f"{' ' * (indent + 4)}{argument},\n" for argument in arguments)
    return f"{function}(\n{lines}{' ' * indent})"


def all_imports(modules: dict[str, list[str]]) -> str:
    """Imports of names, as isort lays them out at its default width of 88 columns."""
    return "\n".join(_import(module, names) for module, names in modules.items() if names)


def _import(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= 88:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


FILTERS = {
    "py": py,
    "sh": sh,
    "name": name,
    "comment": comment,
    "comment_lines": comment_lines,
    "origin": origin,
    "source": source,
}
