"""A spec that is broken: what is wrong with it, and what of it can be relied on all the same."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..diagnostics.tree import is_array
from ..document.load import Document
from ..spec.describe import METHODS, is_list, kind_of, method, models_in
from ..spec.keys import Table
from ..spec.spec import Spec
from . import structure, unknown_keys
from .shape import read

T = TypeVar("T", bound=Table)


def judge(document: Document) -> tuple[Spec, list[Diagnostic], Document]:
    """The spec without what was refused (asking for that raises Refused), why it was, and the
    document as it was judged."""
    meant = read(document)
    problems = structure.check(document)
    if meant.data != document.data:
        problems = {**structure.check(meant), **problems}
    spec = _what_is_left(Spec, meant.data, (), _refused(problems, kind_of(meant.data)))
    return spec, list(problems.values()), meant


def _refused(problems: dict[KeyPath, Diagnostic], kind: str) -> set[KeyPath]:
    """The keys and items that can't be relied on. A list with one of its items can't, as a whole."""
    refused: set[KeyPath] = set()
    for path, problem in problems.items():
        if problem.code == "unknown-key" and problem.message != structure.UNEXPLAINED:
            refused |= {meant} if (meant := unknown_keys.meant(path, kind)) else set()
        refused.add(path)
        while path and isinstance(path[-1], int):
            path = path[:-1]
            refused.add(path)
    return refused


def _what_is_left(
    model: type[T], data: dict[str, Any], path: KeyPath, refused: Collection[KeyPath]
) -> T:
    """A table without what was refused; asking for that raises Refused."""
    values: dict[str, Any] = {}
    rest: dict[str, dict[int, Any]] = {}  # see Table.each
    for name, field in model.model_fields.items():
        if name not in data:
            continue
        here, models = (*path, name), list(models_in(field.annotation))
        as_list = is_list(field.annotation) or not models
        if here in refused and not (as_list and is_array(data[name])):
            continue
        value: Any = data[name]
        if name == "method" and not path:
            kind = value.get("kind")
            models = [method(kind)] if kind in METHODS else []
            if not models:
                continue
        if is_array(value):
            items = {
                number: _what_is_left(models[0], item, (*here, number), refused) if models else item
                for number, item in enumerate(value)
                if (*here, number) not in refused
            }
            values[name] = list(items.values())
            rest[f"{name}[]"] = items
        else:
            values[name] = _what_is_left(models[0], value, here, refused) if models else value
    table = model.model_construct(**values)  # the other keys have their defaults
    for name in model.model_fields:
        if (*path, name) in refused:
            vars(table).pop(name, None)
    vars(table).update(rest)
    return table
