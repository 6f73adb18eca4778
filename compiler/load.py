"""Read a spec: one TOML file in, a `Document` out, or one error that says where and how to mend it.

`tomllib` parses but keeps no positions. `Scanner` finds them in text that `tomllib` accepted, and
only when one is asked for. In text that it refused, `Refusal` says in a user's words why, and the
scanner tells it what was open, or set before, at that place.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

MAX_BYTES = 10_000_000

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


@dataclass(frozen=True)
class Span:
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


class Fault(NamedTuple):
    """What is wrong with the text between two offsets."""

    message: str
    start: int
    end: int
    hint: str | None = None
    kind: str = "syntax"


_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_KEY_BEFORE = re.compile(r"(\"[^\"]*\"|'[^']*'|[^\s{,=]+)[ \t]*(?:=[ \t]*)?$")
_STATEMENT = re.compile(r"[\w.\"'-]+[ \t]*=|\[")
_BREAK = re.compile(r"[\s=,\[\]{}\"'#]")
_NUMBER = re.compile(r"([+-]?)0*([0-9_]*)(?:(\.)([0-9_]*))?([eE][+-]?[0-9]+)?")


def diagnose(text: str, error: ValueError | RecursionError) -> Fault:
    """What an error of tomllib's means to a user."""
    if isinstance(error, RecursionError):
        deep = re.search(r"(?:[\[{][^\[\]{}]*){64}", text)
        start = deep.start() if deep else 0
        message, hint = "lists or tables are nested too deeply", "a spec needs only a few levels"
        return Fault(message, start, start + 1, hint, "too-deep")
    position = _POSITION.fullmatch(str(error))
    if not position:  # the one error tomllib lets through: Python's limit of 4300 digits for int()
        number = re.search(r"[0-9_]{4300,}", text)
        start, end = number.span() if number else (0, 1)
        return Fault("this number has too many digits", start, end, "text needs quotes")
    what, line, column = position.groups()
    at = len(text.rstrip())
    if line:
        lines = text.split("\n", int(line) - 1)
        at = len(text) - len(lines[-1]) + int(column) - 1
    return Refusal(text, what, at).explain()


class Refusal:
    """What tomllib said, where, and the line around that place, cut in two there."""

    def __init__(self, text: str, what: str, at: int) -> None:
        self.text, self.what, self.at = text, what, at
        self.before, self.rest = text[:at].rpartition("\n")[2], text[at:].partition("\n")[0]
        self.code = re.split(r"(?:^|\s)#", self.rest, maxsplit=1)[0].rstrip()
        self.left = _BREAK.split(self.before)[-1]
        self.right = _BREAK.split(self.rest, maxsplit=1)[0]
        self.key, self.key_start = "key", at
        key_end = at if what.startswith("Expected '='") else at - len(self.left)
        if key := _KEY_BEFORE.search(text[:key_end].rpartition("\n")[2][-200:]):
            self.key, self.key_start = key[1], at - len(key[0])
        self.scanner = Scanner(text, at)

    def explain(self) -> Fault:
        if self.what.startswith(("Unescaped", "Invalid hex", "Escaped")):
            return self.escape()
        if self.rest and not self.rest[0].isprintable():
            return self.bad_character(ord(self.rest[0]))
        with suppress(Stop):
            self.scanner.run()
        if self.what.startswith(("Cannot", "Duplicate")):
            return self.duplicate()
        if re.match('Unterminated|Illegal|Found|Expected "', self.what):
            return self.open_string()
        begins = not self.before.strip() and _STATEMENT.match(self.rest)
        if self.scanner.open and (begins or not self.code):
            return self.open_bracket()
        if self.what.startswith(("Expected '", "Invalid statement", "Invalid initial")):
            return self.bad_key()
        more = self.what.startswith(("Expected newline", "Unclosed"))
        if self.what == "Invalid value" or (more and self.left and self.right):
            return self.bad_value()
        if more:
            return self.left_over()
        end = self.at + len(self.right)
        if self.what.startswith("Invalid date"):
            hint = "a date is year-month-day, such as 2026-02-28; text needs quotes"
            return Fault(f"`{self.right}` is not in the calendar", self.at, end, hint)
        return Fault(self.what[:1].lower() + self.what[1:], self.at, end)

    def bad_key(self) -> Fault:
        end = self.at + len(self.right)
        if self.rest[:1].isalnum() and not self.rest[0].isascii():
            key = self.left + self.right
            hint = f'write `"{key}"`: bare keys have A-Z, a-z, 0-9, `_` and `-`'
            return Fault(f"the key `{key}` needs quotes", self.at - len(self.left), end, hint)
        if self.what.startswith("Expected '='"):
            return self.no_equals()
        if self.what.startswith("Expected ']"):
            return self.open_header()
        return self.no_key()

    def escape(self) -> Fault:
        start = self.text.rindex("\\", 0, self.at)
        message = f"`{self.text[start : start + 2].strip()}` starts no escape that TOML knows"
        hint = r"write `\\` for a backslash, or put the string in single quotes"
        return Fault(message, start, start + 2, hint)

    def bad_character(self, code: int) -> Fault:
        message = f"the character U+{code:04X} must not stand here"
        escape = f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
        hint = f"remove it; in a string write `{escape}`"
        return Fault(message, self.at, self.at + 1, hint)

    def duplicate(self) -> Fault:
        scanner = self.scanner
        old, parts = scanner.clash or self.earlier()
        header = scanner.header
        whole = bool(scanner.clash) or len(parts) == len(scanner.parts)
        start, end = parts[0].place[0], parts[-1].place[1]
        name = self.text[start:end]
        line = self.text.count("\n", 0, old.key[0] if old.key else 0) + 1
        is_list = old.newest() is not old
        hint = "keep one of the two"
        if header and whole and not old.value:
            hint = f"keep one `[{name}]`, or write `[[{name}]]` each time for a list of tables"
            if header == "[" and not is_list:
                message = f"the table `[{name}]` is defined twice, first on line {line}"
                return Fault(message, start, end, hint, "duplicate-table")
        message = f"`{name}` is set twice, first on line {line}"
        if header or not whole or not (old.value or scanner.clash):
            what = "a value" if old.value else "a list of tables" if is_list else "a table"
            message = f"`{name}` is already {what}, from line {line}"
        return Fault(message, start, end, hint, "duplicate-key")

    def earlier(self) -> tuple[Node, list[Part]]:
        """What the refused key runs into: the last thing along it that exists already."""
        node, parts = self.scanner.table, self.scanner.parts
        for depth, part in enumerate(parts):
            following = node.newest().children.get(part.name)
            if following is None:
                return node, parts[:depth]
            node = following
        return node, parts

    def open_string(self) -> Fault:
        start = self.scanner.token
        quote = self.text[start]
        if self.text.startswith(quote * 3, start):
            hint = f"end it with `{quote * 3}`"
        else:
            hint = f"end it with `{quote}`; a text of several lines stands in `{quote * 3}`"
        return Fault("this string is never closed", start, self.at, hint)

    def open_bracket(self) -> Fault:
        start = self.scanner.open[-1][1]
        bracket = self.text[start]
        hint = "end it with `]`" if bracket == "[" else "end it with `}` on the same line"
        return Fault(f"this `{bracket}` is never closed", start, start + 1, hint)

    def open_header(self) -> Fault:
        line = self.before + self.code
        many = line.lstrip().startswith("[[")
        name = "_".join(line.strip("[] \t").split())
        start = self.at - len(self.before.lstrip())
        hint = f"write `[[{name}]]`" if many else f"write `[{name}]`"
        return Fault("this table header is not complete", start, self.at + len(self.code), hint)

    def no_equals(self) -> Fault:
        code, end = self.code.strip(), self.key_start + len(self.key)
        if code.startswith(":"):
            value = code[1:].strip()
            hint = f"write `{self.key} = {_as_toml(value)}`"
            if "{" in self.before:
                hint = "write `=` in place of `:`"
            elif not value:
                hint = f"write `[{self.key}]`, and the keys below it as `key = value`"
            message = f"`{self.key}:` is YAML or JSON; TOML sets a key with `=`"
            return Fault(message, self.key_start, self.at + 1, hint)
        if not code:
            return Fault(
                f"`{self.key}` has no value", self.key_start, end, f"write `{self.key} = ...`"
            )
        hint = f"write `{self.key} = {_as_toml(code)}`"
        if "=" in code:
            words = [self.key, *code.partition("=")[0].split()]
            hint = f"a key is one word, such as `{'_'.join(words)}`"
        return Fault(
            f"`=` is missing behind `{self.key}`", self.at, self.at + len(self.right), hint
        )

    def bad_value(self) -> Fault:
        nested = bool(self.scanner.open)
        word, start = self.left + (self.right if nested else self.code), self.at - len(self.left)
        if not self.left + self.right:
            if self.code:
                hint = "write one `=`" if self.code[0] == "=" else "write it, or remove one"
                message = f"a value is missing before `{self.code[0]}`"
                return Fault(message, self.at, self.at + 1, hint)
            hint = f"write `{self.key} = ...`, or remove the line"
            return Fault(f"`{self.key}` has no value", self.key_start, self.at, hint)
        message, end = f"`{word}` is not a TOML value", start + len(word)
        number = _NUMBER.fullmatch(word)
        if word.lower() in ("true", "false"):
            return Fault(message, start, end, f"write `{word.lower()}`")
        if word.lower() in ("null", "none", "nil"):
            return Fault(message, start, end, "TOML has no null: leave the key out")
        if word.startswith("("):
            return Fault(message, start, end, "write a list in square brackets: `[...]`")
        if number and (number[2] or number[4]):
            sign, whole, point, fraction, exponent = number.groups("")
            fixed = f"{sign}{whole or 0}{point}{(fraction or 0) if point else ''}{exponent}"
            return Fault(message, start, end, f"write `{fixed}`")
        hint = _quoted(word) if nested else f"{self.key} = {_quoted(word)}"
        return Fault(f"the text `{word}` needs quotes", start, end, f"write `{hint}`")

    def left_over(self) -> Fault:
        """A value or header is complete, and then comes more."""
        found = self.right or self.rest[0]
        end = self.at + len(found)
        if self.scanner.open:
            close = "]" if self.text[self.scanner.open[-1][1]] == "[" else "}"
            hint = "put a `,` between one and the next"
            return Fault(f"expected `,` or `{close}` before `{found}`", self.at, end, hint)
        message = f"only a comment may follow here, not `{found}`"
        hint = "text needs quotes, a comment a `#`, and the next key its own line"
        if thousands := re.match(r"(?:,[0-9]{3})+\b", self.rest):
            hint = f"write `{self.left}{thousands[0].replace(',', '')}`"
        elif self.code in (",", ";"):
            hint = "remove it"
        return Fault(message, self.at, end, hint)

    def no_key(self) -> Fault:
        found, end = self.code[:1], self.at + 1
        if not found:
            return Fault("a key is missing here", self.at, end, "write `key = value`")
        if found == "}" and self.before.rstrip().endswith(","):
            return Fault("a `,` must not stand before `}`", self.at, end, "remove it")
        hint = "a key has A-Z, a-z, 0-9, `_` and `-`, or is in quotes; a comment starts with `#`"
        return Fault(f"a key cannot start with `{found}`", self.at, end, hint)


def _quoted(text: str) -> str:
    text = text.strip("\u201c\u201d\u2018\u2019")  # quotes that a word processor made
    if re.search(r'["\\]', text) and "'" not in text:
        return f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _as_toml(value: str) -> str:
    """The value if it is TOML, else what was probably meant."""
    value = value.rstrip(",")
    try:
        tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        return value.lower() if value in ("True", "False") else _quoted(value)
    return value


@dataclass(frozen=True, eq=False)
class Document:
    """A spec as read: `path` as the user gave it, `text` (no byte order mark), `data` from tomllib.

    A path into `data` is a sequence of keys and indices, such as ("data", "train", 1, "source").
    """

    path: str
    text: str
    data: dict[str, Any]

    def key(self, path: Sequence[str | int]) -> Span | None:
        """Where the key itself is written, or None if `path` does not exist.

        For a table that is its name in the `[header]`, for an element of an array of tables its
        whole `[[header]]`, for an item of an array the item's own text.
        """
        return self.locate(path) if path and len(self._walk(path)) == len(path) else None

    def value(self, path: Sequence[str | int]) -> Span | None:
        """Where the value is written, to the end of its first line; None for a `[table]`."""
        nodes = self._walk(path)
        place = nodes[-1].value if nodes and len(nodes) == len(path) else None
        return self.span(*place) if place else None

    def locate(self, path: Sequence[str | int]) -> Span:
        """The key's span, or that of the nearest enclosing thing, or the start of the file."""
        nodes = self._walk(path)
        place = (nodes[-1].key or nodes[-1].value) if nodes else None
        return self.span(*place) if place else START

    def line(self, number: int) -> str:
        """The source line (from 1) without its line end; IndexError if there is no such line."""
        if number < 1:
            raise IndexError(f"lines are counted from 1, not {number}")
        return self._lines[number - 1]

    def span(self, start: int, end: int) -> Span:
        """The first line of what stands at these offsets, which count a line end as one."""
        number = bisect_right(self._starts, start)
        origin = self._starts[number - 1] - 1
        line_end = self._starts[number] - 1
        return Span(number, start - origin, max(start + 1, min(end, line_end)) - origin)

    def _walk(self, path: Sequence[str | int]) -> list[Node]:
        """The nodes along `path`, without the root, as far as they exist."""
        nodes = [self._root]
        for step in path:
            if step not in nodes[-1].children:
                break
            nodes.append(nodes[-1].children[step])
        return nodes[1:]

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.replace("\r\n", "\n").split("\n")

    @cached_property
    def _starts(self) -> list[int]:
        return list(accumulate((len(line) + 1 for line in self._lines), initial=0))

    @cached_property
    def _root(self) -> Node:
        return Scanner("\n".join(self._lines)).run()


class SpecSyntaxError(Exception):
    """The spec cannot be read.

    `kind` is a diagnostic code: syntax, duplicate-key, duplicate-table, too-deep, encoding,
    too-large, not-found, not-a-file or unreadable. `hint` says how to mend it, where that is known.
    `line` is the source line that `span` lies in, "" for a file that was not read.
    """

    def __init__(self, kind: str, path: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.kind, self.path, self.message, self.hint = kind, path, message, hint
        self.span, self.line = START, ""

    def __str__(self) -> str:
        return f"{self.path}:{self.span.line}:{self.span.column}: {self.message}"


def load(path: str | Path) -> Document:
    """Read and parse one file; every failure is a SpecSyntaxError."""
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        inside = sorted(str(child) for child in Path(path).glob("*.toml"))
        hint = f"did you mean `{inside[0]}`?" if inside else "name a file, such as `spec.toml`"
        raise SpecSyntaxError("not-a-file", name, "this is a folder, not a spec", hint) from None
    except (FileNotFoundError, NotADirectoryError):
        raise SpecSyntaxError("not-found", name, "there is no such file", _near(path)) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        message = f"the file cannot be read: {getattr(error, 'strerror', None) or error}"
        hint = "check its permissions" if isinstance(error, PermissionError) else None
        raise SpecSyntaxError("unreadable", name, message, hint) from None
    if len(raw) > MAX_BYTES:
        hint = "a spec holds settings; keep data in files of its own and name them in the spec"
        raise SpecSyntaxError("too-large", name, "the file is larger than 10 MB", hint)
    try:
        return parse(raw.decode(), name)
    except UnicodeDecodeError as error:
        raise _not_utf8(name, raw, error.start) from None


def parse(text: str, path: str) -> Document:
    """Parse the text of a spec; `path` is only passed on. Raises SpecSyntaxError."""
    text = text.removeprefix("\ufeff")
    try:
        return Document(path, text, tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        fault = diagnose(text.replace("\r\n", "\n"), error)
    raise _error(Document(path, text, {}), fault)


def _error(document: Document, fault: Fault) -> SpecSyntaxError:
    message, hint = _short(fault.message), _short(fault.hint) if fault.hint else None
    error = SpecSyntaxError(fault.kind, document.path, message, hint)
    error.span = document.span(fault.start, fault.end)
    error.line = document.line(error.span.line)
    return error


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:120]} ... {text[-60:]}"


def _near(path: str | Path) -> str:
    from difflib import get_close_matches  # 4 ms that only this error needs

    names = sorted(child.name for child in Path(path).parent.glob("*.toml"))
    match = get_close_matches(Path(path).name, names, 1)
    if match:
        return f"did you mean `{Path(path).with_name(match[0])}`?"
    return "check the path, or write a first spec with `ftc new`"


def _not_utf8(name: str, raw: bytes, start: int) -> SpecSyntaxError:
    document = Document(name, raw.decode(errors="replace").removeprefix("\ufeff"), {})
    at = len(raw[:start].decode().removeprefix("\ufeff").replace("\r\n", "\n"))
    message = f"byte 0x{raw[start]:02X} (at offset {start}) is not UTF-8"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        message = "the file is in UTF-16"
    return _error(document, Fault(message, at, at + 1, "save the file as UTF-8", "encoding"))
