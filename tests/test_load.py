"""`ftc.compiler.load`: where things in a spec are written, and what is said of a bad spec."""

from __future__ import annotations

import ast
import datetime
import random
import re
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ftc.compiler.load import (
    MAX_BYTES,
    START,
    Document,
    Scanner,
    Span,
    SpecSyntaxError,
    load,
    parse,
)
from hypothesis import given, settings
from hypothesis import strategies as st

KeyPath = tuple[str | int, ...]

TABLES = """\
seed = 42
[model]  # which
base = "x"
[method.quantization]
bits = 4
[[data.train]]
source = "a"
[data.train.columns]
prompt = 'q'
[[ data . train ]]
source = "b"
[[data.train.filters]]
min = 1
[[data.train.filters]]
min = 2
[method]
rank = 8
"""

VALUES = """\
a.b . "c d" = 1
'x.y'	=	true # tab
"\\u00e9\\"" = 1e-4
ключ = 1
point = { x = 1, "y" . z = [ 2, { w = 3 } ] }
many = [
  "one", # ] "comment"
  'two',
  [3, [4]],
]
when = 1979-05-27 07:32:00Z # c
days = [1979-05-27, 07:32:00]
text = \"\"\"
first \\\"\"\" [not.a.table]
# no comment\"\"\"\"\"
raw = '''it's ''two'' '''''
last = "é#\\\\"
""".replace("ключ", '"ключ"')

# text, path, span of the key, span of the value; a span is line, column, end column
SPANS: list[tuple[str, KeyPath, tuple[int, int, int] | None, tuple[int, int, int] | None]] = [
    (TABLES, ("seed",), (1, 1, 5), (1, 8, 10)),
    (TABLES, ("model",), (2, 2, 7), None),
    (TABLES, ("model", "base"), (3, 1, 5), (3, 8, 11)),
    (TABLES, ("method",), (16, 2, 8), None),
    (TABLES, ("method", "quantization"), (4, 9, 21), None),
    (TABLES, ("method", "quantization", "bits"), (5, 1, 5), (5, 8, 9)),
    (TABLES, ("method", "rank"), (17, 1, 5), (17, 8, 9)),
    (TABLES, ("data",), (6, 3, 7), None),
    (TABLES, ("data", "train"), (6, 8, 13), None),
    (TABLES, ("data", "train", 0), (6, 1, 15), None),
    (TABLES, ("data", "train", 0, "source"), (7, 1, 7), (7, 10, 13)),
    (TABLES, ("data", "train", 0, "columns"), (8, 13, 20), None),
    (TABLES, ("data", "train", 0, "columns", "prompt"), (9, 1, 7), (9, 10, 13)),
    (TABLES, ("data", "train", 1), (10, 1, 19), None),
    (TABLES, ("data", "train", 1, "source"), (11, 1, 7), (11, 10, 13)),
    (TABLES, ("data", "train", 1, "filters"), (12, 14, 21), None),
    (TABLES, ("data", "train", 1, "filters", 1), (14, 1, 23), None),
    (TABLES, ("data", "train", 1, "filters", 1, "min"), (15, 1, 4), (15, 7, 8)),
    (TABLES, ("data", "train", 2), None, None),
    (TABLES, ("data", "train", -1), None, None),
    (TABLES, ("data", "train", "source"), None, None),
    (TABLES, (), None, None),
    (VALUES, ("a",), (1, 1, 2), None),
    (VALUES, ("a", "b"), (1, 3, 4), None),
    (VALUES, ("a", "b", "c d"), (1, 7, 12), (1, 15, 16)),
    (VALUES, ("x.y",), (2, 1, 6), (2, 9, 13)),
    (VALUES, ('é"',), (3, 1, 11), (3, 14, 18)),
    (VALUES, ("ключ",), (4, 1, 7), (4, 10, 11)),
    (VALUES, ("point",), (5, 1, 6), (5, 9, 46)),
    (VALUES, ("point", "x"), (5, 11, 12), (5, 15, 16)),
    (VALUES, ("point", "y"), (5, 18, 21), None),
    (VALUES, ("point", "y", "z"), (5, 24, 25), (5, 28, 44)),
    (VALUES, ("point", "y", "z", 0), (5, 30, 31), (5, 30, 31)),
    (VALUES, ("point", "y", "z", 1), (5, 33, 42), (5, 33, 42)),
    (VALUES, ("point", "y", "z", 1, "w"), (5, 35, 36), (5, 39, 40)),
    (VALUES, ("many",), (6, 1, 5), (6, 8, 9)),
    (VALUES, ("many", 0), (7, 3, 8), (7, 3, 8)),
    (VALUES, ("many", 1), (8, 3, 8), (8, 3, 8)),
    (VALUES, ("many", 2), (9, 3, 11), (9, 3, 11)),
    (VALUES, ("many", 2, 1, 0), (9, 8, 9), (9, 8, 9)),
    (VALUES, ("when",), (11, 1, 5), (11, 8, 28)),
    (VALUES, ("days", 0), (12, 9, 19), (12, 9, 19)),
    (VALUES, ("days", 1), (12, 21, 29), (12, 21, 29)),
    (VALUES, ("text",), (13, 1, 5), (13, 8, 11)),
    (VALUES, ("raw",), (16, 1, 4), (16, 7, 28)),
    (VALUES, ("last",), (17, 1, 5), (17, 8, 14)),
]


def as_span(place: tuple[int, int, int] | None) -> Span | None:
    return Span(*place) if place else None


@pytest.mark.parametrize("prefix, line_end", [("", "\n"), ("\ufeff", "\r\n")])
@pytest.mark.parametrize("text, path, key, value", SPANS)
def test_spans(
    text: str,
    path: KeyPath,
    key: tuple[int, int, int] | None,
    value: tuple[int, int, int] | None,
    prefix: str,
    line_end: str,
) -> None:
    document = parse(prefix + text.replace("\n", line_end), "spec.toml")
    assert document.key(path) == as_span(key)
    assert document.value(path) == as_span(value)
    if key:
        assert document.locate(path) == as_span(key)


def test_locate_falls_back_to_the_nearest_enclosing_thing() -> None:
    document = parse(TABLES, "spec.toml")
    assert document.locate(("method", "quantization", "typ")) == Span(4, 9, 21)
    assert document.locate(("data", "train", 1, "filters", 5, "x")) == Span(12, 14, 21)
    assert document.locate(("model", "base", 0)) == Span(3, 1, 5)
    assert document.locate(("optim", "learning_rate")) == START
    assert parse("", "spec.toml").locate(("a",)) == parse("", "spec.toml").locate(()) == START


def test_lines_end_only_at_line_feeds() -> None:
    document = parse('a = "x\u2028y\x85z"\r\n\r\nb = 1', "spec.toml")
    assert [document.line(number) for number in (1, 2, 3)] == ['a = "x\u2028y\x85z"', "", "b = 1"]
    assert document.value(("b",)) == Span(3, 5, 6)
    for number in (0, -1, 4):
        with pytest.raises(IndexError):
            document.line(number)


def test_positions_are_lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: Scanner) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr(Scanner, "run", run)
    document = parse("a = 1", "spec.toml")
    assert (document.path, document.text, document.data) == ("spec.toml", "a = 1", {"a": 1})
    assert document.line(1) == "a = 1"
    with pytest.raises(AssertionError, match="scanned"):
        document.key(("a",))


@pytest.mark.parametrize(
    "text",
    [
        '[[a]]\nb = "x" # c\n"d".e = { f = [1, 2] }\n' * 5_000,
        'a = "' + "x" * 1_000_000 + '"\n',
        'a = """' + '\\"x\n' * 250_000 + '"""\n',
        "a = 1\n" + "#\n" * 500_000,
    ],
    ids=["tables", "string", "escapes", "comments"],
)
def test_scanning_is_linear(text: str) -> None:
    document = parse(text + "[last]\nkey = 1", "spec.toml")
    start = time.perf_counter()
    assert document.key(("last", "key")) == Span(text.count("\n") + 2, 1, 4)
    assert time.perf_counter() - start < 2  # about 0.1 here; a quadratic scanner needs minutes


def test_nesting_that_tomllib_accepts_is_no_recursion_here() -> None:
    document = parse("a = " + "[" * 200 + "7" + "]" * 200, "spec.toml")
    assert document.value(("a", *[0] * 200)) == Span(1, 205, 206)


class Writer:
    """Writes data as TOML, each time in others of the ways that TOML has for it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.text = ""

    def pick(self, *texts: str) -> str:
        return self.chance.choice(texts)

    def string(self, text: str, kinds: tuple[str, ...] = ('"', "'", '"""', "'''")) -> str:
        kind = self.pick(*kinds)
        plain = all(char.isprintable() or char == "\n" for char in text)
        if kind == "'" and plain and "'" not in text and "\n" not in text:
            return f"'{text}'"
        if kind == "'''" and plain and "'''" not in text:
            return f"'''{self.line_end_before(text)}{text}'''"
        as_is = ("\n" if '"""' in text else '\n"') if kind == '"""' else ""
        escaped = "".join(self.char(char, as_is) for char in text)
        if kind == '"""':
            return f'"""{self.line_end_before(escaped)}{escaped}"""'
        return f'"{escaped}"'

    def line_end_before(self, text: str) -> str:
        return "\n" if text.startswith("\n") else self.pick("\n", "")

    def char(self, char: str, as_is: str) -> str:
        if char in as_is or (char.isprintable() and char not in '"\\'):
            return char
        if char in '"\\' and self.pick("short", ""):
            return "\\" + char
        return f"\\U{ord(char):08x}" if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"

    def key(self, *names: str) -> str:
        return self.pick(".", " . ", "\t.").join(
            name
            if name.isascii() and name.isidentifier() and self.pick("bare", "")
            else self.string(name, ('"', "'"))
            for name in names
        )

    def value(self, value: Any) -> str:
        if isinstance(value, dict):
            pairs = [f"{self.key(name)} = {self.value(item)}" for name, item in value.items()]
            return "{" + self.pick("", " ") + ", ".join(pairs) + self.pick("", "\t") + "}"
        if isinstance(value, list):
            gap = self.pick("", " ", "\n  ", " # [,\n\t")
            items = [gap + self.value(item) for item in value]
            return "[" + ",".join(items) + (self.pick("", ",") if items else "") + gap + "]"
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, datetime.datetime):
            return value.isoformat(sep=self.pick("T", " "))
        if isinstance(value, datetime.date | datetime.time):
            return value.isoformat()
        return str(value).lower() if isinstance(value, bool) else repr(value)

    def line(self, text: str) -> None:
        end = self.pick("", " # [x]\n", "\n\n#", '\t#= "')
        self.text += f"{self.pick('', '  ')}{text}{end}\n"

    def table(self, data: dict[str, Any], header: tuple[str, ...] = ()) -> None:
        """Pairs first, in any order; then what gets headers of its own."""
        later: list[tuple[str, Any]] = []
        for name, value in sorted(data.items(), key=lambda _: self.chance.random()):
            tables = isinstance(value, list) and value and all(isinstance(v, dict) for v in value)
            if (isinstance(value, dict) or tables) and self.pick("header", ""):
                later.append((name, value))
            elif isinstance(value, dict) and value and self.pick("dotted", ""):
                for inner, item in value.items():
                    self.line(f"{self.key(name, inner)} = {self.value(item)}")
            else:
                self.line(f"{self.key(name)}{self.pick('=', ' = ')}{self.value(value)}")
        for name, value in later:
            elements, left, right = (
                (value, "[[", "]]") if isinstance(value, list) else ([value], "[", "]")
            )
            for element in elements:
                self.line(f"{left}{self.pick('', ' ')}{self.key(*header, name)}{right}")
                self.table(element, (*header, name))


SCALARS = st.one_of(
    st.text(max_size=8),
    st.text("'\"\\\n# é", max_size=8),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.booleans(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.sampled_from([None, datetime.UTC])),
)
NAMES = st.sampled_from(["a", "rank", "_x"]) | st.text(max_size=3)
DATA = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


def leaves(data: Any, path: KeyPath = ()) -> list[tuple[KeyPath, Any]]:
    if isinstance(data, dict | list):
        items = data.items() if isinstance(data, dict) else enumerate(data)
        return [leaf for name, item in items for leaf in leaves(item, (*path, name))]
    return [(path, data)]


def texts_at(document: Document, span: Span) -> list[str]:
    """What may be written at a span: its text, or all ends of a long string that it begins."""
    text = document.line(span.line)[span.column - 1 : span.end_column - 1]
    quotes = text[:3]
    if quotes not in ("'''", '"""'):
        return [text]
    lines = document.text.replace("\r\n", "\n").split("\n")[span.line - 1 :]
    rest = "\n".join(lines)[span.column - 1 :]
    ends = [end for end in range(6, len(rest) + 1) if rest[:end].endswith(quotes)]
    return [rest[:end] for end in ends if rest[:end].split("\n")[0] == text]


def parsed(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        return error


@settings(max_examples=300, deadline=None)
@given(DATA, st.randoms(use_true_random=False), st.sampled_from(["\n", "\r\n"]))
def test_every_leaf_is_written_where_value_says(
    data: dict[str, Any], chance: random.Random, line_end: str
) -> None:
    writer = Writer(chance)
    writer.table(data)
    document = parse(writer.text.replace("\n", line_end), "spec.toml")
    assert document.data == data
    for path, leaf in leaves(data):
        value, key = document.value(path), document.key(path)
        assert value and key
        found = [parsed(text) for text in texts_at(document, value)]
        assert any(type(item) is type(leaf) and item == leaf for item in found)
        if isinstance(path[-1], int):
            assert key == value
        else:
            (text,) = texts_at(document, key)
            assert list(tomllib.loads(f"{text} = 1")) == [path[-1]]


ERRORS = r'''
'a = 1\nb = 2\n a = 3\n'
    3:2-3 duplicate-key: `a` is set twice, first on line 1
    hint: keep one of the two
'[optim]\nx.y = 1\nx . "y" = 2'
    3:1-8 duplicate-key: `x . "y"` is set twice, first on line 2
    hint: keep one of the two
'a = {x = 1, x = 2}'
    1:13-14 duplicate-key: `x` is set twice, first on line 1
    hint: keep one of the two
'[a]\nx = 1\n[b]\n[ a ]\n'
    4:3-4 duplicate-table: the table `[a]` is defined twice, first on line 1
    hint: keep one `[a]`, or write `[[a]]` each time for a list of tables
'[data.train]\n[[data.train]]'
    2:3-13 duplicate-key: `data.train` is already a table, from line 1
    hint: keep one `[data.train]`, or write `[[data.train]]` each time for a list of tables
'[[d]]\n[d]'
    2:2-3 duplicate-key: `d` is already a list of tables, from line 1
    hint: keep one `[d]`, or write `[[d]]` each time for a list of tables
'a = 1\n[a.b]'
    2:2-3 duplicate-key: `a` is already a value, from line 1
    hint: keep one of the two
'a = {x = 1}\na.y = 2'
    2:1-2 duplicate-key: `a` is already a value, from line 1
    hint: keep one of the two
'[a.b]\n[a]\nb.c = 1'
    3:1-2 duplicate-key: `b` is already a table, from line 1
    hint: keep one of the two
'a.b = 1\na = 2'
    2:1-2 duplicate-key: `a` is already a table, from line 1
    hint: keep one of the two
'x = [1]\n[[x]]'
    2:3-4 duplicate-key: `x` is already a value, from line 1
    hint: keep one of the two
'kind = lora # c'
    1:8-12 syntax: the text `lora` needs quotes
    hint: write `kind = "lora"`
'\tx\t=\tlora\t# c'
    1:6-10 syntax: the text `lora` needs quotes
    hint: write `x = "lora"`
'modules = [q_proj, v_proj]'
    1:12-18 syntax: the text `q_proj` needs quotes
    hint: write `"q_proj"`
'x = You are "x"'
    1:5-16 syntax: the text `You are "x"` needs quotes
    hint: write `x = 'You are "x"'`
'x = C:\\data'
    1:5-12 syntax: the text `C:\data` needs quotes
    hint: write `x = 'C:\data'`
'x = it\'s "x"'
    1:5-13 syntax: the text `it's "x"` needs quotes
    hint: write `x = "it's \"x\""`
'x = “lora”'
    1:5-11 syntax: the text `“lora”` needs quotes
    hint: write `x = "lora"`
'x = 80GB'
    1:5-9 syntax: the text `80GB` needs quotes
    hint: write `x = "80GB"`
'x = True'
    1:5-9 syntax: `True` is not a TOML value
    hint: write `true`
'x = [FALSE]'
    1:6-11 syntax: `FALSE` is not a TOML value
    hint: write `false`
'x = None'
    1:5-9 syntax: `None` is not a TOML value
    hint: TOML has no null: leave the key out
'x = .5'
    1:5-7 syntax: `.5` is not a TOML value
    hint: write `0.5`
'x = [-5., 1]'
    1:6-9 syntax: `-5.` is not a TOML value
    hint: write `-5.0`
'x = 5.e3 # c'
    1:5-9 syntax: `5.e3` is not a TOML value
    hint: write `5.0e3`
'x = 007'
    1:5-8 syntax: `007` is not a TOML value
    hint: write `7`
'x = 1,000'
    1:6-7 syntax: only a comment may follow here, not `,`
    hint: write `1000`
'x = 16,'
    1:7-8 syntax: only a comment may follow here, not `,`
    hint: remove it
'x = 10 epochs'
    1:8-14 syntax: only a comment may follow here, not `epochs`
    hint: text needs quotes, a comment a `#`, and the next key its own line
'x = (0.9, 0.95)'
    1:5-16 syntax: `(0.9, 0.95)` is not a TOML value
    hint: write a list in square brackets: `[...]`
'x = 2024-02-30'
    1:5-15 syntax: `2024-02-30` is not in the calendar
    hint: a date is year-month-day, such as 2026-02-28; text needs quotes
'x = == 1'
    1:5-6 syntax: a value is missing before `=`
    hint: write one `=`
'x = [1,,2]'
    1:8-9 syntax: a value is missing before `,`
    hint: write it, or remove one
'x = "a"b'
    1:8-9 syntax: only a comment may follow here, not `b`
    hint: text needs quotes, a comment a `#`, and the next key its own line
'[a] x = 1'
    1:5-6 syntax: only a comment may follow here, not `x`
    hint: text needs quotes, a comment a `#`, and the next key its own line
'rank ='
    1:1-7 syntax: `rank` has no value
    hint: write `rank = ...`, or remove the line
'a.b = # c\nc = 1'
    1:1-7 syntax: `a.b` has no value
    hint: write `a.b = ...`, or remove the line
'foo\nbar = 1'
    1:1-4 syntax: `foo` has no value
    hint: write `foo = ...`
'rank: 16 # c'
    1:1-6 syntax: `rank:` is YAML or JSON; TOML sets a key with `=`
    hint: write `rank = 16`
'kind: lora'
    1:1-6 syntax: `kind:` is YAML or JSON; TOML sets a key with `=`
    hint: write `kind = "lora"`
'packing: True'
    1:1-9 syntax: `packing:` is YAML or JSON; TOML sets a key with `=`
    hint: write `packing = true`
'model:\n  a: 1'
    1:1-7 syntax: `model:` is YAML or JSON; TOML sets a key with `=`
    hint: write `[model]`, and the keys below it as `key = value`
'x = {"a": 1}'
    1:6-10 syntax: `"a":` is YAML or JSON; TOML sets a key with `=`
    hint: write `=` in place of `:`
'learning rate = 1'
    1:10-14 syntax: `=` is missing behind `learning`
    hint: a key is one word, such as `learning_rate`
'rank 16'
    1:6-8 syntax: `=` is missing behind `rank`
    hint: write `rank = 16`
'größe = 1'
    1:1-6 syntax: the key `größe` needs quotes
    hint: write `"größe"`: bare keys have A-Z, a-z, 0-9, `_` and `-`
'[größe]'
    1:2-7 syntax: the key `größe` needs quotes
    hint: write `"größe"`: bare keys have A-Z, a-z, 0-9, `_` and `-`
'= 1'
    1:1-2 syntax: a key cannot start with `=`
    hint: a key has A-Z, a-z, 0-9, `_` and `-`, or is in quotes; a comment starts with `#`
'[]'
    1:2-3 syntax: a key cannot start with `]`
    hint: a key has A-Z, a-z, 0-9, `_` and `-`, or is in quotes; a comment starts with `#`
'// c'
    1:1-2 syntax: a key cannot start with `/`
    hint: a key has A-Z, a-z, 0-9, `_` and `-`, or is in quotes; a comment starts with `#`
'x = {a = 1,}'
    1:12-13 syntax: a `,` must not stand before `}`
    hint: remove it
'a.'
    1:3-4 syntax: a key is missing here
    hint: write `key = value`
'[my table]'
    1:1-11 syntax: this table header is not complete
    hint: write `[my_table]`
'[[data.train]'
    1:1-14 syntax: this table header is not complete
    hint: write `[[data.train]]`
'x = "abc\ny = 1'
    1:5-9 syntax: this string is never closed
    hint: end it with `"`; a text of several lines stands in `"""`
'"abc = 1'
    1:1-9 syntax: this string is never closed
    hint: end it with `"`; a text of several lines stands in `"""`
'a = 1\nx = """abc\nd\n\n'
    2:5-11 syntax: this string is never closed
    hint: end it with `"""`
'x = ["a", "b"\nrank = 4'
    1:5-6 syntax: this `[` is never closed
    hint: end it with `]`
'x = ["a",\nrank = 4\n'
    1:5-6 syntax: this `[` is never closed
    hint: end it with `]`
'x = ["a"\n\n[next]\n'
    1:5-6 syntax: this `[` is never closed
    hint: end it with `]`
'x = [1, # c'
    1:5-6 syntax: this `[` is never closed
    hint: end it with `]`
'x = [1 2]'
    1:8-9 syntax: expected `,` or `]` before `2`
    hint: put a `,` between one and the next
'x = {a = 1 b = 2}'
    1:12-13 syntax: expected `,` or `}` before `b`
    hint: put a `,` between one and the next
'x = {a = 1, # c\n}'
    1:5-6 syntax: this `{` is never closed
    hint: end it with `}` on the same line
'x = "C:\\data"'
    1:8-10 syntax: `\d` starts no escape that TOML knows
    hint: write `\\` for a backslash, or put the string in single quotes
'x = "a\\\n'
    1:7-8 syntax: `\` starts no escape that TOML knows
    hint: write `\\` for a backslash, or put the string in single quotes
'x = "\\u12"'
    1:6-8 syntax: `\u` starts no escape that TOML knows
    hint: write `\\` for a backslash, or put the string in single quotes
'x = "a\x00b"'
    1:7-8 syntax: the character U+0000 must not stand here
    hint: remove it; in a string write `\u0000`
'# \x07'
    1:3-4 syntax: the character U+0007 must not stand here
    hint: remove it; in a string write `\u0007`
'x = 1\ry = 2'
    1:6-7 syntax: the character U+000D must not stand here
    hint: remove it; in a string write `\u000D`
'x\xa0= 1'
    1:2-3 syntax: the character U+00A0 must not stand here
    hint: remove it; in a string write `\u00A0`
'x = "\x7f"'
    1:6-7 syntax: the character U+007F must not stand here
    hint: remove it; in a string write `\u007F`
'a = 1\na = {x = 1}'
    2:1-2 duplicate-key: `a` is set twice, first on line 1
    hint: keep one of the two
'a = {x.y = 1, x = 2}'
    1:15-16 duplicate-key: `x` is set twice, first on line 1
    hint: keep one of the two
'x = -'
    1:5-6 syntax: the text `-` needs quotes
    hint: write `x = "-"`
'x = http://a/#b'
    1:5-16 syntax: the text `http://a/#b` needs quotes
    hint: write `x = "http://a/#b"`
'a.  '
    1:3-4 syntax: a key is missing here
    hint: write `key = value`
'"base": "x",'
    1:1-8 syntax: `"base":` is YAML or JSON; TOML sets a key with `=`
    hint: write `"base" = "x"`
'x = \U000e0001'
    1:5-6 syntax: the character U+E0001 must not stand here
    hint: remove it; in a string write `\U000E0001`
'x = "\u2028" \u2028'
    1:9-10 syntax: the character U+2028 must not stand here
    hint: remove it; in a string write `\u2028`
'''


def cases(block: str) -> list[tuple[str, str]]:
    """Pairs of a text, which is written as a Python string, and what `told` says of it."""
    parts = re.split(r"\n(?! )", block.strip())
    return [(ast.literal_eval(text), said) for text, _, said in (p.partition("\n") for p in parts)]


def told(error: SpecSyntaxError) -> str:
    span = error.span
    place = f"{span.line}:{span.column}-{span.end_column}"
    return f"    {place} {error.kind}: {error.message}\n    hint: {error.hint}"


@pytest.mark.parametrize("text, said", cases(ERRORS))
def test_errors(text: str, said: str) -> None:
    with pytest.raises(SpecSyntaxError) as caught:
        parse(text, "spec.toml")
    assert told(caught.value) == said
    assert caught.value.line == text.split("\n")[caught.value.span.line - 1]
    assert str(caught.value).startswith(f"spec.toml:{caught.value.span.line}:")


@pytest.mark.parametrize(
    "text, span, hint",
    [
        ("x = '''abc", Span(1, 5, 11), "end it with `'''`"),
        (
            "x = [\n'b c\n]",
            Span(2, 1, 5),
            "end it with `'`; a text of several lines stands in `'''`",
        ),
    ],
)
def test_literal_strings_never_closed(text: str, span: Span, hint: str) -> None:
    with pytest.raises(SpecSyntaxError) as caught:
        parse(text, "spec.toml")
    assert (caught.value.message, caught.value.hint) == ("this string is never closed", hint)
    assert caught.value.span == span


@pytest.mark.parametrize("line_end, mark", [("\r\n", ""), ("\r\n", "\ufeff"), ("\n", "\ufeff")])
def test_line_ends_and_byte_order_mark_do_not_move_errors(line_end: str, mark: str) -> None:
    with pytest.raises(SpecSyntaxError) as caught:
        parse(f"{mark}x = lora{line_end}", "spec.toml")
    assert (caught.value.span, caught.value.line) == (Span(1, 5, 9), "x = lora")
    with pytest.raises(SpecSyntaxError) as caught:
        parse(f"{mark}a = 1{line_end * 2}b = 2{line_end} a = 3{line_end}", "spec.toml")
    assert told(caught.value).startswith(
        "    4:2-3 duplicate-key: `a` is set twice, first on line 1"
    )


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 9_000 + "]" * 9_000, "{a = " * 9_000])
def test_nesting_too_deep(text: str) -> None:
    with pytest.raises(SpecSyntaxError) as caught:
        parse(f"a = [1]\nb = {text}", "spec.toml")
    said = "    2:5-6 too-deep: lists or tables are nested too deeply"
    assert told(caught.value) == f"{said}\n    hint: a spec needs only a few levels"


def test_long_numbers_and_long_words() -> None:
    with pytest.raises(SpecSyntaxError) as caught:
        parse("a = 1\nb = " + "9" * 5_000, "spec.toml")
    said = "    2:5-5005 syntax: this number has too many digits\n    hint: text needs quotes"
    assert told(caught.value) == said
    with pytest.raises(SpecSyntaxError) as caught:
        parse("a = " + "x" * 5_000, "spec.toml")
    assert caught.value.span == Span(1, 5, 5_005)
    assert len(caught.value.message) < 200 and " ... " in caught.value.message
    start = time.perf_counter()
    with pytest.raises(SpecSyntaxError):
        parse('x = ["' + "a" * 30_000 + '", lora]', "spec.toml")
    assert time.perf_counter() - start < 2


def test_an_unknown_message_of_a_later_tomllib_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loads(text: str) -> None:
        raise tomllib.TOMLDecodeError("Something new (at line 2, column 3)")

    monkeypatch.setattr(tomllib, "loads", loads)
    with pytest.raises(SpecSyntaxError) as caught:
        parse("a\nb word", "spec.toml")
    assert told(caught.value) == "    2:3-7 syntax: something new\n    hint: None"


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_any_damage_gives_a_document_or_an_error_within_the_text(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([TABLES, VALUES]))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 5))
        text = (
            text[:start]
            + data.draw(st.text("ab1 .,=:[]{}'\"\\#\n\r\t\0é", max_size=4))
            + text[end:]
        )
    try:
        document = parse(text, "spec.toml")
    except SpecSyntaxError as error:
        lines = text.replace("\r\n", "\n").split("\n")
        assert error.line == lines[error.span.line - 1]
        assert 1 <= error.span.column < error.span.end_column <= max(2, len(error.line) + 2)
    else:
        for path, _ in leaves(document.data):
            assert document.key(path) and document.value(path)


def failure(path: str | Path) -> SpecSyntaxError:
    with pytest.raises(SpecSyntaxError) as caught:
        load(path)
    assert caught.value.path == str(path)
    return caught.value


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes('\ufeffname = "é"\r\nseed = 1\r\n'.encode())
    document = load(path)
    assert document.data == {"name": "é", "seed": 1}
    assert (document.path, document.text) == (str(path), 'name = "é"\r\nseed = 1\r\n')
    assert document.value(("seed",)) == Span(2, 8, 9)
    assert load(str(path)).data == document.data


def test_load_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = '\xc3\xa9\xe9'\r\n")
    error = failure(path)
    said = "    2:7-8 encoding: byte 0xE9 (at offset 17) is not UTF-8"
    assert told(error) == f"{said}\n    hint: save the file as UTF-8"
    assert error.line == "b = 'é\ufffd'"
    path.write_bytes("a = 1".encode("utf-16"))
    said = "    1:1-2 encoding: the file is in UTF-16\n    hint: save the file as UTF-8"
    assert told(failure(path)) == said


def test_load_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    missing = "    1:1-2 not-found: there is no such file\n    hint: "
    for path in ("spec.toml", "no/such/spec.toml"):
        assert (
            told(failure(path)) == missing + "check the path, or write a first spec with `ftc new`"
        )
    Path("quickstart.toml").write_text("a = 1")
    assert told(failure("quickstrat.toml")) == missing + "did you mean `quickstart.toml`?"
    assert "check the path" in told(failure("quickstart.toml/spec.toml"))


def test_load_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    said = "    1:1-2 not-a-file: this is a folder, not a spec\n    hint: "
    assert told(failure("run")) == said + "name a file, such as `spec.toml`"
    Path("run/spec.toml").write_text("a = 1")
    assert told(failure("run")) == said + "did you mean `run/spec.toml`?"


def test_load_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_BYTES == 10_000_000
    monkeypatch.setattr(sys.modules[load.__module__], "MAX_BYTES", 10)
    path = tmp_path / "spec.toml"
    path.write_text("a = 123456")
    assert load(path).data == {"a": 123456}
    path.write_text("a = 1234567")
    assert told(failure(path)) == (
        "    1:1-2 too-large: the file is larger than 10 MB\n    hint: a spec holds settings; "
        "keep data in files of its own and name them in the spec"
    )


def test_load_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "    1:1-2 unreadable: the file cannot be read: "
    assert told(failure("a\0b")) == said + "embedded null byte\n    hint: None"

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert told(failure("x")) == said + "Permission denied\n    hint: check its permissions"
