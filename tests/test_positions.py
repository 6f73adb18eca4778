"""`ftc.compiler.document.load` and `positions`: where things in a spec are written."""

from __future__ import annotations

import datetime
import random
import time
import tomllib
from typing import Any

import pytest
from ftc.compiler.diagnostics.diagnostic import CompileError
from ftc.compiler.document.load import Document, parse
from ftc.compiler.document.scanner import START, Scanner, Span
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
    except CompileError as error:
        lines = text.replace("\r\n", "\n").split("\n")
        for problem in error.diagnostics:
            source = lines[max(problem.line, 1) - 1]
            assert (problem.source or "") == source
            assert 1 <= problem.column < problem.end_column <= max(2, len(source) + 2)
    else:
        for path, _ in leaves(document.data):
            assert document.key(path) and document.value(path)
