"""Where things are written in TOML, which `tomllib` does not tell.

`Scanner` is a second, single pass over text that `tomllib` accepted. In text that it refused, the
scanner stops at the place of the error and knows what was open there, or set before.
"""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple

# The unrolled loops keep these linear, also where they fail.
# Commas count as blank: accepted text has them in place.
_BLANK = re.compile(r"[ \t\n,]*(?:#[^\n]*[ \t\n,]*)*")
_QUOTED = r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"' + r"|'[^'\n]*'"
_KEY = re.compile(_QUOTED + "|[A-Za-z0-9_-]+")
_SCALAR = re.compile(
    r'"""[^"\\]*(?:(?:\\.|"{1,2}(?!"))[^"\\]*)*"{3,5}'
    r"|'''[^']*(?:'{1,2}(?!')[^']*)*'{3,5}"
    r'|(?!"{3})' + r"(?!'{3})" + f"(?:{_QUOTED})"
    r"|(?:[0-9]{4}-[0-9]{2}-[0-9]{2} (?=[0-9]{2}:))?[^ \t\n,\]}#\"']+",
    re.DOTALL,
)


class Span(NamedTuple):
    """A place on one line: 1-based, in characters; `end_column` is exclusive, beyond `column`."""

    line: int
    column: int
    end_column: int


START = Span(1, 1, 2)


class Part(NamedTuple):
    """One part of a dotted key: its name without quotes, and the offsets where it is written."""

    name: str
    place: tuple[int, int]


class Node:
    """A key, table or item: the offsets of its key and of its value, and what it contains."""

    __slots__ = ("children", "key", "value")

    def __init__(self, key: tuple[int, int] | None = None) -> None:
        self.key = key
        self.value: tuple[int, int] | None = None
        self.children: dict[str | int, Node] = {}

    def child(self, part: Part) -> Node:
        """The child of this name; a new one is first written at `part`."""
        return self.children.setdefault(part.name, Node(part.place))

    def own(self, step: str | int) -> Node:
        """The child at that step, from now on a copy: what becomes of its children is not seen elsewhere."""
        old = self.children[step]
        copy = self.children[step] = Node(old.key)
        copy.value, copy.children = old.value, dict(old.children)
        return copy

    def newest(self) -> Node:
        """The last element if this is an array of tables, else the node itself."""
        return self.children.get(len(self.children) - 1, self)


class Stop(Exception):
    """The scanner has reached its `stop`."""


class Scanner:
    """Walks through TOML once, without recursion, and keeps where things are written.

    It judges nothing: the text before `stop` must be what tomllib accepts. What it was at when it
    stopped (the statement, what was open, the last token) explains an error there.
    """

    def __init__(self, text: str, stop: int | None = None) -> None:
        self.text = text
        self.stop = len(text) + 1 if stop is None else stop
        self.root = self.table = Node()
        self.parts: list[Part] = []  # the key of the statement at hand, relative to `table`
        self.header = ""  # "[" or "[[" if that statement is a header
        self.open: list[tuple[Node, int]] = []  # arrays and inline tables, with their start
        self.token = 0  # where the last key part or scalar starts
        self.clash: tuple[Node, list[Part]] | None = None  # what an inline table sets twice

    def run(self) -> Node:
        table, pos = self.root, self.blank(0)
        while pos < len(self.text):
            if self.text[pos] == "[":
                table, pos = self.scan_header(pos)
            else:
                pos = self.scan_pair(table, pos)
            pos = self.blank(pos)
        return self.root

    def before_stop(self, pos: int) -> int:
        if pos >= self.stop:
            raise Stop
        return pos

    def blank(self, pos: int) -> int:
        """The offset behind white space, line ends, comments and commas."""
        match = _BLANK.match(self.text, pos)
        return self.before_stop(match.end() if match else pos)

    def token_end(self, pattern: re.Pattern[str], pos: int) -> int:
        self.token = pos
        if match := pattern.match(self.text, pos):
            return match.end()
        raise Stop

    def scan_header(self, pos: int) -> tuple[Node, int]:
        """`[a.b]` or `[[a.b]]`: the table it opens, and the offset behind it."""
        self.header = "[[" if self.text.startswith("[[", pos) else "["
        self.table = node = self.root
        parts, end = self.scan_key(pos + len(self.header))
        end = self.before_stop(end + len(self.header))
        for part in parts:
            node = node.newest().child(part)
        if self.header == "[[":
            node.children[len(node.children)] = Node((pos, end))
            return node.newest(), end
        node.key = parts[-1].place
        return node, end

    def scan_pair(self, table: Node, pos: int) -> int:
        """`a.b = value`: the offset behind it."""
        self.header, self.table = "", table
        parts, pos = self.scan_key(pos)
        node = Node(parts[-1].place)
        end = self.before_stop(self.scan_value(node, self.blank(pos + 1)))
        for part in parts[:-1]:
            table = table.child(part)
        table.children[parts[-1].name] = node
        return end

    def scan_key(self, pos: int) -> tuple[list[Part], int]:
        """A dotted key: its parts, and the offset of the `=` or bracket behind it."""
        parts: list[Part] = []
        if not self.open:
            self.parts = parts
        while not parts or self.text[pos] == ".":
            start = self.blank(pos + bool(parts))
            end = self.token_end(_KEY, start)
            name = self.text[start:end]
            if name[0] in "\"'":
                name = tomllib.loads(f"name = {name}")["name"] if "\\" in name else name[1:-1]
            parts.append(Part(name, (start, end)))
            pos = self.blank(end)
        return parts, pos

    def scan_value(self, node: Node, pos: int) -> int:
        """Any value, with all that it contains: the offset behind it."""
        while True:
            if self.text[pos] in "[{":
                self.open.append((node, pos))
                end = pos + 1
            else:
                end = self.token_end(_SCALAR, pos)
                node.value = pos, end
            while self.open:
                end = self.blank(end)
                if self.text[end] not in "]}":
                    break
                end += 1
                closed, start = self.open.pop()
                closed.value = start, end
            else:
                return end
            node, pos = self.next_member(end)

    def next_member(self, pos: int) -> tuple[Node, int]:
        """The next item or key of what is open: its node, and the offset of its value."""
        node, start = self.open[-1]
        if self.text[start] == "[":
            item = node.children[len(node.children)] = Node()
            return item, pos
        parts, pos = self.scan_key(pos)
        for number, part in enumerate(parts, 1):
            node = node.child(part)
            if node.value or (number == len(parts) and node.children):
                self.clash = self.clash or (node, parts[:number])
        return node, self.blank(pos + 1)
