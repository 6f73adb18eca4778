"""Files that break in ways of their own: each is told in one sentence, by the compiler or by the run.

More of the usual kinds are in test_data.py and errors/data.
"""

import gzip
import json
import os
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from ftc.compiler import compile_file
from ftc.compiler.diagnostics.diagnostic import CompileError
from ftc.runtime import data
from ftc.runtime.data import cache, tokenizing
from ftc.runtime.data.tokenizing import Settings
from ftc.runtime.errors import RunError

from .specs import BASE, merged, toml
from .tiny import read

ROW = {"instruction": "a", "input": "", "output": "b"}
LINE = json.dumps(ROW).encode() + b"\n"
ROWS = b"".join(json.dumps({**ROW, "output": str(n * n)}).encode() + b"\n" for n in range(5000))
TABLE = pa.table({"instruction": ["a"] * 5000, "output": [str(n * n) for n in range(5000)]})


def written(write) -> bytes:
    """What a function writes to a stream of Arrow's."""
    sink = pa.BufferOutputStream()
    write(sink)
    return sink.getvalue().to_pybytes()


def arrow(make) -> bytes:
    def write(sink) -> None:
        with make(sink, TABLE.schema) as file:
            file.write_table(TABLE)

    return written(write)


def zst(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


def flipped(content: bytes, place: int, count: int = 1) -> bytes:
    changed = bytes(byte ^ 0xFF for byte in content[place:][:count])
    return content[:place] + changed + content[place:][count:]


GZ, ZST = gzip.compress(ROWS), zst(ROWS)
PARQUET = written(lambda sink: pa.parquet.write_table(TABLE, sink))
FILE, STREAM = arrow(pa.ipc.new_file), arrow(pa.ipc.new_stream)
NO_TEXT = pa.table({"instruction": pa.array([b"\xff"]).view(pa.string()), "output": ["b"]})

BAD_JSON, BAD_ROW, ENCODING = "error[bad-json]", "error[bad-row]", "error[bad-encoding]"
DAMAGED, EMPTY, TABLE_ERROR = "error[damaged-file]", "error[empty-data]", "error[bad-table]"
BROKEN = {
    "half.jsonl.gz": (GZ[: len(GZ) // 2], f": {DAMAGED}"),
    "checksum.jsonl.gz": (flipped(GZ, len(GZ) - 6), f": {DAMAGED}"),
    "more.jsonl.gz": (GZ + b"more", f": {DAMAGED}"),
    "nothing.jsonl.gz": (b"", f": {EMPTY}"),
    "half.jsonl.zst": (ZST[: len(ZST) // 2], f": {DAMAGED}"),
    "almost.jsonl.zst": (ZST[:-3], f": {DAMAGED}"),
    "more.jsonl.zst": (ZST + b"more", f": {DAMAGED}"),
    "nothing.jsonl.zst": (b"", f": {EMPTY}"),
    "no-bom.jsonl": (LINE.decode().encode("utf-16-le"), f":1:1: {ENCODING}"),
    "no-bom-be.csv": ("instruction,output\n".encode("utf-16-be"), f":1:1: {ENCODING}"),
    "no-bom.json": ("[{}]".encode("utf-16-le"), f":1:1: {ENCODING}"),
    "utf16.csv": ("instruction,output\n".encode("utf-16"), f":1:1: {ENCODING}"),
    "surrogate.jsonl": (LINE + b'{"instruction": "\xed\xa0\x80"}', f":2:18: {ENCODING}"),
    "half-end.jsonl": (b'{"instruction": "a", "output": "b\\udc00"}', f":1: {BAD_ROW}"),
    "indent.jsonl": (LINE + b'  {"instruction": x}', f":2:19: {BAD_JSON}"),
    "indent-list.jsonl": (b"  [1]", f":1:3: {BAD_JSON}"),
    ".jsonl": (b"7\n", f":1: {BAD_ROW}"),
    ".json.gz": (gzip.compress(b"[7]"), f":1: {BAD_ROW}"),
    ".csv": (b"instruction,output\na,b,c\n", f":2: {TABLE_ERROR}"),
    ".parquet": (LINE, f": {DAMAGED}"),
    "bom.jsonl": (b"\xef\xbb\xbf", f": {EMPTY}"),
    "bom-inside.jsonl": (LINE + b"\xef\xbb\xbf" + LINE, f":2:1: {BAD_JSON}"),
    "blank.jsonl": (b"\r\n \n\t\n", f": {EMPTY}"),
    "zeros.jsonl": (LINE + b"\0\0\0\0" + LINE, f":2:1: {BAD_JSON}"),
    "zero.jsonl": (b'{"instruction": "a\0"}', f":1:19: {BAD_JSON}"),
    "twice.jsonl": (b'{"instruction": "a", "output": "b", "output": "c"}', f":1: {BAD_JSON}"),
    "twice.json": (b'[{"instruction": "a",\n "x": {"y": 1, "y": 2}}]', f":1: {BAD_JSON}"),
    "nan.jsonl": (b'{"instruction": "a", "output": NaN}', f":1: {BAD_ROW}"),
    "two.jsonl": (LINE.strip() * 2, f":1:49: {BAD_JSON}"),
    "between.jsonl": (LINE.strip() + b",\n" + LINE, f":1:49: {BAD_JSON}"),
    "quotes.jsonl": (b"{'instruction': 'a'}", f":1:2: {BAD_JSON}"),
    "pretty.jsonl": (json.dumps(ROW, indent=1).encode(), f":1:2: {BAD_JSON}"),
    "mac.jsonl": (LINE.strip() + b"\r" + LINE, f":1:50: {BAD_JSON}"),
    "comment.jsonl": (b"// rows\n" + LINE, f":1:1: {BAD_JSON}"),
    "tab.jsonl": (b'{"instruction": "a\tb"}', f":1:19: {BAD_JSON}"),
    "null.jsonl": (LINE + b"null\n", f":2: {BAD_ROW}"),
    "pointer.jsonl": (b"version https://git-lfs.github.com/spec/v1\noid", f":1:1: {DAMAGED}"),
    "open.json": (b"[" + LINE, f":2:1: {BAD_JSON}"),
    "bracket.json": (b"[", f":1:2: {BAD_JSON}"),
    "lists.json": (b"[[" + LINE + b"]]", f":1: {BAD_ROW}"),
    "string.json": (b'[{"instruction": "a]\n' + b"x" * 99, f":1:21: {BAD_JSON}"),
    "more.csv": (b"instruction,output\na,b,c\n", f":2: {TABLE_ERROR}"),
    "quote.csv": (b'instruction,output\n"a"x,b\n', f":2: {TABLE_ERROR}"),
    "mac.csv": (b"instruction,output\ra,b\r", f":1: {TABLE_ERROR}"),
    "semicolons.csv": (b"instruction;output\na;b\n", f":2: {BAD_ROW}"),
    "footer.parquet": (flipped(PARQUET, len(PARQUET) - 50), f": {DAMAGED}"),
    "length.parquet": (PARQUET[:-8] + b"\xff" * 4 + b"PAR1", f": {DAMAGED}"),
    "page.parquet": (flipped(PARQUET, 2000), f": {DAMAGED}"),
    "text.parquet": (LINE, f": {DAMAGED}"),
    "bytes.parquet": (written(lambda s: pa.parquet.write_table(NO_TEXT, s)), f": {DAMAGED}"),
    "half.arrow": (FILE[: len(FILE) // 2], f": {DAMAGED}"),
    "offsets.arrow": (flipped(FILE, 1000, 500), f": {DAMAGED}"),
    "footer.arrow": (flipped(FILE, len(FILE) - 200, 100), f": {DAMAGED}"),
    "half-stream.arrow": (STREAM[: len(STREAM) // 2], f": {DAMAGED}"),
    "schema-stream.arrow": (flipped(STREAM, 100), f": {DAMAGED}"),
    "text.bin": (b'{"tokens": [1, "2"]}\n', f":1: {BAD_ROW}"),
    "float.bin": (b'{"tokens": [1, 2.5]}\n', f":1: {BAD_ROW}"),
    "bytes.bin": (bytes(range(1, 256)), f":1:1: {BAD_JSON}"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTC_CACHE", str(tmp_path / "cache"))

    def hangs(*_):
        raise AssertionError("it hangs")

    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(30)
    yield
    signal.alarm(0)


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def run(name: str, tokenizer) -> cache.Tokens:
    format = "pretokenized" if name.endswith(".bin") else "alpaca"
    settings = Settings(96, "assistant", "drop")
    return cache.tokens(data.Source(file=name, format=format), tokenizer, settings)


def compiled(name: str, format: str = "alpaca") -> str:
    """What the compiler says of the file; "" if nothing."""
    format = "pretokenized" if name.endswith(".bin") else format
    source = {"source": name, "format": format}
    Path("spec.toml").write_text(toml(merged(BASE, {"data": {"train": [source]}})))
    try:
        compile_file(Path("spec.toml"), Path("out"))
        return ""
    except CompileError as error:
        return "\n".join(map(str, error.diagnostics))


def same_fault(run: str, check: str, name: str) -> bool:
    """Whether `ftc check` says of a file what the run says, as far as the compiler looks into it."""
    if name.endswith((".zst", ".arrow", ".parquet")):  # a footer at most
        return check == "" or "error[damaged-file]" in check
    if "missing-column" in check:  # of the format that the spec names
        return "it is missing" in run
    return check.partition("error[")[2].startswith(run.partition("error[")[2].splitlines()[0])


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_told_in_a_sentence(name, tokenizer):
    content, expected = BROKEN[name]
    Path(name).write_bytes(content)
    with pytest.raises(RunError) as error:
        run(name, tokenizer)
    assert str(error.value).startswith(name + expected), str(error.value)
    assert same_fault(str(error.value), compiled(name), name)


def folder_of_that_name(name: str) -> None:
    Path(name).mkdir()


PLACES = {
    "folder": folder_of_that_name,
    "pipe": os.mkfifo,
    "dangling": lambda name: Path(name).symlink_to("nothing"),
    "circle": lambda name: Path(name).symlink_to(name),
}


@pytest.mark.parametrize("kind", PLACES)
def test_what_is_no_file_is_told(kind, tokenizer):
    PLACES[kind]("rows.jsonl")
    with pytest.raises(RunError, match=r"^rows.jsonl: error\[missing-file\]"):
        run("rows.jsonl", tokenizer)
    said = compiled("rows.jsonl")
    assert "missing-file" in said and "did you mean" not in said


def test_a_file_that_may_not_be_read_is_told(tokenizer, monkeypatch):
    Path("rows.jsonl").write_bytes(LINE)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read anything
    with pytest.raises(RunError, match=r"^rows.jsonl: error\[missing-file\].*may not be read"):
        run("rows.jsonl", tokenizer)


def test_a_file_that_changes_while_it_is_read_makes_no_entry(tokenizer, monkeypatch):
    Path("rows.jsonl").write_bytes(LINE * 3)
    real = tokenizing.tokenize

    def meanwhile(*arguments):
        with Path("rows.jsonl").open("ab") as file:
            file.write(LINE)
        return real(*arguments)

    monkeypatch.setattr(tokenizing, "tokenize", meanwhile)
    with pytest.raises(RunError, match=r"^rows.jsonl: error\[changed-file\]"):
        run("rows.jsonl", tokenizer)
    assert not list(Path("cache/tokens").glob("*/entry.json"))
    monkeypatch.setattr(tokenizing, "tokenize", real)
    assert run("rows.jsonl", tokenizer).ledger.rows == 4


def test_characters_that_end_lines_elsewhere_stay_inside_of_texts():
    texts = ["a\r\nb", "a\u2028b\x85c\x0bd", "\ufeffa", "nul \x00 in it"]
    rows = [{"text": text} for text in texts]
    lines = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    Path("rows.jsonl").write_bytes(lines.encode())
    Path("rows.json").write_bytes(json.dumps(rows, ensure_ascii=False).encode())
    pa.parquet.write_table(pa.Table.from_pylist(rows), "rows.parquet")
    for name in ("rows.jsonl", "rows.json", "rows.parquet"):
        source = data.Source(file=name, format="pretrain")
        assert [text for _, text in read(source)] == texts


def chat(**answer) -> dict:
    answer = {"role": "assistant", "content": "b", **answer}
    return {"messages": [{"role": "user", "content": "a"}, answer]}


def tool(**more) -> dict:
    return {"type": "function", "function": {"name": "f", "parameters": {}, **more}}


HALF = "\ud83d"
HALVES = {
    "thoughts": chat(reasoning_content=HALF),
    "arguments": chat(tool_calls=[{"function": {"name": "f", "arguments": {"x": [HALF]}}}]),
    "a key": chat(tool_calls=[{"function": {"name": "f", "arguments": {HALF: 1}}}]),
    "JSON in a text": chat(
        tool_calls=[{"function": {"name": "f", "arguments": json.dumps({"x": HALF})}}]
    ),
    "a name": chat(tool_calls=[{"function": {"name": HALF, "arguments": {}}}]),
    "a tool": {**chat(), "tools": [tool(description=HALF)]},
    "a variable": {**chat(), "chat_template_kwargs": {"x": HALF}},
    "an unread one": {**chat(), "note": HALF},
}


@pytest.mark.parametrize("place", HALVES)
def test_half_a_character_is_refused_wherever_a_format_reads_it(place):
    Path("rows.jsonl").write_text(json.dumps(chat()) + "\n" + json.dumps(HALVES[place]) + "\n")
    said, source = compiled("rows.jsonl", "messages"), data.Source(file="rows.jsonl")
    if place == "an unread one":
        assert not said and len(list(read(source))) == 2
        return
    assert "rows.jsonl:2:1: error[bad-row]: half a character: \\ud83d" in said
    with pytest.raises(RunError, match=r"^rows.jsonl:2: error\[bad-row\]: half a character"):
        list(read(source))


def test_a_list_is_looked_at_up_to_a_whole_character(monkeypatch):
    """The head of a large one may end inside of a character, and is not to hide what is wrong before."""
    from ftc.compiler.facts import data as facts

    rows = json.dumps([{"text": "é好🙂" * 9}] * 90, ensure_ascii=False).encode()
    monkeypatch.setattr(facts, "COPY_LIMIT", 1000)
    for name in ("rows.json", "rows.json.gz"):
        Path(name).write_bytes(gzip.compress(rows) if name.endswith(".gz") else rows)
        for head in range(500, 510):
            monkeypatch.setattr(facts, "HEAD", head)
            assert compiled(name, "auto") == ""
    Path("rows.json").write_bytes(rows[:300] + b"\xff" + rows[300:])
    assert "rows.json:1:" in compiled("rows.json", "auto")
    assert "error[bad-encoding]" in compiled("rows.json", "auto")


BEHIND = {
    "rows.jsonl": LINE * 2 + b"{\n",
    "rows.json": b"[" + LINE + b"," + LINE + b",{]",
    "rows.csv": b"instruction,output\na,b\nc,d\ne\n",
    "*.jsonl": b"",
}


@pytest.mark.parametrize("name", BEHIND)
def test_what_is_behind_max_samples_is_not_read(name):
    if name == "*.jsonl":
        Path("a.jsonl").write_bytes(LINE * 2)
        Path("b.jsonl").write_bytes(b"7\n")
    else:
        Path(name).write_bytes(BEHIND[name])
    train = {"source": name, "format": "auto", "max_samples": 2}
    Path("spec.toml").write_text(toml(merged(BASE, {"data": {"train": [train]}})))
    compile_file(Path("spec.toml"), Path("out"))
    Path("spec.toml").write_text(
        toml(merged(BASE, {"data": {"train": [{**train, "max_samples": 3}]}}))
    )
    with pytest.raises(CompileError):
        compile_file(Path("spec.toml"), Path("out"))


def test_a_row_without_the_columns_of_the_first_tells_no_format():
    for first in ({"text": "one"}, {"text": "### Human: a### Assistant: b"}):
        Path("t.jsonl").write_text(json.dumps(first) + '\n{"txt": "two"}\n')
        assert "t.jsonl:2:1: error[bad-row]" in compiled("t.jsonl", "auto")
