"""What the compiler looks up in data files: their digest, their rows and columns."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from .diagnostics import Diagnostic, KeyPath, at, nearest
from .load import Document
from .spec import Source
from .tree import is_array, is_table

COPY_LIMIT = 10_000_000  # bytes; larger files are referred to, not copied into the run
DATA_SUFFIXES = (".json", ".jsonl", ".parquet")
COLUMNS = {"messages": ("messages",), "alpaca": ("instruction", "output"), "pretrain": ("text",)}
EXAMPLES = {
    "messages": '{"messages": [{"role": "user", "content": "..."}, '
    '{"role": "assistant", "content": "..."}]}',
    "alpaca": '{"instruction": "...", "input": "", "output": "..."}',
    "pretrain": '{"text": "..."}',
}
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
OTHER_SUFFIXES = (".csv", ".tsv", ".txt", ".gz", ".zst", ".arrow", ".xlsx", ".yaml", ".yml", ".py")
FILE_SUFFIXES = (*DATA_SUFFIXES, *OTHER_SUFFIXES, ".gguf", ".safetensors", ".bin", ".toml")


@dataclass(frozen=True)
class DataFile:
    """A local data file. `path`: where it is.

    `rows` is None where not all were read (parquet, and files over COPY_LIMIT), `columns` where
    none was. `content` is set for files that are copied into the run.
    """

    path: Path
    sha256: str
    size: int
    rows: int | None
    columns: tuple[str, ...] | None
    content: bytes | None


class Unusable(Exception):
    """A source that can't be trained on.

    `place` is the line, column and text in the data file; without one, it is the spec's `key`.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *hints: str,
        key: str = "source",
        place: tuple[int, int, str] | None = None,
    ) -> None:
        self.code, self.message, self.hints = code, message, hints
        self.key, self.place = key, place


def is_file(source: str) -> bool:
    """Whether a data source names a file; otherwise it is a Hub id."""
    return source.endswith(DATA_SUFFIXES)


def is_hub_id(text: str) -> bool:
    """`org/name`, and nothing that is meant as a path."""
    return HUB_ID.fullmatch(text) is not None and not text.endswith(FILE_SUFFIXES)


def look_up(
    source: Source, path: KeyPath, document: Document
) -> tuple[DataFile | None, Diagnostic | None]:
    """The facts of a file source, or what is wrong with it. Neither, for a Hub id."""
    folder = Path(document.path).parent
    try:
        return _look_up(source, folder), None
    except Unusable as problem:
        if problem.place is None:
            where = (*path, problem.key)
            return None, at(
                document, where, problem.code, problem.message, on="value", hints=problem.hints
            )
        line, column, text = problem.place
        named = document.locate((*path, "source"))
        return None, Diagnostic(
            problem.code,
            problem.message,
            str(folder / source.source),
            line,
            column,
            column + 1,
            source=text,
            notes=(f"{document.path}:{named.line} names this file",),
            hints=problem.hints,
        )


def _look_up(source: Source, folder: Path) -> DataFile | None:
    name = source.source
    file = folder / name
    if not is_file(name):
        if is_hub_id(name) and not _exists(file):
            return None
        raise _no_source(name, file)
    if not _exists(file) or file.is_dir():
        raise _missing(name, file)
    try:
        size = file.stat().st_size
        content = file.read_bytes() if size <= COPY_LIMIT else None
        with file.open("rb") as data:
            digest = hashlib.file_digest(data, "sha256").hexdigest()
            data.seek(0)
            head = [data.readline(COPY_LIMIT)] if content is None else []
    except OSError as error:
        raise Unusable("missing-file", f"{name} can't be read: {error.strerror}") from None
    rows, columns = None, None
    if content is not None and file.suffix != ".parquet":
        rows, columns = _table(content, source)
    elif file.suffix == ".jsonl":
        _, columns = _table(head[0], source)
    return DataFile(file, digest, size, rows, columns, content)


def _exists(path: Path) -> bool:
    with suppress(OSError, ValueError):  # a name that is too long, or holds a NUL
        return path.exists()
    return False


def _no_source(name: str, file: Path) -> Unusable:
    kinds = ", ".join(DATA_SUFFIXES)
    message = f'"{name}" is neither a data file ({kinds}) nor a Hub id (`org/name`)'
    if _exists(file) and file.is_dir():
        files = sorted(p.name for p in file.iterdir() if p.suffix in DATA_SUFFIXES)
        hint = (
            f"name its files, one [[data.train]] for each: {', '.join(files[:5]) or 'it has none'}"
        )
        return Unusable("bad-source", f'"{name}" is a folder, not a data file', hint)
    if name.endswith(OTHER_SUFFIXES):
        hint = f"ftc reads {kinds}: convert it, for example to JSON Lines"
        return Unusable("bad-source", f'"{name}" is of a kind that ftc does not read', hint)
    hint = "the Hub names a data set with its owner, such as `stanfordnlp/imdb`"
    return Unusable("bad-source", message, hint)


def _missing(name: str, file: Path) -> Unusable:
    """A file that is not there, with the one that may be meant."""
    if any(character in name for character in "*?["):
        hint = "name one file in each [[data.train]]; `*` stands for nothing here"
        return Unusable("missing-file", f"there is no file {name}", hint)
    if not _exists(file.parent):
        message = f"there is no folder {Path(name).parent.as_posix()}, so no file {name}"
        return Unusable("missing-file", message, "paths are relative to the spec's folder")
    beside = [p.name for p in file.parent.glob("*") if p.suffix in DATA_SUFFIXES]
    near = nearest(file.name, beside)
    hints = [f'did you mean "{Path(name).with_name(near).as_posix()}"?'] if near else []
    if not near and beside:
        hints = [f"beside it there is {', '.join(sorted(beside)[:5])}"]
    hints.append("paths are relative to the spec's folder")
    return Unusable("missing-file", f"there is no file {name}", *hints)


def _table(content: bytes, source: Source) -> tuple[int, tuple[str, ...]]:
    """How many rows the file has, and the columns of the first. Raises Unusable."""
    rows = _json_lines(content) if source.source.endswith(".jsonl") else _json_list(content)
    first = next(rows, None)
    if first is None:
        example = f"a row of the format {source.format} is {EXAMPLES[source.format]}"
        raise Unusable("empty-data", f"{source.source} has no rows", example)
    number = 0
    wanted = COLUMNS[source.format]
    for number, (row, place) in enumerate(chain([first], rows), 1):
        lacking = [column for column in wanted if column not in row]
        if lacking and number == 1:
            raise _other_columns(lacking[0], tuple(row), source)
        if lacking:
            message = f"this row has no `{lacking[0]}`, as those before it have"
            hint = f"a row of the format {source.format} is {EXAMPLES[source.format]}"
            raise Unusable("missing-column", message, hint, place=place)
    return number, tuple(first[0])


def _other_columns(lacking: str, columns: tuple[str, ...], source: Source) -> Unusable:
    """The first row is of another format: which would fit?"""
    have = ", ".join(f"`{column}`" for column in columns[:10]) or "none"
    message = f"the format {source.format} needs the column `{lacking}`; {source.source} has {have}"
    fits = [name for name, wanted in COLUMNS.items() if set(wanted) <= set(columns)]
    hints = [f'set format = "{name}", which fits these columns' for name in fits]
    hints += [] if fits else [f"a row of this format is {EXAMPLES[source.format]}"]
    return Unusable("missing-column", message, *hints, key="format")


Row = tuple[dict[str, Any], tuple[int, int, str]]


def _json_lines(content: bytes) -> Iterator[Row]:
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw.strip():
            continue
        line = _text(raw, number)
        hints = ["each line holds one row, as a JSON object"]
        if line.lstrip().startswith("["):
            message = "this begins a list, and a .jsonl file has one row on each line"
            hint = "name the file .json, if it is one list of rows"
            raise Unusable("bad-data", message, hint, place=(number, 1, line))
        yield _object(line, line, number, hints), (number, 1, line)


def _json_list(content: bytes) -> Iterator[Row]:
    lines = content.split(b"\n")
    text = "\n".join(_text(line, number) for number, line in enumerate(lines, 1))
    hints = ["a .json file holds one list of rows: [{...}, {...}]"]
    if text.lstrip().startswith("{"):
        hints.append("a file with a row on each line is called .jsonl")
    found = _json(text, 1, hints)
    line = text.split("\n", 1)[0]
    if not is_array(found):
        raise Unusable("bad-data", "this is no list of rows", *hints, place=(1, 1, line))
    for number, row in enumerate(found, 1):
        if not is_table(row):
            message = f"row {number} of the list is not a JSON object"
            raise Unusable("bad-data", message, *hints, place=(1, 1, line))
        yield row, (1, 1, line)


def _text(raw: bytes, number: int) -> str:
    try:
        return raw.rstrip(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = raw.decode("utf-8", "replace")
        column = len(raw[: error.start].decode("utf-8", "replace")) + 1
        message = f"byte 0x{raw[error.start]:02X} is not UTF-8"
        hint = "save the file as UTF-8"
        raise Unusable("bad-data", message, hint, place=(number, column, line)) from None


def _object(text: str, line: str, number: int, hints: list[str]) -> dict[str, Any]:
    found = _json(text, number, hints)
    if not is_table(found):
        raise Unusable("bad-data", "this row is not a JSON object", *hints, place=(number, 1, line))
    return found


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


def _json(text: str, number: int, hints: list[str]) -> Any:
    """The text as JSON; `number` is the file's line that it starts on. Raises Unusable."""
    line, column, said = number, 1, "it is nested too deeply"
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line, column = number + error.lineno - 1, error.colno
        said = SAID.get(error.msg, error.msg[0].lower() + error.msg[1:])
    except ValueError:  # the limit of Python's int()
        said = "a number in it has too many digits"
    except RecursionError:
        pass
    shown = text.split("\n")[line - number]
    raise Unusable("bad-data", f"not JSON: {said}", *hints, place=(line, column, shown))
