"""Tables of a wrong shape or name, read as they were meant, so that what is in them is judged, too."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

from ..diagnostics.diagnostic import MOST
from ..diagnostics.guess import nearest
from ..diagnostics.tree import is_array, is_table
from ..document.load import Document
from ..document.scanner import Node
from ..spec.describe import homes, is_list, kind_of, method, models_in
from ..spec.other_tools import NO_KEY, RENAMED
from ..spec.spec import Spec


def read(document: Document) -> Document:
    """The document as it was probably meant: `[data.train]` as a list of one, `[optm]` as [optim]."""
    root = Node()
    root.children = dict(document.root.children)
    return replace(document, data=_table(Spec, document.data, root), nodes=root)


def _table(model: type[Any], data: dict[str, Any], node: Node) -> dict[str, Any]:
    """The table with its tables under their names and in their shapes; `node` follows it."""
    data = dict(data)
    tables = {
        name: field
        for name, field in model.model_fields.items()
        if any(models_in(field.annotation))
    }
    unknown = (
        word
        for word, value in data.items()
        if word not in model.model_fields and _holds_keys(value)
    )
    for word in list(islice(unknown, MOST)):
        name = nearest(word, model.model_fields)
        other = word.lower() in {*NO_KEY, *RENAMED} or homes(word)
        if not name or other or name in data or name not in tables:
            continue
        data[name], node.children[name] = data.pop(word), node.children[word]
    for name, field in tables.items():
        if name not in data:
            continue
        many, value, child = is_list(field.annotation), data[name], node.own(name)
        if name == "data" and _is_source(value):
            outer = node.children[name] = Node(child.key)
            outer.children = {"train": child}
            value, child = {"train": value}, outer
        if many and is_table(value):
            outer = node.children[name] = Node(child.key)
            outer.value, outer.children = child.value, {0: child}
            value, child = [value], outer
        elif not many and _holds_keys(value) and is_array(value) and len(value) == 1:
            value, child = value[0], child.own(0)
            node.children[name] = child
        inner = next(models_in(field.annotation))
        if name == "method" and is_table(value):
            inner = method(kind_of({name: value}))
        if is_table(value):
            value = _table(inner, value, child)
        elif is_array(value):
            value = [
                _table(inner, item, child.own(number)) if is_table(item) else item
                for number, item in enumerate(value)
            ]
        data[name] = value
    return data


def _holds_keys(value: Any) -> bool:
    return is_table(value[0] if is_array(value) and value else value)


def _is_source(value: Any) -> bool:
    """Whether `[[data]]` or `[data]` holds what belongs in [[data.train]]."""
    tables: list[Any] = value if is_array(value) else [value]
    return bool(tables) and all(is_table(table) and "source" in table for table in tables)
