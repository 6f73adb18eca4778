"""What `tomllib` says of a bad spec, put into a user's words: what, where, and how to mend it."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import NamedTuple

from ..diagnostics.guess import odd_letter
from .bare_words import NO_NULL, NULLS, VARIABLE, as_toml, is_toml, meant, plain, quoted
from .scanner import Node, Part, Scanner, Stop

_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_KEY_BEFORE = re.compile(r"(\"[^\"]*\"|'[^']*'|[^\s{,=]+)[ \t]*(?:=[ \t]*)?$")
_STATEMENT = re.compile(r"[\w.\"'-]+[ \t]*=|\[")
# What no line of TOML begins with, and configurations in Python do.
_PYTHON = re.compile(
    r"^((?:from [\w.]+ import |import [\w.]+(?: as \w+)?$|(?:def|class) \w+ ?[(:]|with read_base"
    r"|\w+ = (?:dict|list|tuple|[A-Z]\w*)\().*)$",
    re.MULTILINE,
)
_BREAK = re.compile(r"[\s=,\[\]{}\"'#]")


class Fault(NamedTuple):
    """What is wrong with the text between two offsets.

    `edit`: what the hint proposes, as (start, end, text instead), where it says so word for word.
    `statement`: the offset of the statement that it is in; None if nothing behind it can be judged.
    """

    message: str
    start: int
    end: int
    hint: str | None = None
    kind: str = "syntax"
    edit: tuple[int, int, str] | None = None
    statement: int | None = None


def diagnose(text: str, error: ValueError | RecursionError) -> Fault:
    """What an error of tomllib's means to a user."""
    if isinstance(error, RecursionError):
        deep = re.search(r"(?:[\[{][^\[\]{}]*){64}", text)
        start = deep.start() if deep else 0
        message, hint = "lists or tables are nested too deeply", "a spec needs only a few levels"
        return Fault(message, start, start + 1, hint, "too-deep")
    first = re.match(r"(?:\s*(?:#.*)?\n)*(\{|<|(?:from|import) \w+)", text)
    first = first or _PYTHON.search(text)
    if first:
        language = {"{": "JSON", "<": "XML"}.get(first[1], "Python")
        message, hint = f"this is {language}, and a spec is TOML", "`ftc new` writes a first spec"
        return Fault(message, *first.span(1), hint)
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
    refusal = Refusal(text, what, at)
    return refusal.explain()._replace(statement=refusal.statement())


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

    def statement(self) -> int:
        """Where the statement begins that was refused."""
        parts = self.scanner.parts
        return min(self.at, parts[0].place[0]) if parts else self.at

    def bad_key(self) -> Fault:
        end = self.at + len(self.right)
        if self.rest[:1].isalnum() and not self.rest[0].isascii():
            key = self.left + self.right
            hint = f"{odd_letter(key)}; the keys of a spec have a-z, 0-9 and `_`"
            return Fault(f"no key or table is called `{key}`", self.at - len(self.left), end, hint)
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
        if code == 0x0D and "\n" not in self.text:
            hint = "save the file with line feeds (LF), or with CR LF as on Windows"
            return Fault(
                "lines end with a CR alone, which TOML does not know", self.at, self.at + 1, hint
            )
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
        if old.value and self.text[old.value[0]] == "{":
            hint = f"write it between the braces of line {line}"
        if header and whole and not old.value:
            hint = f"keep one `[{name}]`, or write `[[{name}]]` each time for a list of tables"
            if not self.text.split("\n")[line - 1].lstrip().startswith("["):
                hint = f"write what stands in line {line} below `[{name}]`, without `{name}.`"
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
        instead, end = f"[[{name}]]" if many else f"[{name}]", self.at + len(self.code)
        edit = (start, end, instead)
        return Fault(
            "this table header is not complete", start, end, f"write `{instead}`", edit=edit
        )

    def no_equals(self) -> Fault:
        code, end = self.code.strip(), self.key_start + len(self.key)
        behind = self.at + len(self.code)
        if code.startswith(":"):
            value = code[1:].strip()
            instead = f"{self.key} = {as_toml(value)}"
            hint = f"write `{instead}`"
            if "{" in self.before:
                instead, hint = "", "write `=` in place of `:`"
            elif value in NULLS:
                instead, hint = "", NO_NULL
            elif not value and self.text[self.at + 1 :].lstrip().startswith("- "):
                instead = f"{self.key} = []"
                hint = f"write `{self.key} = [...]`, with a `,` between one and the next"
            elif not value:
                instead = f"[{self.key}]"
                hint = f"write `{instead}`, and the keys below it as `key = value`"
            message = f"`{self.key}:` is YAML or JSON; TOML sets a key with `=`"
            edit = (self.key_start, behind, instead) if instead else None
            return Fault(message, self.key_start, self.at + 1, hint, edit=edit)
        if self.key == "-":
            hint = "write `key = [...]`, with a `,` between one and the next"
            return Fault("an item behind `-` is YAML", self.key_start, end, hint)
        if not code:
            return Fault(
                f"`{self.key}` has no value", self.key_start, end, f"write `{self.key} = ...`"
            )
        instead = f"{self.key} = {as_toml(code)}"
        hint, edit = f"write `{instead}`", (self.key_start, behind, instead)
        if "=" in code:
            words = [self.key, *code.partition("=")[0].split()]
            hint, edit = f"a key is one word, such as `{'_'.join(words)}`", None
        message = f"`=` is missing behind `{self.key}`"
        return Fault(message, self.at, self.at + len(self.right), hint, edit=edit)

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
        end = start + len(word)
        fault = Fault(f"`{word}` is not a TOML value", start, end)
        if word.lower() in NULLS:
            return fault._replace(hint=NO_NULL)
        if VARIABLE.search(word):
            return fault._replace(hint="TOML has no variables: write the value itself")
        if sure := meant(word):
            value, why = sure
            return fault._replace(hint=f"write `{value}`{why}", edit=(start, end, value))
        if word.startswith("("):
            items = f"[{word[1:].rstrip().removesuffix(')')}]"
            edit = (start, end, items) if is_toml(items) else None
            shown = items if edit else "[...]"
            return fault._replace(hint=f"write a list in square brackets: `{shown}`", edit=edit)
        if re.fullmatch(r"[0-9][0-9.eE]*[ (]*[-+*/][0-9.eE+*/() -]*", plain(word)):
            hint = "TOML does not calculate: write the number, such as 0.0001 or 1e-4"
            return fault._replace(hint=hint)
        value = quoted(word)
        hint = f"write `{value}`" if nested else f"write `{self.key} = {value}`"
        message = f"the text `{word}` needs quotes"
        return Fault(message, start, end, hint, edit=(start, end, value))

    def left_over(self) -> Fault:
        """A value or header is complete, and then comes more."""
        found = self.right or self.rest[0]
        end, edit = self.at + len(found), None
        if self.scanner.open:
            close = "]" if self.text[self.scanner.open[-1][1]] == "[" else "}"
            hint = "put a `,` between one and the next"
            return Fault(f"expected `,` or `{close}` before `{found}`", self.at, end, hint)
        message = f"only a comment may follow here, not `{found}`"
        hint = "text needs quotes, a comment a `#`, and the next key its own line"
        start, behind = self.at - len(self.left), self.at + len(self.code)
        key, _, value = (part.strip() for part in (self.before + self.code).partition("="))
        if thousands := re.fullmatch(r"(?:,[0-9]{3})+", self.code):
            number = f"{self.left}{thousands[0].replace(',', '')}"
            hint, edit = f"write `{key} = {number}`", (start, behind, number)
        elif decimals := re.fullmatch(r",([0-9]+)", self.code):
            message = "a number has a decimal point in TOML, not a comma"
            number = f"{self.left}.{decimals[1]}"
            hint, edit = f"write `{key} = {number}`", (start, behind, number)
        elif self.code in (",", ";"):
            hint, edit = "remove it", (self.at, behind, "")
        elif found == "," and is_toml(f"[{value}]"):
            message = "several values are a list, in square brackets"
            start = self.at - len(self.before.partition("=")[2].lstrip())
            hint, edit = f"write `{key} = [{value}]`", (start, behind, f"[{value}]")
        elif number := re.fullmatch(r"([0-9][0-9_.]*) [a-z]+", value):
            start = self.at - len(self.before.partition("=")[2].lstrip())
            hint, edit = f"write `{key} = {number[1]}`", (start, behind, number[1])
        return Fault(message, self.at, end, hint, edit=edit)

    def no_key(self) -> Fault:
        found, end = self.code[:1], self.at + 1
        if not found:
            return Fault("a key is missing here", self.at, end, "write `key = value`")
        if found == "}" and self.before.rstrip().endswith(","):
            return Fault("a `,` must not stand before `}`", self.at, end, "remove it")
        hint = "a key has A-Z, a-z, 0-9, `_` and `-`, or is in quotes; a comment starts with `#`"
        return Fault(f"a key cannot start with `{found}`", self.at, end, hint)
