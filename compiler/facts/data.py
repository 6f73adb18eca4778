"""What the compiler looks up in data files: their digest, their rows, columns and format."""

from __future__ import annotations

import gzip
import hashlib
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from ...runtime.errors import RunError
from ...runtime.formats import FORMATS as FUNCTIONS
from ...runtime.formats import convert, parse
from ...runtime.rows.files import Raw, damaged, empty, kind, read, unpacked
from ..catalog.hubs import LINES, is_file, is_hub_id, modelscope_id
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at
from ..document.load import Document
from ..rows import formats
from ..rows.custom_format import FormatFile, custom
from ..rows.formats import FORMATS
from ..rows.lengths import Sampler
from ..rows.names import exists, missing, no_source
from ..rows.parquet import footer
from ..rows.patterns import expand, is_pattern, joined_sha256
from ..rows.unusable import Unusable
from ..spec.data import Source
from ..spec.keys import Refused

COPY_LIMIT = 10_000_000  # bytes; larger files are referred to, not copied into the run
HEAD = 1_000_000  # bytes of a larger file that are looked at
FIRST = 20  # rows that tell a format
Row = tuple[str, dict[str, Any]]  # where it stands, as `FILE:LINE`
LARGE_ROW = "its first row is too large to be looked at"
KIND_UNREAD = "files of this kind are read when the run starts"


class DataFile(NamedTuple):
    """A local data file. `path`: where it is.

    `rows` is None where they were not counted (JSON over COPY_LIMIT); `about` is then how many they are
    by the file's head, if that tells. `content` is set for files that are copied into the run. Of a
    pattern, it is all its files as one; `parts` are they. `lengths`: of some rows, about how many tokens
    each has.
    """

    path: Path
    sha256: str
    size: int
    rows: int | None
    content: bytes | None
    parts: tuple[DataFile, ...] = ()
    about: int | None = None
    lengths: tuple[int, ...] = ()


class RowFormat(NamedTuple):
    """A source's format: its name, as FORMATS or the spec has it, and what told it ("" the spec).

    `code` is set for one of the user's own.
    """

    name: str
    told_by: str = ""
    code: FormatFile | None = None


def look_up(
    source: Source, path: KeyPath, document: Document
) -> tuple[DataFile | None, RowFormat | None, Diagnostic | None]:
    """The facts of a source, or what is wrong with it. A Hub id is no file, but has a format."""
    folder = Path(document.path).parent
    try:
        return *_look_up(source, folder), None
    except RunError as error:
        code, message, *hints = error.args
        problem = Unusable(code, message, *hints)
        name, line, column = _place(error.where)
        text = _line(name, line) if line else None
    except Unusable as unusable:
        problem = unusable
        if problem.place is None:
            where = (*path, problem.key)
            hints = problem.hints
            said = at(document, where, problem.code, problem.message, on="value", hints=hints)
            return None, None, said
        name = str(problem.file or folder / source.source)
        line, column, text = problem.place
    named = document.locate((*path, problem.key))
    note = f"{document.where(named)} names this file"
    said = Diagnostic(
        problem.code,
        problem.message,
        name,
        line,
        column,
        column + 1,
        source=text,
        notes=(note,),
        hints=problem.hints,
    )
    return None, None, said


PLACE = re.compile(r"(?P<file>.*?)(?::(?P<line>\d+)(?::(?P<column>\d+))?|: row \d+)?", re.DOTALL)


def _place(where: str) -> tuple[str, int, int]:
    """File, line and column of a fault in a row: line 0 is the file as a whole."""
    found = PLACE.fullmatch(where)
    assert found is not None
    return found["file"], int(found["line"] or 0), int(found["column"] or 1)


def _line(file: str, number: int) -> str:
    with unpacked(file) as lines:
        line = next(islice(lines, number - 1, None), b"")
    return line.decode("utf-8-sig" if number == 1 else "utf-8", "replace").rstrip("\r\n")


def _look_up(source: Source, folder: Path) -> tuple[DataFile | None, RowFormat]:
    name = source.source
    file = folder / name
    if not is_file(name):
        if modelscope_id(name) or (is_hub_id(name) and not exists(file)):
            code = custom(source.format, folder)
            own = source.format if code else formats.of_hub(source.format, name)
            return None, RowFormat(own, code=code)
        raise no_source(name, file)
    if not exists(file) and is_pattern(name):
        return _all(source, folder)
    if not exists(file) or not file.is_file():  # a folder, a pipe
        raise missing(name, file)
    try:
        size = file.stat().st_size
        content = file.read_bytes() if size <= COPY_LIMIT else None
        with file.open("rb") as data:
            digest = hashlib.file_digest(data, "sha256").hexdigest()
    except OSError as error:
        raise Unusable("missing-file", f"{name} can't be read: {error.strerror}") from None
    code = custom(source.format, folder)
    about: int | None = None
    lengths: Sequence[int] = ()
    if name.endswith(".parquet"):
        try:
            columns, rows = footer(file)
        except ValueError as error:
            raise damaged(str(file), error) from None
        found = _format(source, columns, [], code)
        _columns_fit(found, columns, [], source)
        if not rows:
            raise _empty(file, found.name)
    elif name.endswith((".arrow", ".zst")):  # not looked into: that needs more than Python has
        own = source.format if code else formats.of_unread(source.format, name, KIND_UNREAD)
        rows, found = None, RowFormat(own, code=code)
    else:
        rows, found, about, lengths = _in_text(file, content, source, code)
    return DataFile(file, digest, size, rows, content, (), about, tuple(lengths)), found


def _all(source: Source, folder: Path) -> tuple[DataFile, RowFormat]:
    """The files that a pattern names, all of one format."""
    names = expand(source.source, folder)
    if not names:
        hint = "paths are relative to the spec's folder; `**` is any number of folders"
        raise Unusable("missing-file", f"no file fits {source.source}", hint)
    files: list[DataFile] = []
    first: RowFormat | None = None
    left = _limit(source)
    for name in names:
        if left is not None and left <= 0:
            break  # no run reads this file
        part = {"source": name, "max_samples": left}
        try:
            file, found = _look_up(source.model_copy(update=part), folder)
        except Unusable as problem:
            problem.file = problem.file or folder / name
            raise
        assert file is not None
        first = first or found
        if found.name != first.name:
            message = f"{names[0]} is in the format {first.name}, and {name} in {found.name}"
            hint = "name files of one format in each [[data.train]]"
            raise Unusable("no-format", message, hint, "or name the format of all of them")
        files.append(file)
        left = None if left is None else left - (file.rows or 0)
    assert first is not None
    counts = [file.rows for file in files]
    digest = joined_sha256((file.path.name, file.sha256) for file in files)
    rows = None if None in counts else sum(count for count in counts if count is not None)
    size = sum(file.size for file in files)
    return DataFile(folder / source.source, digest, size, rows, None, tuple(files)), first


def _format(
    source: Source, columns: Sequence[str], rows: Sequence[Row], code: FormatFile | None
) -> RowFormat:
    """The format that the spec names, or that these columns and first rows tell. Raises Unusable."""
    if code is not None:
        return RowFormat(source.format, code=code)
    name = formats.choose(source.format, source.source, columns, [row for _, row in rows])
    names = ", ".join(FORMATS[name].columns)
    return RowFormat(name, f"columns {names} of {source.source}" if name != source.format else "")


def _columns_fit(
    found: RowFormat, columns: Sequence[str], first: Sequence[Row], source: Source
) -> None:
    lacking = [column for column in _wanted(found) if column not in columns]
    if not lacking:
        return
    have = ", ".join(f"`{column}`" for column in columns[:10]) or "none"
    message = f"the format {found.name} needs the column `{lacking[0]}`; {source.source} has {have}"
    fits = formats.told(columns, [row for _, row in first])
    hints = formats.renames([row for _, row in first]) if found.name == "messages" else []
    hints += [f'set format = "{name}", which fits these columns' for name in fits]
    hints += [] if hints else [f"a row of this format is {FORMATS[found.name].example_row}"]
    raise Unusable("missing-column", message, *hints, key="format")


def _wanted(found: RowFormat) -> Sequence[str]:
    return () if found.code else FORMATS[found.name].columns


def _limit(source: Source) -> int | None:
    """How many rows are taken at most; None for all, and where the spec's number is refused."""
    with suppress(Refused):
        return None if source.max_samples is None else min(source.max_samples, sys.maxsize)
    return None


def _in_text(
    file: Path, content: bytes | None, source: Source, code: FormatFile | None
) -> tuple[int | None, RowFormat, int | None, Sequence[int]]:
    """How many rows a text file has, their format, about how many rows if they were not counted, and about how
    many tokens some of them have.

    A small file is read whole, as the run will read it; of a larger one the head. Raises Unusable, RunError.
    """
    head, whole = (content, True) if content and file.suffix != ".gz" else _head(file)
    sure = whole or (kind(file.name) in LINES and head.endswith(b"\n"))
    lines = read(str(file), head)
    rows = _rows(islice(lines, _limit(source)), sure)  # what is behind them, no run reads
    first = list(islice(rows, FIRST))
    if not first and sure:
        raise _empty(file, source.format)
    if not first:
        own = source.format if code else formats.of_unread(source.format, source.source, LARGE_ROW)
        return None, RowFormat(own, code=code), None, ()
    columns = tuple(first[0][1])
    found = _format(source, columns, first, code)
    _columns_fit(found, columns, first, source)
    sampler = Sampler(_read_by(found))
    for place, row in chain(first, rows):
        if not found.code:
            convert(FUNCTIONS[found.name], found.name, place, row)
        sampler.add(row)
    count = sampler.seen
    with suppress(RunError):
        for _ in lines:
            count += 1
    if whole:
        return count, found, None, sampler.found
    if file.suffix == ".gz":  # how large it is unpacked, its size does not tell
        return None, found, None, ()
    return None, found, round(count * file.stat().st_size / len(head)), sampler.found


def _head(file: Path) -> tuple[bytes, bool]:
    """The text of a file, and whether it is all of it: of one that is large the head, if it can be in whole lines."""
    try:
        with unpacked(str(file)) as data:
            content = data.read(COPY_LIMIT + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise damaged(str(file), error) from None
    if len(content) <= COPY_LIMIT:
        return content, True
    if kind(file.name) == ".json":
        return _whole_characters(content[: HEAD + 1]), False
    end = max(content.find(b"\n", HEAD), content[:HEAD].rfind(b"\n"))
    return content[: end + 1] or _whole_characters(content), False


def _whole_characters(text: bytes) -> bytes:
    """The text up to where its last character of UTF-8 begins, which may be cut."""
    last = range(len(text) - 1, len(text) - 5, -1)
    return text[: next((n for n in last if text[n] & 0xC0 != 0x80), len(text))]


def _rows(lines: Iterator[tuple[str, Raw]], sure: bool) -> Iterator[Row]:
    """The rows in a text; unless `sure`, it ends where a row can't be read, as that may be cut."""
    try:
        for place, raw in lines:
            yield place, parse(raw, place)
    except RunError as error:
        if sure or error.args[0] == "bad-encoding":  # no head ends inside of a character
            raise


def _read_by(found: RowFormat) -> tuple[str, ...]:
    """The columns whose text a format trains on; none, which means all, for a custom one."""
    known = None if found.code else FORMATS[found.name]
    if known is None:
        return ()
    more = [column for column in known.optional if column != "text"]  # alpaca's says it all again
    return (*known.columns, *more)


def _empty(file: Path, name: str) -> RunError:
    hint = _example(name) if name in FORMATS else "a data file holds at least one row"
    return empty(str(file), hint)


def _example(name: str) -> str:
    return f"a row of the format {name} is {FORMATS[name].example_row}"
