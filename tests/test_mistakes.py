"""`ftc.compiler.document.syntax_errors`: what is said of a spec that is no TOML."""

from __future__ import annotations

import ast
import re
import time
import tomllib

import pytest
from ftc.compiler.document.scanner import Span

from .specs import refused, told

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
    hint: write it between the braces of line 1
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
    hint: write `x = 1000`
'x = 16,'
    1:7-8 syntax: only a comment may follow here, not `,`
    hint: remove it
'x = 10 epochs'
    1:8-14 syntax: only a comment may follow here, not `epochs`
    hint: write `x = 10`
'x = (0.9, 0.95)'
    1:5-16 syntax: `(0.9, 0.95)` is not a TOML value
    hint: write a list in square brackets: `[0.9, 0.95]`
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
    1:1-6 syntax: no key or table is called `größe`
    hint: `ö` is U+00F6, LATIN SMALL LETTER O WITH DIAERESIS; the keys of a spec have a-z, 0-9 and `_`
'[größe]'
    1:2-7 syntax: no key or table is called `größe`
    hint: `ö` is U+00F6, LATIN SMALL LETTER O WITH DIAERESIS; the keys of a spec have a-z, 0-9 and `_`
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
    1:6-7 syntax: lines end with a CR alone, which TOML does not know
    hint: save the file with line feeds (LF), or with CR LF as on Windows
'x = 1\r\ny = 2\rz = 3'
    2:6-7 syntax: the character U+000D must not stand here
    hint: remove it; in a string write `\u000D`
'm.a = 1\n[m]\nb = 2'
    2:2-3 duplicate-table: the table `[m]` is defined twice, first on line 1
    hint: write what stands in line 1 below `[m]`, without `m.`
'x = 1__0'
    1:5-9 syntax: `1__0` is not a TOML value
    hint: write `1_0`
'x = 3%'
    1:5-7 syntax: `3%` is not a TOML value
    hint: write `0.03`: 3 percent
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


@pytest.mark.parametrize("text, said", cases(ERRORS))
def test_errors(text: str, said: str) -> None:
    problem = refused(text)
    assert told(problem) == said
    assert (problem.source or "") == text.split("\n")[problem.line - 1]
    assert str(problem).startswith(f"spec.toml:{problem.line}:")


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
    problem = refused(text)
    assert (problem.message, problem.hints) == ("this string is never closed", (hint,))
    assert (problem.line, problem.column, problem.end_column) == span


@pytest.mark.parametrize("line_end, mark", [("\r\n", ""), ("\r\n", "\ufeff"), ("\n", "\ufeff")])
def test_line_ends_and_byte_order_mark_do_not_move_errors(line_end: str, mark: str) -> None:
    problem = refused(f"{mark}x = lora{line_end}")
    assert (problem.line, problem.column, problem.source) == (1, 5, "x = lora")
    problem = refused(f"{mark}a = 1{line_end * 2}b = 2{line_end} a = 3{line_end}")
    assert told(problem).startswith("    4:2-3 duplicate-key: `a` is set twice, first on line 1")


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 9_000 + "]" * 9_000, "{a = " * 9_000])
def test_nesting_too_deep(text: str) -> None:
    problem = refused(f"a = [1]\nb = {text}")
    said = "    2:5-6 too-deep: lists or tables are nested too deeply"
    assert told(problem) == f"{said}\n    hint: a spec needs only a few levels"


def test_long_numbers_and_long_words() -> None:
    problem = refused("a = 1\nb = " + "9" * 5_000)
    said = "    2:5-5005 syntax: this number has too many digits\n    hint: text needs quotes"
    assert told(problem) == said
    problem = refused("a = " + "x" * 5_000)
    assert (problem.line, problem.column, problem.end_column) == (1, 5, 5_005)
    assert len(problem.message) < 200 and " ... " in problem.message
    start = time.perf_counter()
    refused('x = ["' + "a" * 30_000 + '", lora]')
    assert time.perf_counter() - start < 2


def test_an_unknown_message_of_a_later_tomllib_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loads(text: str) -> None:
        raise tomllib.TOMLDecodeError("Something new (at line 2, column 3)")

    monkeypatch.setattr(tomllib, "loads", loads)
    problem = refused("a\nb word")
    assert told(problem) == "    2:3-7 syntax: something new\n    hint: None"
