"""What the compiler looks up in data files: their digest, their rows, columns and format."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from ..catalog.hubs import DELIMITERS, LINES, is_file, is_hub_id, modelscope_id
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..diagnostics.tree import is_table
from ..document.at import at
from ..document.load import Document
from ..rows import formats
from ..rows.custom_format import FormatFile, custom
from ..rows.formats import FORMATS
from ..rows.json_rows import Row, json_lines, json_list
from ..rows.lengths import Sampler
from ..rows.names import exists, missing, no_source
from ..rows.parquet import footer
from ..rows.patterns import expand, is_pattern, joined_sha256
from ..rows.table_rows import header, table_rows
from ..rows.unusable import Unusable
from ..spec.data import Source

COPY_LIMIT = 10_000_000  # bytes; larger files are referred to, not copied into the run
HEAD = 1_000_000  # bytes of a larger file that are looked at
FIRST = 20  # rows that tell a format
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
    except Unusable as problem:
        if problem.place is None:
            where = (*path, problem.key)
            return (
                None,
                None,
                at(document, where, problem.code, problem.message, on="value", hints=problem.hints),
            )
        line, column, text = problem.place
        named = document.locate((*path, problem.key))
        return (
            None,
            None,
            Diagnostic(
                problem.code,
                problem.message,
                str(problem.file or folder / source.source),
                line,
                column,
                column + 1,
                source=text,
                notes=(f"{document.where(named)} names this file",),
                hints=problem.hints,
            ),
        )


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
    if file.suffix == ".parquet":
        columns, rows = _footer(file, name)
        found = _format(source, columns, [], code)
        _columns_fit(found, columns, [], source)
        if not rows:
            raise _empty(source, found)
    elif file.suffix in (".arrow", ".zst"):  # not looked into: that needs more than Python has
        own = source.format if code else formats.of_unread(source.format, name, KIND_UNREAD)
        rows, found = None, RowFormat(own, code=code)
    elif content is not None and file.suffix != ".gz":
        rows, found, lengths = _table(content, source, code)
    else:
        rows = None
        found, about, lengths = _of_head(file, size, source, code)
    return DataFile(file, digest, size, rows, content, (), about, tuple(lengths)), found


def _all(source: Source, folder: Path) -> tuple[DataFile, RowFormat]:
    """The files that a pattern names, all of one format."""
    names = expand(source.source, folder)
    if not names:
        hint = "paths are relative to the spec's folder; `**` is any number of folders"
        raise Unusable("missing-file", f"no file fits {source.source}", hint)
    files: list[DataFile] = []
    first: RowFormat | None = None
    for name in names:
        try:
            file, found = _look_up(source.model_copy(update={"source": name}), folder)
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
    assert first is not None
    counts = [file.rows for file in files]
    digest = joined_sha256((file.path.name, file.sha256) for file in files)
    rows = None if None in counts else sum(count for count in counts if count is not None)
    size = sum(file.size for file in files)
    return DataFile(folder / source.source, digest, size, rows, None, tuple(files)), first


def _footer(file: Path, name: str) -> tuple[tuple[str, ...], int]:
    try:
        return footer(file)
    except ValueError as error:
        hint = "a file that was not written to its end looks like this: copy or write it again"
        raise Unusable("bad-data", f"{name} is no Parquet file: {error}", hint) from None


def _format(
    source: Source, columns: Sequence[str], rows: Sequence[Row], code: FormatFile | None
) -> RowFormat:
    """The format that the spec names, or that these columns and first rows tell. Raises Unusable."""
    if code is not None:
        return RowFormat(source.format, code=code)
    name = formats.choose(source.format, source.source, columns, [row for row, _ in rows])
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
    fits = formats.told(columns, [row for row, _ in first])
    hints = formats.renames([row for row, _ in first]) if found.name == "messages" else []
    hints += [f'set format = "{name}", which fits these columns' for name in fits]
    hints += [] if hints else [f"a row of this format is {FORMATS[found.name].example_row}"]
    raise Unusable("missing-column", message, *hints, key="format")


def _wanted(found: RowFormat) -> Sequence[str]:
    return () if found.code else FORMATS[found.name].columns


def _of_head(
    file: Path, size: int, source: Source, code: FormatFile | None
) -> tuple[RowFormat, int | None, list[int]]:
    """Of a file that is large or compressed, by its head: its format, and about how many rows it has, how
    long (None and nothing where its head does not tell)."""
    kind = _kind(source.source)
    packed = file.suffix == ".gz"
    try:
        with gzip.open(file) if packed else file.open("rb") as data:
            head = data.read(HEAD) if kind == ".json" else data.readline(COPY_LIMIT)
            more = b"" if kind == ".json" else data.read(max(0, HEAD - len(head)))
    except (gzip.BadGzipFile, EOFError, zlib.error):
        message = f"{source.source} is no gzip file, or a damaged one"
        raise Unusable("bad-data", message, "copy it again from where it came") from None
    if kind in DELIMITERS:
        columns, first = header(head, DELIMITERS[kind]), []
    else:
        first = list(json_lines(head)) if kind in LINES else _first_of_list(head)
        columns = tuple(first[0][0]) if first else ()
    if not head.strip():
        raise _empty(source, None)
    found = _format(source, columns, first, code)
    if columns:
        _columns_fit(found, columns, first, source)
    sampler, used = _measured(kind, head, head + more, found)
    about = round(sampler.seen * size / used) if used and not packed else None
    return found, about, sampler.found if about else []


def _measured(kind: str, first: bytes, head: bytes, found: RowFormat) -> tuple[Sampler, int]:
    """The rows in the head of a file, measured, and how many bytes they take; 0 if that can't be told."""
    sampler = Sampler(_read_by(found))
    whole = head[: head.rfind(b"\n") + 1] or first
    used = len(whole)
    with suppress(
        Unusable, UnicodeDecodeError
    ):  # what is wrong there is said when the run reads it
        if kind == ".json":
            rows, used = _rows_of_list(head)
        elif kind in DELIMITERS:
            rows = [row for row, _ in table_rows(whole.rstrip(b"\n"), DELIMITERS[kind])]
        else:
            rows = [row for row, _ in json_lines(whole)]
        for row in rows:
            sampler.add(row)
        return sampler, used
    return sampler, 0


def _rows_of_list(head: bytes) -> tuple[list[dict[str, Any]], int]:
    """The rows in the head of a list that goes on, and the bytes up to the end of the last of them."""
    text = head.decode("utf-8-sig", "ignore")
    decoder, rows = json.JSONDecoder(), list[dict[str, Any]]()
    place = text.find("[") + 1
    with suppress(ValueError, RecursionError):
        while start := re.compile(r"[\s,]*").match(text, place):
            row, end = decoder.raw_decode(text, start.end())
            if not is_table(row):
                break
            rows.append(row)
            place = end
    return rows, len(text[:place].encode())


def _read_by(found: RowFormat) -> tuple[str, ...]:
    """The columns whose text a format trains on; none, which means all, for a custom one."""
    known = None if found.code else FORMATS[found.name]
    if known is None:
        return ()
    more = [column for column in known.optional if column != "text"]  # alpaca's says it all again
    return (*known.columns, *more)


def _kind(name: str) -> str:
    """The suffix of a text file, without that of its compression."""
    return Path(name.removesuffix(".gz").removesuffix(".zst")).suffix


def _first_of_list(head: bytes) -> list[Row]:
    """The first row of a list that goes on; none if it can't be told from the list's head."""
    text = head.decode("utf-8-sig", "replace").lstrip().removeprefix("[").lstrip()
    with suppress(ValueError, RecursionError):
        row, _ = json.JSONDecoder().raw_decode(text)
        return [(row, (1, 1, ""))] if is_table(row) else []
    return []


def _table(
    content: bytes, source: Source, code: FormatFile | None
) -> tuple[int, RowFormat, list[int]]:
    """How many rows the file has, their format, and about how many tokens some of them have. Raises Unusable."""
    kind = _kind(source.source)
    if kind in DELIMITERS:
        rows = table_rows(content, DELIMITERS[kind])
    else:
        rows = json_lines(content) if kind in LINES else json_list(content)
    first = list(islice(rows, FIRST))
    if not first:
        raise _empty(source, None)
    columns = tuple(first[0][0])
    found = _format(source, columns, first, code)
    _columns_fit(found, columns, first, source)
    number = 0
    sampler = Sampler(_read_by(found))
    for row, place in chain(first, rows):
        number += 1
        sampler.add(row)
        lacking = [column for column in _wanted(found) if column not in row]
        if lacking:
            message = f"this row has no `{lacking[0]}`, as those before it have"
            raise Unusable("missing-column", message, _example(found.name), place=place)
        if not found.code and (problem := formats.misfit(found.name, row)):
            message = f"not a row of the format {found.name}: {problem}"
            hints = (*formats.guesses(found.name, row), _example(found.name))
            raise Unusable("bad-data", message, *hints, place=place)
    return number, found, sampler.found


def _empty(source: Source, found: RowFormat | None) -> Unusable:
    name = found.name if found else source.format
    hint = _example(name) if name in FORMATS else "a data file holds at least one row"
    return Unusable("empty-data", f"{source.source} has no rows", hint)


def _example(name: str) -> str:
    return f"a row of the format {name} is {FORMATS[name].example_row}"
