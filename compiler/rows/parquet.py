"""The columns and the number of rows of a Parquet file, from its footer.

The footer is FileMetaData of parquet.thrift in Thrift's compact protocol: a struct is a run of
fields, each with its number and type, and ends with 0. Only the numbers that are needed are named.
https://github.com/apache/parquet-format, https://github.com/apache/thrift (compact protocol)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

MAGIC = b"PAR1"
LARGEST = 64_000_000  # bytes of a footer
DEEPEST = 20
MOST = 5_000_000  # elements of a list

# FileMetaData: schema, num_rows. SchemaElement: name, num_children.
SCHEMA, NUM_ROWS, NAME, NUM_CHILDREN = 2, 3, 4, 5


def footer(path: Path) -> tuple[tuple[str, ...], int]:
    """(columns, number of rows). Raises ValueError if this is no Parquet file, OSError."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - 8, 0))
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != MAGIC or not 0 < length <= min(size - 12, LARGEST):
            raise ValueError("it does not end as a Parquet file does")
        file.seek(size - 8 - length)
        data = file.read(length)
    try:
        fields = _Reader(data).struct()
        elements: list[dict[int, Any]] = fields[SCHEMA]
        rows: Any = fields[NUM_ROWS]
        if type(rows) is not int or not 0 <= rows < 1 << 48:
            raise LookupError
        return tuple(_columns(elements)), rows
    except (LookupError, TypeError, AttributeError, OverflowError, UnicodeDecodeError):
        raise ValueError("its footer can't be read") from None


def _columns(elements: list[dict[int, Any]]) -> list[str]:
    """The names of the root's children. The schema is a tree, written depth first."""
    names: list[str] = []
    place = 1
    for _ in range(elements[0][NUM_CHILDREN]):
        names.append(elements[place][NAME].decode())
        left = 1  # elements of this column that are still to come
        while left:
            left += elements[place].get(NUM_CHILDREN, 0) - 1
            place += 1
    return names


class _Reader:
    """Values of the compact protocol, one after the other. Raises IndexError at the data's end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place, self.depth = data, 0, 0

    def byte(self) -> int:
        self.place += 1
        return self.data[self.place - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise LookupError

    def integer(self) -> int:
        """Zigzag: 0, -1, 1, -2, ..."""
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def skip(self, count: int) -> bytes:
        start, self.place = self.place, self.place + count
        if self.place > len(self.data):
            raise LookupError
        return self.data[start : self.place]

    def struct(self) -> dict[int, Any]:
        """Its fields by number."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.integer()
            kind = head & 0x0F
            fields[number] = kind == 1 if kind in (1, 2) else self.value(kind)
        return fields

    def value(self, kind: int) -> Any:
        """Kinds: 1, 2 bool; 3 byte; 4, 5, 6 integer; 7 double; 8 bytes; 9 list; 10 set; 12 struct."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise LookupError
        try:
            if kind in (1, 2, 3):
                return self.byte()
            if kind in (4, 5, 6):
                return self.integer()
            if kind == 7:
                return self.skip(8)
            if kind == 8:
                return self.skip(self.varint())
            if kind in (9, 10):
                head = self.byte()
                count = head >> 4 if head >> 4 < 15 else self.varint()
                if count > MOST:
                    raise LookupError
                return [self.value(head & 0x0F) for _ in range(count)]
            if kind == 12:
                return self.struct()
            raise LookupError  # 11 is a map, and FileMetaData has none
        finally:
            self.depth -= 1
