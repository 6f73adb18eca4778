"""Read a spec: one TOML file in, a `Document` out, or an error that says where and what to do."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..diagnostics.diagnostic import CompileError, Diagnostic
from ..diagnostics.tree import is_array, is_table
from .scanner import START, Node, Scanner, Span

if TYPE_CHECKING:
    from .syntax_errors import Fault

MAX_BYTES = 10_000_000
# A syntax error, and the text with its hint followed -> the error as it is told.
Judge = Callable[[Diagnostic, str], Diagnostic]


@dataclass(frozen=True, eq=False)
class Document:
    """A spec as read: `path` as the user gave it, `text` (no byte order mark), `data` from tomllib.

    A path into `data` is a sequence of keys and indices, such as ("data", "train", 1, "source").
    Where `--set` has changed it since, `original` is the text in the file, and `arguments` are those of
    the command line. Places are those where the user wrote it, in `source`.
    """

    path: str
    text: str
    data: dict[str, Any]
    original: str | None = None
    arguments: tuple[str, ...] = ()
    nodes: Node | None = None  # of `data`, where that is not as `source` has it

    def key(self, path: Sequence[str | int]) -> Span | None:
        """Where the key itself is written, or None if `path` does not exist.

        For a table that is its name in the `[header]`, for an element of an array of tables its
        whole `[[header]]`, for an item of an array the item's own text.
        """
        return self.locate(path) if path and len(self._walk(path)) == len(path) else None

    def value(self, path: Sequence[str | int]) -> Span | None:
        """Where the value is written, to the end of its first line; None for a `[table]`."""
        place = self.place(path)
        return self.span(*place) if place else None

    def place(self, path: Sequence[str | int]) -> tuple[int, int] | None:
        """The offsets in `source` of the whole value; None for a `[table]`."""
        nodes = self._walk(path)
        return nodes[-1].value if nodes and len(nodes) == len(path) else None

    def locate(self, path: Sequence[str | int]) -> Span:
        """The key's span, or that of the nearest enclosing thing, or the start of the file."""
        nodes = self._walk(path)
        place = (nodes[-1].key or nodes[-1].value) if nodes else None
        return self.span(*place) if place else START

    def key_place(self, path: Sequence[str | int]) -> tuple[int, int] | None:
        """The offsets in `source` of the key itself."""
        nodes = self._walk(path)
        return nodes[-1].key if nodes and len(nodes) == len(path) else None

    def argument(self, line: int) -> str | None:
        """The argument of the command line that this line is, if it is not one of the file."""
        number = line - 1 - len(self._lines) + len(self.arguments)
        return self.arguments[number] if number >= 0 else None

    def where(self, span: Span) -> str:
        """A place in words: the path with its line, or an argument."""
        return self.argument(span.line) or f"{self.path}:{span.line}"

    def line(self, number: int) -> str:
        """The source line (from 1) without its line end; IndexError if there is no such line."""
        if number < 1:
            raise IndexError(f"lines are counted from 1, not {number}")
        return self._lines[number - 1]

    def span(self, start: int, end: int) -> Span:
        """The first line of what stands at these offsets of `source`."""
        number = bisect_right(self._starts, start)
        origin = self._starts[number - 1] - 1
        line_end = self._starts[number] - 1
        return Span(number, start - origin, max(start + 1, min(end, line_end)) - origin)

    def _walk(self, path: Sequence[str | int]) -> list[Node]:
        """The nodes along `path`, without the root, as far as they exist."""
        nodes = [self.root]
        for step in path:
            if step not in nodes[-1].children:
                break
            nodes.append(nodes[-1].children[step])
        return nodes[1:]

    @cached_property
    def source(self) -> str:
        """The text in the file, then each argument, on lines that end in one character."""
        in_file = self.text if self.original is None else self.original
        return "\n".join([in_file.replace("\r\n", "\n"), *self.arguments])

    @cached_property
    def _lines(self) -> list[str]:
        return self.source.split("\n")

    @cached_property
    def _starts(self) -> list[int]:
        return list(accumulate((len(line) + 1 for line in self._lines), initial=0))

    @cached_property
    def root(self) -> Node:
        """What is written where, in the offsets of `source`."""
        return self.nodes or Scanner(self.source).run()


def load(path: str | Path, judged: Judge | None = None) -> Document:
    """Read and parse one file (see `parse`); every failure is a CompileError."""
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        inside = sorted(str(child) for child in Path(path).glob("*.toml"))
        hint = f"did you mean `{inside[0]}`?" if inside else "name a file, such as `spec.toml`"
        raise _problem("not-a-file", name, "this is a folder, not a spec", hint) from None
    except (FileNotFoundError, NotADirectoryError):
        raise _problem("not-found", name, "there is no such file", _near(path)) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        message = f"the file cannot be read: {getattr(error, 'strerror', None) or error}"
        hint = "check its permissions" if isinstance(error, PermissionError) else None
        raise _problem("unreadable", name, message, hint) from None
    if len(raw) > MAX_BYTES:
        hint = "a spec holds settings; keep data in files of its own and name them in the spec"
        raise _problem("too-large", name, "the file is larger than 10 MB", hint)
    try:
        return parse(raw.decode(), name, judged)
    except UnicodeDecodeError as error:
        raise _not_utf8(name, raw, error.start) from None


def parse(text: str, path: str, judged: Judge | None = None) -> Document:
    """Parse the text of a spec; `path` is only passed on. Raises CompileError with every syntax error."""
    text = text.removeprefix("\ufeff")
    try:
        document = Document(path, text, tomllib.loads(text))
        if LONG_NUMBER.search(text) and (place := _too_large(document.data)) is not None:
            raise _out_of_range(document, place)
        return document
    except (ValueError, RecursionError) as error:
        from .recovery import faults  # the words for what is wrong take a while to load

        found = faults(text.replace("\r\n", "\n"), error)
    document = Document(path, text, {})
    problems = ((_at(document, fault), mended) for fault, mended in found)
    raise CompileError(judged(d, mended) if judged and mended else d for d, mended in problems)


# As many digits as a number of more than 64 bits has.
LONG_NUMBER = re.compile(r"0x[0-9a-fA-F_]{16}|0o[0-7_]{21}|0b[01_]{63}|[0-9_]{19}")


def _too_large(value: Any, path: tuple[str | int, ...] = ()) -> tuple[str | int, ...] | None:
    """Where an integer is that takes more than the 64 bits which TOML's have."""
    if isinstance(value, int):
        return path if not -(1 << 63) <= value < 1 << 63 else None
    items: Any = value.items() if is_table(value) else enumerate(value) if is_array(value) else ()
    found = (_too_large(item, (*path, key)) for key, item in items)
    return next((place for place in found if place is not None), None)


def _out_of_range(document: Document, path: tuple[str | int, ...]) -> CompileError:
    from .syntax_errors import Fault

    start, end = document.place(path) or (0, 1)
    message = "this number takes more than 64 bits, and those of TOML don't"
    fault = Fault(message, start, end, "write a smaller one", "out-of-range")
    return CompileError([_at(document, fault)])


def _at(document: Document, fault: Fault) -> Diagnostic:
    line, column, end = span = document.span(fault.start, fault.end)
    source = document.line(line) or None
    return Diagnostic(
        fault.kind,
        _short(fault.message),
        document.path,
        line if source or span != START else 0,
        column,
        end,
        source=source,
        hints=(_short(fault.hint),) if fault.hint else (),
    )


def _problem(code: str, path: str, message: str, hint: str | None) -> CompileError:
    """Of the file as a whole."""
    return CompileError([Diagnostic(code, message, path, hints=(hint,) if hint else ())])


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:120]} ... {text[-60:]}"


def _near(path: str | Path) -> str:
    from ..diagnostics.guess import nearest

    # Of names without .toml, which would make any two of them alike.
    names = sorted(child.stem for child in Path(path).parent.glob("*.toml"))
    match = nearest(Path(path).name.removesuffix(".toml"), names)
    if match:
        return f"did you mean `{Path(path).with_name(match)}.toml`?"
    return "check the path, or write a first spec with `ftc new`"


def _not_utf8(name: str, raw: bytes, start: int) -> CompileError:
    from .syntax_errors import Fault

    document = Document(name, raw.decode(errors="replace").removeprefix("\ufeff"), {})
    at = len(raw[:start].decode().removeprefix("\ufeff").replace("\r\n", "\n"))
    message = f"byte 0x{raw[start]:02X} (at offset {start}) is not UTF-8"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        message = "the file is in UTF-16"
    fault = Fault(message, at, at + 1, "save the file as UTF-8", "encoding")
    return CompileError([_at(document, fault)])
