"""Rows out of files: JSON, JSON Lines, CSV and TSV (also .gz and .zst), Parquet and Arrow.

A text file is UTF-8, with or without a byte-order mark, with any ends of lines. What can't be read is a
RunError that says where (file:line:column) and what.
"""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import RunError
from ..formats.values import without_none
from ..rows import Row
from .json_text import CHUNK, decode, rows_of_list, without_bom

Raw = Row | bytes  # bytes: a line of JSON that is yet to be parsed


def read(file: str) -> Iterator[tuple[str, Raw]]:
    """Yields (place, row) for each row of a file; the place reads `file:line` or `file: row 3`."""
    suffixes = Path(file).suffixes
    if suffixes[-1:] in ([".gz"], [".zst"]):
        suffixes.pop()
    try:
        yield from READERS[suffixes[-1]](file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(file, error) from None


def _open(file: str) -> BinaryIO:
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
            raise _damaged(self.file, error) from None
        buffer[: len(found)] = found
        return len(found)


def _json_lines(file: str) -> Iterator[tuple[str, Raw]]:
    with _open(file) as lines:
        for number, line in enumerate(lines, 1):
            if number == 1:
                line = without_bom(line, file)
            line = line.strip(b" \t\r\n")
            if line[:1] == b"[" and number == 1:
                raise RunError(
                    "bad-json",
                    "this begins a list, and a .jsonl file has one row on each line",
                    "name the file .json, if it is one list of rows",
                    where=f"{file}:1:1",
                )
            if line:
                yield f"{file}:{number}", line


def _json_list(file: str) -> Iterator[tuple[str, Raw]]:
    with _open(file) as data:
        yield from rows_of_list(data, file)


def _table(delimiter: str) -> Callable[[str], Iterator[tuple[str, Raw]]]:
    """A reader of rows of text whose first line names the columns (RFC 4180)."""

    def read(file: str) -> Iterator[tuple[str, Raw]]:
        csv.field_size_limit(sys.maxsize)
        with _open(file) as data:
            rows = csv.reader(_lines(data, file), delimiter=delimiter, strict=True)
            columns: list[str] | None = None
            line = 1
            try:
                for row in rows:
                    where, line = f"{file}:{line}", rows.line_num + 1
                    if not row:
                        continue
                    if columns is None:
                        columns = _columns(row, where)
                    elif len(row) != len(columns):
                        message = f"{len(row)} fields, and the first line names {len(columns)}"
                        hint = (
                            "a field that holds a delimiter, a quote or a line end stands in quotes"
                        )
                        raise RunError("bad-table", message, hint, where=where)
                    else:
                        yield where, dict(zip(columns, row, strict=True))
            except csv.Error as error:
                raise RunError(
                    "bad-table",
                    f"not a table: {str(error).split(' - ')[0]}",
                    "a field that holds a quote stands in quotes, with the quote doubled",
                    where=f"{file}:{line}",
                ) from None

    return read


def _columns(row: list[str], where: str) -> list[str]:
    double = next((name for number, name in enumerate(row) if name in row[:number]), None)
    if double is not None:
        raise RunError("bad-table", f"two columns are called `{double}`", "rename one", where=where)
    return row


def _lines(data: BinaryIO, file: str) -> Iterator[str]:
    for number, line in enumerate(data, 1):
        if number == 1:
            line = without_bom(line, file)
        yield decode(line, f"{file}:{number}")


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
        raise _damaged(file, error) from None


READERS: dict[str, Callable[[str], Iterator[tuple[str, Raw]]]] = {
    ".jsonl": _json_lines,
    ".bin": _json_lines,  # as InternEvo calls them
    ".json": _json_list,
    ".csv": _table(","),
    ".tsv": _table("\t"),
    ".parquet": _parquet,
    ".arrow": _arrow,
}


def _damaged(file: str, error: Exception) -> RunError:
    said = str(error).splitlines()[0][:200] if str(error) else "it ends early"
    kind = Path(file).suffix
    message = f"not a {kind} file, or a damaged one: {said}"
    return RunError("damaged-file", message, "copy it again from where it came", where=file)
