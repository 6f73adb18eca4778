"""Rows of any source in the one form of their kind: what `ftc data export` runs.

    python -m ftc.runtime.tools.export_data OUTPUT < sources.json

sources.json: {"sources": [the arguments of a `reading.Source`, ...], "rows": how many, if known}.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data.reading import Source, raw_rows
from ..errors import RunError, run
from ..formats import convert, function
from ..rows import Content, Conversation, Dropped, Preference, Row, Tokens
from . import row_files

FORMATS = {
    Conversation: "messages",
    str: "pretrain",
    Tokens: "pretokenized",
    Preference: "preference",
}


def main() -> None:
    output = Path(sys.argv[1])
    given: dict[str, Any] = json.load(sys.stdin)
    sources = [Source(**source) for source in given["sources"]]
    counts = Counts()
    written = row_files.write(output, _rows(sources, given["rows"], counts))
    print(f"{output}: {written:,} of {counts.read:,} rows")
    for reason, number in counts.dropped.most_common():
        print(f"  left out: {number:,} ({reason})")
    for what, number in counts.unread.most_common():
        print(f"  of {number:,} rows: {what} is left out")
    if counts.format:
        print(f'To train on it: source = "{output.name}", format = "{counts.format[0]}"')


class Counts:
    """What became of the rows. `format`: of what was written, and the place of its first row."""

    def __init__(self) -> None:
        self.read = 0
        self.dropped: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        self.format: tuple[str, str] | None = None


def _rows(sources: list[Source], total: int | None, counts: Counts) -> Iterator[Row]:
    with row_files.bar(total) as bar:
        for source in sources:
            format = function(source.format)
            for place, raw in raw_rows(source):
                content = convert(format, source.format, place, raw)
                counts.read += 1
                bar.update()
                if isinstance(content, Dropped):
                    counts.dropped[str(content)] += 1
                    continue
                counts.unread.update(content.unread if isinstance(content, Conversation) else ())
                _check_kind(content, place, counts)
                yield standard(content, place)


def _check_kind(content: Content, place: str, counts: Counts) -> None:
    """One file has one format."""
    found = FORMATS[type(content)]
    counts.format = counts.format or (found, place)
    if counts.format[0] != found:
        raise RunError(
            "mixed-kinds",
            f"this row is of the format {found}, and {counts.format[1]} of {counts.format[0]}: "
            "one file can't hold both",
            "export one source at a time: --source 1",
            where=place,
        )


def standard(content: Content, place: str = "") -> Row:
    """The row that the format of the content's kind reads as the same content."""
    if isinstance(content, str):
        return {"text": content}
    if isinstance(content, Conversation):
        return {"messages": content.messages} | _more(content)
    if isinstance(content, Preference):
        sides = {"chosen": content.chosen.messages, "rejected": content.rejected.messages}
        return sides | _more(content.chosen)
    if any(
        token == 0 and not learnt for token, learnt in zip(content.ids, content.loss, strict=True)
    ):
        message = "the token 0 is not learnt here, and a row of tokens can't say so: -0 is 0"
        raise RunError("token-zero", message, "train on the source itself", where=place)
    pairs = zip(content.ids, content.loss, strict=True)
    return {"tokens": [token if learnt else -token for token, learnt in pairs]}


def _more(conversation: Conversation) -> Row:
    further = {key: getattr(conversation, key) for key in ("tools", "chat_template_kwargs")}
    return {key: value for key, value in further.items() if value}


if __name__ == "__main__":
    run(main)
