"""About how many tokens the rows of a file have. The compiler has no tokenizer: it counts bytes.

What stands here is said with "about" wherever a user sees it. `ftc check --data`, `ftc preview` and
the launch of a run count the tokens themselves.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from ..diagnostics.tree import is_array, is_table

# Bytes of UTF-8 a token: English prose has about 4.5, code 3 to 4, and Chinese 3 to 5.
BYTES = 4
# Tokens that a chat template puts around a message, beside its role: control tokens, line ends.
AROUND = 4
SAMPLE = 4096  # rows of a file that are measured, at most


class Sampler:
    """Measures rows, evenly spread over a file: all of them, then every second, every fourth, ...

    `columns`: those that the format reads; empty for all.
    """

    def __init__(self, columns: Collection[str] = ()) -> None:
        self.columns = columns
        self.found: list[int] = []
        self.seen = 0
        self._stride = 1

    def add(self, row: dict[str, Any]) -> None:
        if self.seen % self._stride == 0:
            self.found.append(tokens(row, self.columns))
            if len(self.found) == SAMPLE:
                del self.found[1::2]
                self._stride *= 2
        self.seen += 1


def tokens(row: dict[str, Any], columns: Collection[str] = ()) -> int:
    """About how many tokens a row becomes."""
    read = [value for key, value in row.items() if key in columns or not columns]
    if len(read) == 1 and is_array(read[0]) and all(isinstance(item, int) for item in read[0]):
        return len(read[0])  # a row of tokens
    return max(1, sum(map(_bytes, read)) // BYTES + AROUND * max(2, sum(map(_messages, read))))


def _bytes(value: Any, depth: int = 0) -> int:
    """Bytes of the text in a value of a row, as UTF-8. What a message or a tool holds, is written as JSON."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if depth > 1 and (is_table(value) or is_array(value)):
        return _bytes(json.dumps(value, ensure_ascii=False))
    if is_table(value):
        return sum(_bytes(each, depth + 1) for each in value.values())
    if is_array(value):
        return sum(_bytes(each, depth + 1) for each in value)
    return 4 if value is not None else 0


def _messages(value: Any) -> int:
    """How many messages a column holds: the tables of a list, each with a text or two."""
    return sum(map(is_table, value)) if is_array(value) else 0
