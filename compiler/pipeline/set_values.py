"""`--set optim.learning_rate=1e-4`: a spec's text with a value replaced, or added where it belongs.

The run's spec.toml is the changed text, so a run can be compiled again from its own directory.
Problems are told where the user wrote what is wrong: in his file, or on the command line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ..diagnostics.diagnostic import CompileError, Diagnostic, KeyPath
from ..document.load import Document, parse
from ..document.scanner import Node, Scanner
from ..document.write_toml import toml
from ..plan.names import decided_by
from ..spec.describe import dotted

FORM = re.compile(r"^(?P<path>[A-Za-z0-9_.\[\]-]+?)=(?P<value>.*)$", re.S)


class Setting(NamedTuple):
    """One KEY=VALUE: the path, where each step of it stands, the value as TOML, and where that stands."""

    path: KeyPath
    keys: list[tuple[int, int]]
    text: str
    value: Node


def override(document: Document, settings: Sequence[str]) -> Document:
    """The document with each `key=value` applied, in order. A value is TOML, or else a text.

    Raises CompileError for settings that are no `key=value` or that have no place in the spec.
    """
    if not settings:
        return document
    text = document.text.replace("\r\n", "\n")
    arguments = tuple(f"--set {setting}".replace("\n", "\u2424") for setting in settings)
    nodes = Scanner(text).run()
    document = replace(
        document, text=text, original=document.text, arguments=arguments, nodes=nodes
    )
    at, problems = len(text) + 1, list[Diagnostic]()
    for setting, argument in zip(settings, arguments, strict=True):
        try:
            read = _read(setting, at + len("--set "))
            keys = decided_by(dotted(read.path))
            if keys:
                problems.append(_derived(document, argument, read, keys))
            else:
                document = _applied(document, read)
        except ValueError as error:
            problems.append(_problem(document, argument, str(error)))
        at += len(argument) + 1
    if problems:
        raise CompileError(problems)
    return document


def _read(setting: str, at: int) -> Setting:
    """A setting that stands at this offset. Raises ValueError if it is none."""
    match = FORM.match(setting)
    words = list(re.finditer(r"[^.\[\]]+", match["path"])) if match else []
    if match is None or not words:
        raise ValueError("this has not the form KEY=VALUE")
    path = tuple(int(word[0]) if word[0].isdigit() else word[0] for word in words)
    keys = [(at + word.start(), at + word.end()) for word in words]
    return Setting(path, keys, *_value(match["value"], at + match.start("value")))


def _value(text: str, at: int) -> tuple[str, Node]:
    """The value that stands at this offset, as TOML: as it stands if it is TOML, else in quotes."""
    try:
        if list(tomllib.loads(f"value = {text}")) == ["value"]:
            return text, Scanner(f"{'value = ':>{at}}{text}").run().children["value"]
    except tomllib.TOMLDecodeError:
        pass
    except RecursionError:
        raise ValueError("its value is nested more deeply than any key needs") from None
    node = Node()
    node.value = at, at + max(len(text), 1)
    return toml(text), node


def _applied(document: Document, setting: Setting) -> Document:
    """The document with the setting in it. Raises ValueError if it has no place there."""
    start, end, new = _change(Document(document.path, document.text, document.data), setting)
    try:
        changed = parse(document.text[:start] + new + document.text[end:], document.path)
    except CompileError as error:
        path, first = dotted(setting.path), error.diagnostics[0]
        if first.code in ("out-of-range", "too-deep"):
            raise ValueError(f"`{path}`: {first.message}") from None
        raise ValueError(f"`{path}` can't be set beside what the spec has") from None
    _place(document.root, setting)
    return replace(document, text=changed.text, data=changed.data)


def _place(node: Node, setting: Setting) -> None:
    """Notes below the root that the value, and what of its path is new, stands in the argument."""
    for step, key in zip(setting.path[:-1], setting.keys, strict=False):
        node = node.children.setdefault(step, Node(key))
    old = node.children.get(setting.path[-1])
    setting.value.key = old.key if old else setting.keys[-1]
    node.children[setting.path[-1]] = setting.value


def _change(document: Document, setting: Setting) -> tuple[int, int, str]:
    """What replaces which part of the document's text."""
    path, text = setting.path, document.text
    place = document.place(path)
    if place is not None:
        return *place, setting.text
    if document.key(path) is not None:
        raise ValueError(f"`{dotted(path)}` is a table, and its keys are set one by one")
    if isinstance(path[-1], int):
        raise ValueError(f"there is no `{dotted(path)}` (the first is [0])")
    pair = f"{path[-1]} = {setting.text}"
    if len(path) == 1:
        return 0, 0, f"{pair}\n"
    home, inline = document.key_place(path[:-1]), document.place(path[:-1])
    if inline is not None and text.startswith("{", inline[0]):
        first = inline[0] + 1
        return first, first, f"{pair}, " if text[first : inline[1] - 1].strip() else pair
    if home is not None and not _implied(text, home):
        begin = text.rfind("\n", 0, home[0]) + 1
        behind = text.find("\n", home[1]) + 1
        if not text[begin:].lstrip().startswith("["):  # it is there as dotted keys
            return begin, begin, f"{text[begin : home[1]]}.{pair}\n"
        return (behind, behind, f"{pair}\n") if behind else (len(text), len(text), f"\n{pair}\n")
    if not all(isinstance(part, str) for part in path):
        raise ValueError(f"there is no `{dotted(path[:-1])}` to put it in (the first is [0])")
    return len(text.rstrip()), len(text), f"\n\n[{dotted(path[:-1])}]\n{pair}\n"


def _implied(text: str, home: tuple[int, int]) -> bool:
    """Whether a table is there by a header of something in it alone: `data` by [[data.train]]."""
    line = text[text.rfind("\n", 0, home[0]) + 1 :].lstrip()
    return line.startswith("[") and text[home[1] :].lstrip(" \t").startswith(".")


def _derived(
    document: Document, argument: str, setting: Setting, keys: Sequence[str]
) -> Diagnostic:
    """Of a value that `ftc explain` shows, and that follows from others."""
    message = f"`{dotted(setting.path)}` is a value of the plan, not a key of the spec"
    hint = f"it follows from {' and '.join(f'`{key}`' for key in keys)}: set what is to change of these"
    if len(keys) == 1:
        hint = f"set `{keys[0]}`, which decides it"
    return Diagnostic("bad-set", message, document.path, 0, hints=(hint,), argument=argument)


def _problem(document: Document, argument: str, message: str) -> Diagnostic:
    hint = "name a key and its value, as in --set optim.learning_rate=1e-4"
    return Diagnostic("bad-set", message, document.path, 0, hints=(hint,), argument=argument)
