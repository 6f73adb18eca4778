"""Rows of .csv and .tsv files, each with its place: the first line names the columns (RFC 4180)."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator

from .json_rows import Row, decoded
from .unusable import Unusable

QUOTES = "a field that holds a delimiter, a quote or a line end stands in quotes"


def header(content: bytes, delimiter: str) -> tuple[str, ...]:
    """The names of the columns."""
    line = decoded(content.split(b"\n", 1)[0], 1)
    return tuple(next(csv.reader([line], delimiter=delimiter), ()))


def table_rows(content: bytes, delimiter: str) -> Iterator[Row]:
    """Raises Unusable for a row that has not a field for each column."""
    csv.field_size_limit(sys.maxsize)
    lines = content.split(b"\n")
    texts = [f"{decoded(line, number)}\n" for number, line in enumerate(lines, 1)]
    texts[-1] = texts[-1][:-1]
    rows = csv.reader(texts, delimiter=delimiter, strict=True)
    columns: list[str] = []
    line = 1
    try:
        for fields in rows:
            first, line = line, rows.line_num + 1
            place = (first, 1, decoded(lines[first - 1], first))
            if not fields:
                continue
            if not columns:
                columns = fields
                double = [name for name in columns if columns.count(name) > 1]
                if double:
                    message = f"two columns are called `{double[0]}`"
                    raise Unusable("bad-data", message, "rename one of them", place=place)
            elif len(fields) != len(columns):
                message = f"this row has {len(fields)} fields, and the first line {len(columns)}"
                raise Unusable("bad-data", message, QUOTES, place=place)
            else:
                yield dict(zip(columns, fields, strict=True)), place
    except csv.Error as error:
        number = min(line, len(lines))
        place = (number, 1, decoded(lines[number - 1], number))
        raise Unusable(
            "bad-data",
            f"this is no row of a table: {str(error).split(' - ')[0]}",
            QUOTES,
            place=place,
        ) from None
