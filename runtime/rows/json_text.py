"""JSON out of files: a line, or one list; whatever is wrong is said with its place."""

import codecs
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any, BinaryIO

from ..errors import RunError

CHUNK = 1 << 20  # bytes
LARGEST = 10**9  # bytes of one list: it is in memory as a whole
SPACE, NEWLINE = re.compile(r"[ \t\r\n]*"), "\n"
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
    """Yields (file:line, row) of a file that is one list. Raises RunError for one of more than LARGEST bytes."""
    raw = data.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise _large(file)
    text = _decode_lines(without_bom(raw, file), file)
    del raw

    def wrong(at: int, message: str) -> RunError:
        place = f"{text.count(NEWLINE, 0, at) + 1}:{at - text.rfind(NEWLINE, 0, at)}"
        return RunError(
            "bad-json",
            message,
            "a .json file holds one list of rows: [{...}, {...}]",
            "a file with a row on each line is called .jsonl",
            where=f"{file}:{place}",
        )

    at, line, counted = _behind_space(text, 0), 1, 0
    if text[at : at + 1] != "[":
        raise wrong(at, "this is not a list of rows")
    at = _behind_space(text, at + 1)
    while text[at : at + 1] != "]":
        line, counted = line + text.count(NEWLINE, counted, at), at
        try:
            row, at = JSON.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise wrong(error.pos, f"not JSON: {_said(error)}") from None
        except (ValueError, RecursionError) as error:
            raise strange_json(f"{file}:{line}", error) from None
        yield f"{file}:{line}", row
        at = _behind_space(text, at)
        if text[at : at + 1] == ",":
            at = _behind_space(text, at + 1)
            if text[at : at + 1] == "]":
                raise wrong(at, "not JSON: a row is missing after the `,`")
        elif text[at : at + 1] != "]":
            raise wrong(at, "not JSON: a `,` or a closing bracket is missing here")
    at = _behind_space(text, at + 1)
    if at < len(text):
        raise wrong(at, "not JSON: the list is complete, and then comes more")


def _decode_lines(raw: bytes, file: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:  # one of the lines says where
        lines = enumerate(raw.split(b"\n"), 1)
        return "\n".join(decode(line, f"{file}:{number}") for number, line in lines)


def _behind_space(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at


def _large(file: str) -> RunError:
    name, *_, suffix = file.rpartition(".json")
    show = {".gz": "gzip -dc", ".zst": "zstd -dc"}.get(suffix, "cat")
    rows = shlex.quote(f"{name}.jsonl")
    return RunError(
        "bad-json",
        f"one list of more than {LARGEST / 1e9:g} GB, which would have to be in memory as a whole",
        f"make it JSON Lines: {show} {shlex.quote(file)} | jq -c '.[]' > {rows}",
        where=file,
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
