"""Files of rows that ftc writes: whole or not at all, with a bar that says how long it takes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from ..errors import RunError
from ..rows import Row

CHUNK = 1 << 22


def write(output: Path, rows: Iterator[Row]) -> int:
    """Writes rows as JSON Lines, or as one list if the file is called .json; how many there were.

    The file is there when it is complete: it is written beside its place and renamed, and what an
    interruption leaves behind is taken away.
    """
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        with partial.open("xb") as file:
            number = _write(file, rows, as_list=output.suffix == ".json")
        partial.replace(output)
    except OSError as error:
        raise RunError("not-written", f"{error.strerror}", where=str(output)) from None
    finally:
        partial.unlink(missing_ok=True)
    return number


def _write(file: BinaryIO, rows: Iterator[Row], as_list: bool) -> int:
    number = 0
    for number, row in enumerate(rows, 1):
        if as_list:
            file.write(b"[\n" if number == 1 else b",\n")
        file.write(line(row))
        file.write(b"" if as_list else b"\n")
    if as_list:
        file.write(b"\n]\n" if number else b"[]\n")
    return number


def line(row: Row) -> bytes:
    """A row as JSON; half a surrogate pair, which UTF-8 can't hold, is escaped."""
    try:
        return json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(row).encode()


def count_lines(path: str) -> int:
    """How many lines a file has: fast, as nothing is read into them."""
    with Path(path).open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(CHUNK), b""))


def bar(total: int | None) -> tqdm:
    """Rows done, rows a second, and the time that is left, where a person sees it (a terminal)."""
    return tqdm(
        total=total, unit=" rows", unit_scale=True, dynamic_ncols=True, leave=False, disable=None
    )
