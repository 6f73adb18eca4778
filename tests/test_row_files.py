"""Rows out of files of every kind, and what is said of broken ones."""

import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from ftc.runtime import data
from ftc.runtime.data import cache, reading
from ftc.runtime.data.tokenizing import Settings
from ftc.runtime.errors import RunError
from ftc.runtime.rows import Conversation, json_text

from . import tiny
from .test_broken_files import compiled, same_fault

pytestmark = pytest.mark.usefixtures("work")
SETTINGS = Settings(96, "assistant", "drop")


def contents(file: str, **more) -> list:
    return [content for _, content in tiny.read(data.Source(file=file, **more))]


ROWS = tiny.rows(5)
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def write_arrow(path: Path, make) -> None:
    table = pa.Table.from_pylist(ROWS)
    with make(str(path), table.schema) as sink:
        sink.write_table(table)


def write_zst(path: Path, text: bytes) -> None:
    with pa.output_stream(str(path), compression="zstd") as sink:
        sink.write(text)


FILES = {
    "a.json": lambda path: path.write_text(json.dumps(ROWS, indent=1), "utf-8-sig"),
    "a.jsonl": lambda path: path.write_text(LINES.replace("\n", "\r\n\r\n"), "utf-8-sig"),
    "a.json.gz": lambda path: path.write_bytes(gzip.compress(json.dumps(ROWS).encode())),
    # two members, as `cat a.gz b.gz` makes
    "a.jsonl.gz": lambda path: path.write_bytes(
        b"".join(gzip.compress(line.encode()) for line in LINES.splitlines(keepends=True))
    ),
    "a.jsonl.zst": lambda path: write_zst(path, LINES.encode()),
    "a.parquet": lambda path: pa.parquet.write_table(pa.Table.from_pylist(ROWS), path),
    "a.arrow": lambda path: write_arrow(path, pa.ipc.new_file),
    "stream.arrow": lambda path: write_arrow(path, pa.ipc.new_stream),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_each_kind_give_the_same_rows(name):
    FILES[name](Path(name))
    assert contents(name) == [Conversation(row["messages"]) for row in ROWS]
    assert contents(name, max_samples=2) == [Conversation(row["messages"]) for row in ROWS[:2]]


@pytest.mark.parametrize("suffix, delimiter", [("csv", ","), ("tsv", "\t")])
def test_a_table_of_text(suffix, delimiter):
    rows = [("instruction", "output"), ('say "a, b"', "two\nlines\t!"), ("é 你好", "x")]
    with Path(f"t.{suffix}").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    found = list(tiny.read(data.Source(file=f"t.{suffix}", format="alpaca")))
    assert [place for place, _ in found] == [f"t.{suffix}:2", f"t.{suffix}:4"]
    texts = [[message["content"] for message in content.messages] for _, content in found]
    assert texts == [list(row) for row in rows[1:]]


@pytest.mark.parametrize(
    "name, command",
    [
        ("a.json", "cat a.json | jq -c '.[]' > a.jsonl"),
        ("b c.json.gz", "gzip -dc 'b c.json.gz' | jq -c '.[]' > 'b c.jsonl'"),
    ],
)
def test_a_list_too_large_for_memory_is_refused(name, command, monkeypatch):
    text = json.dumps([{"text": "é" * 50}], ensure_ascii=False).encode()
    Path(name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert contents(name, format="pretrain") == ["é" * 50]
    monkeypatch.setattr(json_text, "LARGEST", len(text) - 1)
    with pytest.raises(RunError, match=r"error\[bad-json\]: one list of more than") as caught:
        contents(name, format="pretrain")
    assert str(caught.value).endswith(f"  hint: make it JSON Lines: {command}")


def test_what_one_row_lacks_is_not_none_in_another():
    """Arrow gives each message the keys of all; here a key that holds nothing is not there."""
    row = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "loss": False}]
    pa.parquet.write_table(pa.Table.from_pylist([{"messages": row}]), "a.parquet")
    (found,) = (files_row for _, files_row in reading.raw_rows(data.Source(file="a.parquet")))
    assert found == {"messages": row}


BROKEN = {
    "comma.jsonl": (b'{"text": "a"}\n{"text": "b",}\n', ":2:14: error[bad-json]"),
    "cut.jsonl": (b'{"text": "a"}\n{"text": "b', ":2:10: error[bad-json]"),
    "list.jsonl": (b'[{"text": "a"}]', ":1:1: error[bad-json]"),
    "scalar.jsonl": (b'{"text": "a"}\n7\n', ":2: error[bad-row]"),
    "mixed.jsonl": (b'{"text": "a"}\n{"text": 7}\n', ":2: error[bad-row]"),
    "latin.jsonl": (b'{"text": "a"}\n{"text": "\xfc"}\n', ":2:11: error[bad-encoding]"),
    "utf16.jsonl": ('{"text": "a"}'.encode("utf-16"), ":1:1: error[bad-encoding]"),
    "digits.jsonl": (b'{"text": ' + b"1" * 5000 + b"}", ":1: error[bad-json]"),
    "deep.jsonl": (b'{"text": ' + b"[" * 200_000, ":1: error[bad-json]"),
    "half.jsonl": (b'{"text": "\\ud83d"}', ":1: error[bad-row]"),
    "empty.jsonl": (b"\n\n", ": error[empty-data]"),
    "nothing.jsonl": (b"", ": error[empty-data]"),
    "nothing.json": (b"", ":1:1: error[bad-json]"),
    "empty.json": (b"[]", ": error[empty-data]"),
    "object.json": (b'{"text": "a"}', ":1:1: error[bad-json]"),
    "comma.json": (b'[{"text": "a"},\n]', ":2:1: error[bad-json]"),
    "missing.json": (b'[{"text": "a"}\n {"text": "b"}]', ":2:2: error[bad-json]"),
    "inside.json": (b'[{"text": "a"},\n {"text" "b"}]', ":2:10: error[bad-json]"),
    "cut.json": (b'[{"text": "a"},\n{"te', ":2:2: error[bad-json]"),
    "more.json": (b'[{"text": "a"}]\n[]', ":2:1: error[bad-json]"),
    "latin.json": (b'[{"text": "a"},\n{"text": "\xfc"}]', ":2:11: error[bad-encoding]"),
    "half.json": (b'[{"text": "\\uD83D!"}]', ":1: error[bad-row]"),
    "utf32.json": ("[]".encode("utf-32"), ":1:1: error[bad-encoding]"),
    "no.jsonl.gz": (b"not compressed", ": error[damaged-file]"),
    "cut.jsonl.gz": (gzip.compress(b'{"text": "a"}\n' * 999)[:-20], ": error[damaged-file]"),
    "no.jsonl.zst": (b"not compressed", ": error[damaged-file]"),
    "no.parquet": (b"PAR1 not", ": error[damaged-file]"),
    "no.arrow": (b"ARROW1 not", ": error[damaged-file]"),
    "fields.csv": (b"text,b\n1,2\n1\n", ":3: error[bad-table]"),
    "double.csv": (b"text,text\n1,2\n", ":1: error[bad-table]"),
    "quote.csv": (b'text\n"a" b\n', ":2: error[bad-table]"),
    "open.csv": (b'text\na\n"b\n', ":3: error[bad-table]"),
    "latin.csv": (b"text\na\n\xfc\n", ":3:1: error[bad-encoding]"),
    "header.csv": (b"text\n", ": error[empty-data]"),
    "other.csv": (b"texts\na\n", ":2: error[bad-row]"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_says_where_and_what(name, tokenizer):
    content, expected = BROKEN[name]
    Path(name).write_bytes(content)
    with pytest.raises(RunError) as error:
        cache.tokens(data.Source(file=name, format="pretrain"), tokenizer, SETTINGS)
    assert str(error.value).startswith(name + expected), str(error.value)
    assert "\n  hint: " in str(error.value) or "empty" in expected
    assert same_fault(str(error.value), compiled(name, "pretrain"), name)
