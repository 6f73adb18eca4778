"""The token cache: whose tokens they are, and that they are made once."""

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet
import pytest
from ftc.runtime import data
from ftc.runtime.data import cache, ledger, tokenizing, tokens
from ftc.runtime.data.tokenizing import Settings
from ftc.runtime.errors import RunError
from ftc.runtime.process import lock
from ftc.runtime.train import launch

from . import tiny
from .tiny import write_lines

pytestmark = pytest.mark.usefixtures("work")
SETTINGS = Settings(96, "assistant", "drop")


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


def test_processes_end_with_their_parent(tokenizer, monkeypatch):
    """Killed with -9 while it has rows tokenized, a rank leaves nobody behind."""
    monkeypatch.setattr(tokenizing, "CHUNK", 7)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(2))
    write_lines("a.jsonl", tiny.rows(60))
    parent = os.fork()
    if parent == 0:
        at_work = tokenizing.tokenized(data.Source(file="a.jsonl"), tokenizer, SETTINGS)
        next(iter(at_work))
        pids = " ".join(str(process.pid) for process in psutil.Process().children())
        Path("workers").write_text(pids)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    workers = [int(pid) for pid in Path("workers").read_text().split()]
    deadline = time.monotonic() + 20
    while any(map(psutil.pid_exists, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [pid for pid in workers if psutil.pid_exists(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert len(workers) == 2 and not left


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
    monkeypatch.setattr(cache, "_code", lambda source: {})
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


def test_the_key_knows_all_code_that_tokens_depend_on(tmp_path):
    """A format of the user's hides no module of the same name."""
    own = tmp_path / "rows.py"
    own.write_text("def f(row): return row")
    code = cache._code(data.Source(file="a.jsonl", format=f"{own}:f"))
    assert code["rows/__init__.py"] != code["own"] == lock.sha256(own)
    assert {"data/words.py", "data/__init__.py", "formats/__init__.py"} <= code.keys()


def test_a_file_system_without_locks(tokenizer, monkeypatch, capsys):
    """As an NFS mount whose server runs no lock daemon: said where it matters, an error where it would harm."""
    write_lines("a.jsonl", tiny.rows(3))

    def refuse(code):
        def flock(*_):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(fcntl, "flock", flock)

    refuse(errno.ENOLCK)
    with pytest.raises(
        RunError, match=r"error\[no-locks\].*No locks available.*\n  hint: .*FTC_CACHE"
    ):
        cache.tokens(data.Source(file="a.jsonl"), tokenizer, SETTINGS)
    launch._alone()
    assert "No locks available (.running): a second start" in capsys.readouterr().out
    refuse(errno.EACCES)  # how some say that another process holds it
    monkeypatch.setattr(launch.time, "sleep", lambda seconds: None)
    with pytest.raises(RunError, match="already-running"):
        launch._alone()


def test_no_clock_decides_whose_tokens_they_are(tokenizer):
    write_lines("a.jsonl", tiny.rows(3))
    source = data.Source(file="a.jsonl")
    cache.tokens(source, tokenizer, SETTINGS)
    for seconds in (0, 2**33):  # 1970, 2242
        for path in (Path("a.jsonl"), *Path("cache/tokens").rglob("*")):
            os.utime(path, (seconds, seconds))
        assert cache.tokens(source, tokenizer, SETTINGS).said == "tokens from cache"
    write_lines("a.jsonl", tiny.rows(3, seed=1))
    os.utime("a.jsonl", (0, 0))  # older than its tokens, and other rows
    assert cache.tokens(source, tokenizer, SETTINGS).said.startswith("tokenized in")
