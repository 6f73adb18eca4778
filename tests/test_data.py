"""Rows out of files, their ledger, the token cache, weights and order: nothing is lost in silence."""

import csv
import gzip
import json
import multiprocessing
import os
import random
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from ftc.runtime import cache, data, ledger, packing, reading, sample_set, tokenizing, tokens, words
from ftc.runtime.errors import RunError
from ftc.runtime.rows import Conversation
from ftc.runtime.tokenizing import Settings

from . import tiny

SETTINGS = Settings(96, "assistant", "drop")


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTC_CACHE", str(tmp_path / "cache"))
    return tmp_path


def contents(file: str, **more) -> list:
    return [content for _, content in reading.read(data.Source(file=file, **more))]


# -- Files

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
    found = list(reading.read(data.Source(file=f"t.{suffix}", format="alpaca")))
    assert [place for place, _ in found] == [f"t.{suffix}:2", f"t.{suffix}:4"]
    texts = [[message["content"] for message in content.messages] for _, content in found]
    assert texts == [list(row) for row in rows[1:]]


def test_a_row_larger_than_a_chunk_and_a_character_across_two():
    rows = [{"text": "ü" * 1_500_001}, {"text": "b"}]
    Path("a.json").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    assert contents("a.json", format="pretrain") == [row["text"] for row in rows]


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
    "half.jsonl": (b'{"text": "\\ud83d"}', ":1: error[bad-json]"),
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
    "half.json": (b'[{"text": "\\uD83D!"}]', ":1: error[bad-json]"),
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
    assert "\n  hint: " in str(error.value) or "bad-row" in expected or "empty" in expected


# -- The ledger


def write_lines(name: str, rows: list) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def talk(answer: str, question: str = "the model") -> dict:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns}


def test_every_fate_of_a_row_is_counted(tokenizer, capsys):
    long = talk("the model reads " * 80)
    write_lines("a.jsonl", [talk("a spec"), talk("a spec"), long, talk("a run"), long])
    write_lines("b.jsonl", [talk("a run")])
    sources = [data.Source(file="a.jsonl"), data.Source(file="b.jsonl")]
    samples = data.load(sources, tokenizer, 96, "assistant", "drop", "logs/data.json")
    a, b = json.loads(Path("logs/data.json").read_text())
    assert a["rows"] == 5 and a["samples"] == 3 and b["samples"] == 1 and len(samples) == 4
    assert a["dropped"] == {
        "longer than 96 tokens": {"rows": 2, "first": ["a.jsonl:3", "a.jsonl:5"]}
    }
    assert a["duplicates"] == 1 and b["duplicates"] == 1, "across sources, too"
    assert a["tokens"] + b["tokens"] == sum(len(sample.ids) for sample in samples)
    assert a["supervised_tokens"] == sum(data.num_supervised(s) for s in samples[:3])
    assert a["longest"] == max(len(sample.ids) for sample in samples[:3])
    assert "2 dropped, longer than 96 tokens: a.jsonl:3, a.jsonl:5" in capsys.readouterr().out

    data.load(sources, tokenizer, 96, "assistant", "truncate", "logs/data.json")
    (a, _) = json.loads(Path("logs/data.json").read_text())
    assert a["truncated"] == {"rows": 2, "first": ["a.jsonl:3", "a.jsonl:5"]}
    assert a["without_end"] == a["truncated"], "a cut answer has lost its end token"

    with pytest.raises(RunError, match=r"a.jsonl: error\[too-many-dropped\]: 2 of 5 rows"):
        data.load(
            sources, tokenizer, 96, "assistant", "drop", "logs/d.json", max_dropped_fraction=0.3
        )
    with pytest.raises(RunError, match=r"error\[too-many-truncated\]"):
        data.load(
            sources, tokenizer, 96, "assistant", "truncate", "d.json", max_truncated_fraction=0.3
        )
    with pytest.raises(RunError, match=r"error\[no-samples\]"):
        data.load(sources, tokenizer, 8, "assistant", "drop", "logs/d.json")


def test_rows_of_the_training_data_validate_nothing(tokenizer, capsys):
    def load(*names: str, **more) -> sample_set.Samples:
        sources = [data.Source(file=name) for name in names]
        return data.load(sources, tokenizer, 96, "assistant", "drop", "logs/v.json", **more)

    write_lines("train.jsonl", [talk("a spec"), talk("a run")])
    write_lines("v.jsonl", [talk("a spec"), talk("a file"), talk("a run"), talk("a file, too")])
    write_lines("w.jsonl", [talk("a run"), talk("a log")])
    train = load("train.jsonl")
    capsys.readouterr()
    held_out = load("v.jsonl", "w.jsonl", apart_from=train)
    assert [sample.row for sample in held_out] == ["v.jsonl:2", "v.jsonl:4", "w.jsonl:2"]
    assert "2 dropped, also in the training data: v.jsonl:1, v.jsonl:3" in capsys.readouterr().out
    v, w = json.loads(Path("logs/v.json").read_text())
    reason = "also in the training data"
    assert (v["rows"], v["samples"], v["dropped"][reason]["rows"]) == (4, 2, 2)
    assert w["dropped"][reason] == {"rows": 1, "first": ["w.jsonl:1"]} and w["samples"] == 1
    assert v["tokens"] + w["tokens"] == held_out.lengths.sum()
    assert v["supervised_tokens"] == sum(map(data.num_supervised, held_out[:2]))
    assert v["longest"] == held_out.lengths[:2].max()
    with pytest.raises(RunError, match=r"error\[no-samples\](.|\n)*are not trained on"):
        load("train.jsonl", apart_from=train)


def test_a_control_token_in_a_text_is_counted_and_is_what_a_server_makes_of_it(tokenizer, capsys):
    write_lines("a.jsonl", [talk("a spec"), talk("<|im_end|>\n"), talk("a", "<|im_start|>system")])
    (_, one, two) = data.load(
        [data.Source(file="a.jsonl")], tokenizer, 96, "assistant", "drop", "logs/data.json"
    )
    (found,) = json.loads(Path("logs/data.json").read_text())
    assert found["control"] == {"rows": 2, "first": ["a.jsonl:2", "a.jsonl:3"]}
    assert "2 with a control token in a text: a.jsonl:2" in capsys.readouterr().out
    for sample, row in ((one, talk("<|im_end|>\n")), (two, talk("a", "<|im_start|>system"))):
        served = tokenizer.apply_chat_template(row["messages"], return_dict=False)
        assert sample.ids.tolist() == served


def test_counts_add_up_over_chunks():
    one, two = ledger.Ledger("a", rows=3, samples=2, longest=5), ledger.Ledger("a", 2, 1, longest=4)
    one.drop("why", "a:1")
    two.drop("why", "a:4")
    one.add(two)
    assert (one.rows, one.samples, one.num_dropped, one.longest) == (5, 3, 2, 5)
    assert ledger.Ledger.from_json(json.loads(json.dumps(one.to_json()))) == one


# -- The cache


def test_processes_change_nothing(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizing, "CHUNK", 7)
    write_lines("a.jsonl", tiny.rows(60))
    source = data.Source(file="a.jsonl")

    def all_of(processors: int) -> tuple[pa.Table, ledger.Ledger]:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(processors))
        total = ledger.Ledger("a.jsonl")
        batches = []
        for batch, counts in tokenizing.tokenized(source, tokenizer, SETTINGS):
            batches.append(batch)
            total.add(counts)
        return pa.Table.from_batches(batches), total

    assert all_of(1) == all_of(3)
    write_lines("a.jsonl", [*tiny.rows(60), {"messages": 3}])
    with pytest.raises(RunError, match=r"a.jsonl:61: error\[bad-row\]"):
        all_of(3)


def test_tokens_come_from_the_cache_until_anything_changes(tokenizer, capsys):
    write_lines("a.jsonl", tiny.rows(9))

    def load() -> list[tokens.Sample]:
        found = data.load([data.Source(file="a.jsonl")], tokenizer, 96, "assistant", "drop", "l")
        return [tokens.Sample(s.ids.copy(), s.loss.copy(), s.row) for s in found]

    first, ledger_file = load(), Path("l").read_text()
    assert "tokenized in" in capsys.readouterr().out
    second = load()
    assert "a.jsonl: tokens from cache" in capsys.readouterr().out
    assert Path("l").read_text() == ledger_file
    for one, other in zip(first, second, strict=True):
        assert (one.ids == other.ids).all() and (one.loss == other.loss).all()
        assert one.row == other.row

    Path("b.jsonl").write_bytes(Path("a.jsonl").read_bytes())
    moved = data.load([data.Source(file="b.jsonl")], tokenizer, 96, "assistant", "drop", "l")
    assert "b.jsonl: tokens from cache" in capsys.readouterr().out
    assert [s.row for s in moved] == [s.row.replace("a.", "b.") for s in first]

    (entry,) = Path("cache/tokens").glob("*/tokens.arrow")
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)
    third = load()
    assert "as the cache was damaged" in capsys.readouterr().out
    assert all((a.ids == b.ids).all() for a, b in zip(first, third, strict=True))
    (entry.parent / "entry.json").write_text("{")
    load()
    assert "as the cache was damaged" in capsys.readouterr().out


def test_the_key_knows_all_that_tokens_depend_on(tiny_model, monkeypatch):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    write_lines("a.jsonl", tiny.rows(3))
    source = data.Source(file="a.jsonl")
    keys = [cache.key(source, tokenizer, SETTINGS)]
    assert cache.key(source, tokenizer, SETTINGS) == keys[0]
    assert cache.key(data.Source(file="a.jsonl", weight=2.0), tokenizer, SETTINGS) == keys[0]
    for changed in (
        Settings(97, "assistant", "drop"),
        Settings(96, "all", "drop"),
        Settings(96, "assistant", "truncate"),
    ):
        keys.append(cache.key(source, tokenizer, changed))
    keys.append(cache.key(data.Source(file="a.jsonl", max_samples=2), tokenizer, SETTINGS))
    tokenizer.chat_template += " "
    keys.append(cache.key(source, tokenizer, SETTINGS))
    tokenizer.add_tokens(["<new>"])
    keys.append(cache.key(source, tokenizer, SETTINGS))
    monkeypatch.setattr(cache, "version", lambda package: "0")
    keys.append(cache.key(source, tokenizer, SETTINGS))
    monkeypatch.setattr(cache, "MODULES", cache.MODULES[:-1])
    keys.append(cache.key(source, tokenizer, SETTINGS))
    text = Path("a.jsonl").read_text()
    Path("a.jsonl").write_text(text[:-3] + " " + text[-3:])
    keys.append(cache.key(source, tokenizer, SETTINGS))
    assert len(set(keys)) == len(keys)


def build_in_a_process(model: str, barrier, queue) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    barrier.wait()
    queue.put(cache.tokens(data.Source(file="a.jsonl"), tokenizer, SETTINGS).said)


def test_two_processes_build_once(tiny_model):
    write_lines("a.jsonl", tiny.rows(300))
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(2), context.Queue()
    work = [
        context.Process(target=build_in_a_process, args=(str(tiny_model), barrier, queue))
        for _ in range(2)
    ]
    for process in work:
        process.start()
    said = sorted(queue.get(timeout=60) for _ in work)
    for process in work:
        process.join()
    assert said[0].startswith("tokenized in") and said[1] == "tokens from cache"
    assert not list(Path("cache/tokens").glob(".making-*"))


def test_a_cache_that_cannot_be_written(tokenizer, monkeypatch):
    write_lines("a.jsonl", tiny.rows(3))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_build", full)
    with pytest.raises(RunError, match=r"error\[no-cache\].*No space left"):
        cache.tokens(data.Source(file="a.jsonl"), tokenizer, SETTINGS)


# -- Words


def test_words_give_the_tokenizers_own_ids_and_masks(tokenizer, monkeypatch):
    """Whatever stands in a text; and where words can't tell, the tokenizer is asked."""
    known = words.words(tokenizer)
    assert known is not None
    chance = random.Random(0)
    alphabet = [
        *"aZ19 .,'!_-\n\t\r",
        "  ",
        " x",
        "'ll",
        "é",
        "你",
        "🙂",
        "\x1c",
        "<|im_end|>",
        "\u0378",
    ]
    texts = ["".join(chance.choices(alphabet, k=chance.randint(0, 40))) for _ in range(2000)]
    theirs = tokenizer(texts, add_special_tokens=False)["input_ids"]
    ours = [known.encode(text) for text in texts]
    told = [
        np.frombuffer(found, np.int32).tolist() == ids
        for found, ids in zip(ours, theirs, strict=True)
        if found is not None
    ]
    assert all(told) and len(told) > 1000

    talks = [Conversation(talk(text, other)["messages"]) for text, other in pairwise(texts[:400])]
    monkeypatch.setattr(known, "simple", False)
    monkeypatch.setattr(
        known, "same", known.same - {"é"}
    )  # as if the tables were of other versions
    assert known.encode("é") is None
    quick = tokens.chat_samples(tokenizer, talks, [""] * len(talks), "assistant")
    monkeypatch.setattr(tokens, "words", lambda tokenizer: None)
    slow = tokens.chat_samples(tokenizer, talks, [""] * len(talks), "assistant")
    for one, other in zip(quick, slow, strict=True):
        assert one.ids.tolist() == other.ids.tolist() and one.loss.tolist() == other.loss.tolist()


LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def test_words_of_a_tokenizer_with_a_pattern_of_its_own(tiny_model):
    from tokenizers import Regex, pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    backend = tokenizer.backend_tokenizer
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    known = words.words(tokenizer)
    chance = random.Random(1)
    alphabet = [*"abSTLz129 .,'(!_-\n\t\r", "  ", "'LL", "é", "你", "Ω"]
    for _ in range(2000):
        text = "".join(chance.choices(alphabet, k=chance.randint(1, 30)))
        found = known.encode(text)
        ids = backend.encode(text, add_special_tokens=False).ids
        assert np.frombuffer(found, np.int32).tolist() == ids, repr(text)
    assert known.cuts, "at spaces, for speed"


@pytest.mark.parametrize("change", ["prefix space", "normalizer", "strip"])
def test_a_tokenizer_that_is_no_plain_byte_level_bpe_is_left_alone(tiny_model, change):
    from tokenizers import AddedToken, normalizers, pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    if change == "prefix space":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    elif change == "normalizer":
        tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    else:
        tokenizer.add_tokens([AddedToken("<new>", lstrip=True)])
    assert words.words(tokenizer) is None


# -- Weights, sequences and order


def numbered(counts: list[int]) -> sample_set.Samples:
    """Samples of several sources; the first token tells the source, the second the number."""
    tables = []
    for source, count in enumerate(counts):
        samples = [
            tokens.Sample(
                np.array([source, n, *range(n % 5)], np.int32), np.ones(n % 5 + 2, bool), ""
            )
            for n in range(count)
        ]
        made = tokenizing.batch(samples, ledger.Ledger(""))
        tables.append(pa.Table.from_batches([made]))
    return sample_set.Samples.of(tables)


def test_weights_are_exact():
    samples = numbered([10, 7, 8])
    sources = [data.Source(file="x", weight=weight) for weight in (1.0, 0.5, 2.25)]
    epoch = data.weigh(samples, sources, seed=3)
    seen = [tuple(sample.ids[:2]) for sample in epoch]
    assert [sum(s == n for s, _ in seen) for n in range(3)] == [10, 4, 18]
    times = [seen.count((2, n)) for n in range(8)]
    assert sorted(times) == [2] * 6 + [3] * 2, "each twice, and a quarter of them once more"
    again = [tuple(sample.ids[:2]) for sample in data.weigh(samples, sources, seed=3)]
    assert again == seen
    assert [tuple(s.ids[:2]) for s in data.weigh(samples, sources, seed=4)] != seen


def test_samples_are_views_in_their_order():
    samples = numbered([3, 1200])
    assert len(samples) == 1203 and samples.source.tolist() == [0] * 3 + [1] * 1200
    assert [s.ids[1] for s in samples.take(np.array([1100, 0, 0]))] == [1097, 0, 0]
    assert samples[-1].ids[1] == 1199 and [s.ids[1] for s in samples[:2]] == [0, 1]
    assert samples.lengths.tolist() == [len(sample.ids) for sample in samples]


def test_grouping_by_length_keeps_each_sample_once_and_lengths_together():
    chance = np.random.default_rng(0)
    made = [
        tokens.Sample(np.arange(n, dtype=np.int32), np.ones(n, bool), "")
        for n in chance.integers(2, 400, 1001)
    ]
    samples = sample_set.in_memory(made)
    sequences = data.one_by_one(samples)
    orders = {}
    for grouped in (False, True):
        stream = data.Stream(samples, sequences, 1, 0, 1, 2, 4, group_by_length=grouped)
        lengths = [len(stream.sequence(cursor)[0].ids) for cursor in range(2002)]
        assert sorted(lengths[:1001]) == sorted(lengths[1001:]) == sorted(samples.lengths.tolist())
        assert lengths[:1001] != lengths[1001:], "each epoch has an order of its own"
        orders[grouped] = lengths[:1000]
    spread = {g: np.ptp(np.reshape(o, (-1, 8)), axis=1).mean() for g, o in orders.items()}
    assert spread[True] < spread[False] / 10
    first = np.reshape(orders[True], (-1, 8))[:, 0]
    assert (np.diff(first) > 0).any() and (np.diff(first) < 0).any(), "batches are in no order"


def test_a_million_samples_are_packed_and_ordered_quickly():
    import time

    lengths = np.clip(np.random.default_rng(0).lognormal(5, 0.9, 1_000_000).astype(int), 1, 2048)
    begun = time.perf_counter()
    sequences = packing.pack(lengths, 2048)
    assert time.perf_counter() - begun < 20
    assert lengths.sum() / (2048 * len(sequences)) > 0.99
    assert np.add.reduceat(lengths[sequences.members], sequences.bounds[:-1]).max() <= 2048
    assert (np.sort(sequences.members) == np.arange(1_000_000)).all()


@pytest.mark.parametrize("capacity", [512, 1024, 2048, 4096])
def test_as_few_sequences_as_can_be_or_one_more(capacity):
    """Lengths like those of a thousand alpaca rows; bench/README.md has the real ones."""
    for seed in range(20):
        lengths = np.random.default_rng(seed).lognormal(4.9, 0.8, 999).astype(int).clip(8, 512)
        fewest = -(-lengths.sum() // capacity)
        assert fewest <= len(packing.pack(lengths, capacity)) <= fewest + 1 + fewest // 200


# -- ftc check --data


def test_check_data_counts_what_the_run_will_read(tiny_model, folder, monkeypatch):
    from .conftest import SPEC, changed, environ

    monkeypatch.chdir(folder)
    Path("tiny").symlink_to(tiny_model)
    tiny.write_rows(Path("rows.jsonl"))
    spec = changed(SPEC, **{"data.max_dropped_fraction": "0.0", "data.validation_fraction": "0.1"})
    Path("s.toml").write_text(
        spec.replace('format = "messages"', 'format = "messages"\nweight = 2.5')
    )

    def check(*more: str) -> subprocess.CompletedProcess:
        command = ["ftc", "check", "--data", "s.toml", *more]
        return subprocess.run(command, env=environ(), capture_output=True, text=True, check=False)

    fine = check()
    assert fine.returncode == 0, fine.stderr
    assert "data/rows.jsonl: tokenized in" in fine.stdout
    held_out = int(re.search(r"(\d+) samples are held out", fine.stdout)[1])
    assert f"{round(2.5 * (40 - held_out))} samples in " in fine.stdout, "2.5 times what is left"
    assert "data/rows.jsonl: tokens from cache" in check().stdout
    assert {path.name for path in Path().iterdir()} == {"tiny", "rows.jsonl", "s.toml", "cache"}

    refused = check("--set", "model.max_seq_length=40")
    assert refused.returncode == 2
    assert "data/rows.jsonl: error[too-many-dropped]: " in refused.stderr
    Path("rows.jsonl").write_text('{"messages": [{"role": "user", "content": "x"}, {}]}\n')
    broken = check("--format", "json")
    assert broken.returncode == 2 and "data/rows.jsonl:1: error[bad-row]" in broken.stderr
    assert "Traceback" not in broken.stderr and json.loads(broken.stdout) == []
