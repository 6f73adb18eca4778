"""The sandbox for chat templates: a step that would make much of little is refused before it is taken."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from math import prod
from typing import Any

from jinja2 import Environment
from jinja2.nodes import EvalContext
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter

from . import time_limit

DIGITS = re.compile(r"\d+")
FIELD = r"%(?:\([^)]*\))?[^a-zA-Z%]*?"
WIDTHS = re.compile(FIELD + r"(\d+)(?:\.(\d+))?")
STAR = re.compile(FIELD + r"\*")
LONGEST = 100_000  # bits of a number


class Bounded(ImmutableSandboxedEnvironment):
    """A sandbox for the time limit of `within`, which holds between two steps only.

    What multiplies, pads, formats, joins and replaces is refused where its result could be larger than
    time_limit.LARGEST. Not bounded: printing a list that holds one text many times over, `sum` of lists,
    `striptags` and `urlize`.
    """

    intercepted_binops = frozenset(("*", "**", "%"))

    def from_string(self, *arguments: Any, **more: Any) -> Any:
        """A template, whose filters are those that the environment has by now, bounded."""
        names = MEASURES.keys() & self.filters.keys()
        self.filters |= {name: _bounded(name, self.filters[name]) for name in names}
        return super().from_string(*arguments, **more)

    def wrap_str_format(self, value: Any) -> Any:
        """What `str.format` is replaced by. Raises RunError for a text beyond measure."""
        found = super().wrap_str_format(value)
        if found is None:
            return None

        @wraps(found)
        def bounded(*arguments: Any, **more: Any) -> str:
            mapped = value.__name__ == "format_map" and len(arguments) == 1
            given = ((), arguments[0]) if mapped else (arguments, more)
            _Measure(self).vformat(value.__self__, *given)
            return found(*arguments, **more)

        return bounded

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An operation, unless its result would be larger than any use. Raises RunError for that."""
        _prove_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, *arguments: Any, **more: Any) -> Any:
        """A call, unless it makes a text beyond measure. Raises RunError for that."""
        name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
        if name in MEASURES and isinstance(owner, str | int):
            arguments = _listed(arguments)
            _prove_call(name, owner, *arguments, **more)
        return super().call(context, function, *arguments, **more)


class _Measure(SandboxedFormatter):
    """Formats as `str.format` does, and refuses a field, or all of them, beyond measure."""

    total = 0

    def format_field(self, value: Any, format_spec: str) -> Any:
        _prove(size(value), *map(int, DIGITS.findall(format_spec)))
        text = super().format_field(value, format_spec)
        self.total += len(text)
        _prove(self.total)
        return text


def size(value: Any) -> int:
    """About how many characters a value is as a text, at least."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if not isinstance(value, list | tuple):
        return 1
    return len(value) + sum(map(size, value))


def _prove(*sizes: Any) -> None:
    if any(isinstance(one, int) and one > time_limit.LARGEST for one in sizes):
        raise time_limit.too_much()


def _prove_operation(operator: str, left: Any, right: Any) -> None:
    numbers = isinstance(left, int) and isinstance(right, int)
    if operator == "%":
        if isinstance(left, str):
            _prove(_printf(left, right))
    elif operator == "**":
        if numbers and left.bit_length() * right > LONGEST:
            raise time_limit.too_much()
    elif numbers:
        if left.bit_length() + right.bit_length() > LONGEST:
            raise time_limit.too_much()
    else:
        times, many = (left, right) if isinstance(left, int) else (right, left)
        if isinstance(times, int) and hasattr(many, "__len__"):
            _prove(len(many) * times)


def _prove_call(name: str, *arguments: Any, **more: Any) -> None:
    with suppress(TypeError, ValueError, AttributeError):  # the call itself says what is wrong
        _prove(MEASURES[name](*arguments, **more))


def _bounded(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, which refuses to make a text beyond measure."""

    @wraps(call)
    def bounded(*arguments: Any, **more: Any) -> Any:
        given = _listed(arguments)
        first = int(isinstance(given[0], Environment | EvalContext))  # what some are passed
        _prove_call(name, *given[first:], **more)
        return call(*given, **more)

    return bounded


def _listed(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments, with lists for iterators, which would be used up."""
    return tuple([*one] if isinstance(one, Iterator | range) else one for one in arguments)


def _printf(text: str, values: Any) -> int:
    """At most how large `text % values` is, for widths in the text or, as `*`, among the values."""
    mapped = isinstance(values, dict)
    items = values if isinstance(values, tuple) else [*values.values()] if mapped else [values]
    widths = [int(width) for found in WIDTHS.findall(text) for width in found if width]
    widths += [abs(item) for item in items if isinstance(item, int)] if STAR.search(text) else []
    # A field of a mapping may be there many times.
    fields = text.count("%(") if mapped else 1
    return len(text) + sum(widths) + fields * sum(map(size, items))


def _replaced(text: Any, old: Any, new: Any, count: int | None = -1) -> int:
    _prove(size(text), size(old), size(new))
    text, old, new = str(text), str(old), str(new)
    times = text.count(old)
    times = times if count is None or count < 0 else min(times, count)
    return len(text) + times * max(0, len(new) - len(old))


def _product(value: Any, *operands: Any, **more: Any) -> int:
    """The size of a value times its operands: of these a number counts as itself, all else with its size."""
    counts = (n if isinstance(n, int) else size(n) for n in (*operands, *more.values()))
    return max(1, size(value)) * prod(max(1, n) for n in counts)


# At most how much of it comes, of str's methods and of filters: by name, of what they are called with.
MEASURES: dict[str, Callable[..., int]] = {
    **dict.fromkeys(
        ("batch", "center", "expandtabs", "indent", "join", "ljust", "rjust"), _product
    ),
    **dict.fromkeys(("to_bytes", "tojson", "translate", "wordwrap", "zfill"), _product),
    "format": lambda text, *values, **more: _printf(str(text), more or values),
    "replace": _replaced,
    "round": lambda value, digits=0, *_: 1000 * abs(digits),  # it computes 10 to that power
}
