"""JSON out of files: a line, or one list a piece at a time; whatever is wrong is said with its place."""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from ..errors import RunError

CHUNK = 1 << 20  # bytes
LONGEST = 1 << 26  # characters in one row of a list; what is wrong with a row shows by then
POINTER = b"version https://git-lfs"
OTHER_BOMS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Of two values of one key, json would lose the first in silence."""
    table = dict(pairs)
    if len(table) < len(pairs):
        double = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        raise _Double(f"the key `{double}` stands twice in one object")
    return table


class _Double(ValueError):
    pass


JSON = json.JSONDecoder(object_pairs_hook=_table)


# What json says -> what it means.
SAID = {
    "Expecting value": "a value is missing here",
    "Expecting ',' delimiter": "a `,` or a closing bracket is missing here",
    "Expecting ':' delimiter": "a `:` is missing here",
    "Expecting property name enclosed in double quotes": "a key in double quotes is missing here",
    "Extra data": "the row is complete, and then comes more",
    "Unterminated string starting at": "this string is never closed",
    "Invalid control character at": "a control character must be escaped: \\n, \\t, ...",
    "Illegal trailing comma before end of object": "a `,` must not stand before `}`",
    "Illegal trailing comma before end of array": "a `,` must not stand before `]`",
}


def _said(error: json.JSONDecodeError) -> str:
    return SAID.get(error.msg) or error.msg[0].lower() + error.msg[1:]


def parse_line(raw: bytes, place: str) -> Any:
    """A line as JSON. Raises RunError where it is not."""
    text = decode(raw, place)
    try:
        return JSON.decode(text)
    except json.JSONDecodeError as error:
        raise RunError(
            "bad-json",
            f"not JSON: {_said(error)}",
            "each line holds one row, as a JSON object",
            where=f"{place}:{error.colno}",
        ) from None
    except (ValueError, RecursionError) as error:
        raise strange_json(place, error) from None


def rows_of_list(data: BinaryIO, file: str) -> Iterator[tuple[str, Any]]:
    """Yields (file:line, row) of a file that is one list, without holding it."""
    text = _Text(data, file)
    if text.peek() != "[":
        raise text.wrong("this is not a list of rows")
    text.skip()
    while text.peek() != "]":
        place = f"{file}:{text.line}"
        yield place, text.value()
        if text.peek() == ",":
            text.skip()
            if text.peek() == "]":
                raise text.wrong("not JSON: a row is missing after the `,`")
        elif text.peek() != "]":
            raise text.wrong("not JSON: a `,` or a closing bracket is missing here")
    text.skip()
    if text.peek():
        raise text.wrong("not JSON: the list is complete, and then comes more")


class _Text:
    """A JSON text of which only the piece at hand is in memory; `line`, `column`: where it stands."""

    def __init__(self, data: BinaryIO, file: str) -> None:
        self.data, self.file = data, file
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.text, self.at, self.line, self.column, self.ended = "", 0, 1, 1, False
        self.more(first=True)

    def more(self, first: bool = False) -> None:
        """Reads as much again as is there, at least a chunk."""
        raw = self.data.read(max(CHUNK, len(self.text) - self.at))
        raw = without_bom(raw, self.file) if first else raw
        self.ended = not raw
        try:
            fresh = self.decoder.decode(raw, final=self.ended)
        except UnicodeDecodeError as error:
            good = error.object[: error.start].decode("utf-8", "replace")
            self.text, self.at = self.text[self.at :] + good, 0
            self.move(len(self.text))
            raise _not_utf8(f"{self.file}:{self.line}:{self.column}", error) from None
        self.text, self.at = self.text[self.at :] + fresh, 0

    def move(self, end: int) -> None:
        """Goes on to `end`, and counts lines."""
        lines = self.text.count("\n", self.at, end)
        if lines:
            self.line += lines
            self.column = end - self.text.rindex("\n", self.at, end)
        else:
            self.column += end - self.at
        self.at = end

    def peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            end = self.at
            while end < len(self.text) and self.text[end] in " \t\r\n":
                end += 1
            self.move(end)
            if end < len(self.text) or self.ended:
                return self.text[end : end + 1]
            self.more()

    def skip(self) -> None:
        self.move(self.at + 1)

    def value(self) -> Any:
        """The JSON value that begins here."""
        while True:
            try:
                value, end = JSON.raw_decode(self.text, self.at)
                if end < len(self.text) or self.ended:
                    break
            except json.JSONDecodeError as error:
                if self.ended or len(self.text) - self.at > LONGEST:
                    self.move(min(error.pos, len(self.text)))
                    raise self.wrong(f"not JSON: {_said(error)}") from None
            except (ValueError, RecursionError) as error:
                raise strange_json(f"{self.file}:{self.line}", error) from None
            self.more()
        self.move(end)
        return value

    def wrong(self, message: str) -> RunError:
        return RunError(
            "bad-json",
            message,
            "a .json file holds one list of rows: [{...}, {...}]",
            "a file with a row on each line is called .jsonl",
            where=f"{self.file}:{self.line}:{self.column}",
        )


def without_bom(first: bytes, file: str) -> bytes:
    """The first bytes of a file without a byte-order mark. Raises RunError for another encoding."""
    for bom, name in OTHER_BOMS.items():
        if first.startswith(bom):
            message = f"the file is {name}, and must be UTF-8"
            raise RunError("bad-encoding", message, "save the file as UTF-8", where=f"{file}:1:1")
    if b"\0" in first[:4]:
        message = "byte 0x00: the file is UTF-16, or no text"
        raise RunError("bad-encoding", message, "save the file as UTF-8", where=f"{file}:1:1")
    if first.startswith(POINTER):
        message = "this is Git LFS's pointer to the file, not the file"
        raise RunError("damaged-file", message, "git lfs pull", where=f"{file}:1:1")
    return first.removeprefix(codecs.BOM_UTF8)


def decode(line: bytes, place: str) -> str:
    """The line as text. Raises RunError, with the column, where it is not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(line[: error.start].decode("utf-8", "replace")) + 1
        raise _not_utf8(f"{place}:{column}", error) from None


def check_characters(text: str, place: str) -> None:
    """JSON's \\ud83d without its other half is no character, and no tokenizer takes it. Raises RunError."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise RunError(
            "bad-row",
            f"half a character: {half} without its other half",
            "write the character itself",
            where=place,
        ) from None


def _not_utf8(where: str, error: UnicodeDecodeError) -> RunError:
    message = f"byte 0x{error.object[error.start]:02X} is not UTF-8"
    return RunError("bad-encoding", message, "save the file as UTF-8", where=where)


def strange_json(place: str, error: Exception) -> RunError:
    """Of JSON that Python, or ftc, does not take."""
    message = "not JSON that can be read: a number in it has too many digits"
    if isinstance(error, RecursionError):
        message = "not JSON that can be read: it is nested too deeply"
    elif isinstance(error, _Double):
        message = str(error)
    return RunError("bad-json", message, "mend the row", where=place)
