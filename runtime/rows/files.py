"""Rows out of files: JSON, JSON Lines, CSV and TSV (also .gz and .zst), Parquet and Arrow.

How a file is read is told by its suffix; .gz and .zst are opened on the way. A text file is UTF-8, with or
without a byte-order mark, with any ends of lines. What can't be read is a RunError that says where
(file:line:column) and what. Needs the standard library only, but for .zst, Parquet and Arrow.
"""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import RunError
from . import Row
from .json_text import CHUNK, decode, rows_of_list, without_bom

Raw = Row | bytes  # bytes: a line of JSON that is yet to be parsed


def read(file: str, content: bytes | None = None) -> Iterator[tuple[str, Raw]]:
    """Yields (place, row) for each row of a file; the place reads `file:line` or `file: row 3`.

    `content`: what a text file holds, or the head of it, where that was read already.
    """
    suffix = kind(file)
    if suffix in COLUMNS:
        yield from COLUMNS[suffix](file)
        return
    try:
        with unpacked(file) if content is None else io.BytesIO(content) as data:
            yield from TEXTS[suffix](data, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(file, error) from None


def kind(file: str) -> str:
    """The suffix that tells how a file is read, without that of its compression; also of one called `.jsonl`."""
    name = file.removesuffix(".gz").removesuffix(".zst")
    return next((suffix for suffix in (*TEXTS, *COLUMNS) if name.endswith(suffix)), "")


def unpacked(file: str) -> BinaryIO:
    """The bytes of a text file, as they were before they were compressed."""
    if file.endswith(".gz"):
        return gzip.open(file, "rb")
    if file.endswith(".zst"):
        import pyarrow as pa

        return io.BufferedReader(_Zst(pa.input_stream(file, compression="zstd"), file), CHUNK)
    return Path(file).open("rb")


class _Zst(io.RawIOBase):
    """pyarrow's stream as Python's, so that it has lines."""

    def __init__(self, stream: Any, file: str) -> None:
        self.stream, self.file = stream, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            found = self.stream.read(len(buffer))
        except OSError as error:
            raise damaged(self.file, error) from None
        buffer[: len(found)] = found
        return len(found)


def _json_lines(data: BinaryIO, file: str) -> Iterator[tuple[str, Raw]]:
    for number, line in enumerate(data, 1):
        if number == 1:
            line = without_bom(line, file)
        line = line.rstrip(b" \t\r\n")
        begin = len(line) - len(line.lstrip(b" \t\r"))
        if line[begin : begin + 1] == b"[" and number == 1:
            raise RunError(
                "bad-json",
                "this begins a list, and a .jsonl file has one row on each line",
                "name the file .json, if it is one list of rows",
                where=f"{file}:1:{begin + 1}",
            )
        if line:
            yield f"{file}:{number}", line


def _table(data: BinaryIO, file: str, delimiter: str) -> Iterator[tuple[str, Raw]]:
    """Rows of text whose first line names the columns (RFC 4180)."""
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(_lines(data, file), delimiter=delimiter, strict=True)
    columns: list[str] = []
    line = 1
    try:
        for row in rows:
            where, line = f"{file}:{line}", rows.line_num + 1
            if not row:
                continue
            if not columns:
                columns = _columns(row, where)
            elif len(row) != len(columns):
                count = f"{len(row)} field{'s' * (len(row) != 1)}"
                raise _no_row(f"it has {count}, and the first line names {len(columns)}", where)
            else:
                yield where, dict(zip(columns, row, strict=True))
    except csv.Error as error:
        raise _no_row(str(error).split(" - ")[0], f"{file}:{line}") from None


def _no_row(said: str, where: str) -> RunError:
    return RunError(
        "bad-table",
        f"not a row of a table: {said}",
        "a field that holds a delimiter, a quote or a line end stands in quotes, with each quote doubled",
        where=where,
    )


def _columns(row: list[str], where: str) -> list[str]:
    double = next((name for number, name in enumerate(row) if name in row[:number]), None)
    if double is not None:
        raise RunError(
            "bad-table", f"two columns are called `{double}`", "rename one of them", where=where
        )
    return row


def _lines(data: BinaryIO, file: str) -> Iterator[str]:
    for number, line in enumerate(data, 1):
        if number == 1:
            line = without_bom(line, file)
        yield decode(line, f"{file}:{number}")


def without_none(value: Any) -> Any:
    """The value without keys that hold nothing, inside of lists and tables.

    Arrow gives every table of a column the same keys: what one row lacks and another has is None there.
    """
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_none(item) for item in value]
    return value


def _parquet(file: str) -> Iterator[tuple[str, Raw]]:
    import pyarrow.parquet

    return _batches(file, lambda: pyarrow.parquet.ParquetFile(file).iter_batches(1000))


def _arrow(file: str) -> Iterator[tuple[str, Raw]]:
    """Arrow's file format, or its stream, which `datasets` writes."""
    import pyarrow as pa

    def batches() -> Iterator[Any]:
        with pa.memory_map(file) as data:
            if data.read(6) == b"ARROW1":
                whole = pa.ipc.open_file(data)
                yield from (whole.get_batch(n) for n in range(whole.num_record_batches))
            else:
                data.seek(0)
                yield from pa.ipc.open_stream(data)

    return _batches(file, batches)


def _batches(file: str, batches: Callable[[], Iterator[Any]]) -> Iterator[tuple[str, Raw]]:
    import pyarrow as pa

    number = 0
    try:
        for batch in batches():
            batch.validate(full=True)  # else a damaged offset reads what lies elsewhere in memory
            for start in range(0, len(batch), 1000):
                for row in batch.slice(start, 1000).to_pylist():
                    number += 1
                    yield f"{file}: row {number}", without_none(row)
    except (pa.ArrowException, OSError, OverflowError) as error:
        raise damaged(file, error) from None


TEXTS: dict[str, Callable[[BinaryIO, str], Iterator[tuple[str, Raw]]]] = {
    ".jsonl": _json_lines,
    ".bin": _json_lines,  # as InternEvo calls them
    ".json": rows_of_list,
    ".csv": partial(_table, delimiter=","),
    ".tsv": partial(_table, delimiter="\t"),
}
COLUMNS = {".parquet": _parquet, ".arrow": _arrow}


def empty(file: str, *hints: str) -> RunError:
    return RunError("empty-data", "it has no rows", *hints, where=file)


def damaged(file: str, error: Exception) -> RunError:
    """A file that is not what its name says."""
    said = str(error).splitlines()[0][:200] if str(error) else "it ends early"
    suffix = f".{file.rpartition('.')[2]}"
    return RunError(
        "damaged-file",
        f"not a {suffix} file, or a damaged one: {said}",
        "copy it again from where it came",
        where=file,
    )
