"""ftc preview: rows as the model will see them, in the terminal and as a page."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from ftc.runtime.tools import preview, preview_page, preview_samples

from .conftest import environ

ROWS = [
    {"role": "user", "content": "read <b>a</b> & 你好 🙂\n\x07"},
    {"role": "assistant", "content": "a run </ins><script>alert(1)</script>"},
    {"role": "user", "content": "and?"},
    {"role": "assistant", "content": "not learnt", "loss": False},
    {"role": "user", "content": "more"},
    {"role": "assistant", "content": "é steps"},
]


@pytest.fixture
def run(compiled, tmp_path):
    """Compiled, not trained: five rows are fine, one is too long, one has nothing to learn."""
    run = compiled(**{"model.max_seq_length": "160"})
    long = [{"role": "user", "content": "the model " * 200}, ROWS[1]]
    short = [{"role": "user", "content": "reads"}, {"role": "assistant", "content": "a spec"}]
    rows = [ROWS, long, [ROWS[0], ROWS[3]], short, short, short, short]
    text = "".join(json.dumps({"messages": row}) + "\n" for row in rows)
    (run.folder / "data/rows.jsonl").write_text(text)
    return run


@pytest.fixture
def found(run, monkeypatch):
    monkeypatch.chdir(run.folder)
    return preview_samples.preview(run.folder, 2)


def test_tokens_are_spelt_where_they_stand(found):
    sample, tokens = found.shown[0]
    assert "".join(token.text for token in tokens).count("你好 🙂\n\x07") == 1
    assert [number for token in tokens for number in token.ids] == sample.ids.tolist()
    learnt = "".join(token.text for token in tokens if token.learnt)
    assert learnt == ROWS[1]["content"] + "<|im_end|>é steps<|im_end|>"


def test_the_terminal_shows_it_without_colour(found):
    text = preview.as_text(found, colour=False)
    assert "⟦a run </ins><script>alert(1)</script><|im_end|>⟧⏎" in text
    assert "not learnt<|im_end|>⏎" in text and "\\u0007" in text
    assert "\x1b" not in text and "\x07" not in text
    assert "rows.jsonl:1: " in text and "rows.jsonl:4: " in text and "rows.jsonl:5: " not in text
    coloured = preview.as_text(found, colour=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text and "\x1b[32" in coloured


def test_it_counts_what_training_would(found):
    (ledger,) = found.ledger
    assert (ledger["rows"], ledger["samples"]) == (7, 5)
    assert {fate["first"][0][-1] for fate in ledger["dropped"].values()} == {"2", "3"}
    assert sum(count for _, _, count in found.lengths) == 5
    packed = [len(sample.ids) for sequence in found.sequences for sample in sequence]
    assert (
        len(packed) == 5
        and max(map(sum, [[len(s.ids) for s in q] for q in found.sequences])) <= 160
    )


class Page(HTMLParser):
    """What is text, what is learnt, and which tags there are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.learnt, self.inside = set(), "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.inside.append(tag)
        for name, value in attributes:
            assert name not in ("src", "href", "onload", "onclick"), (tag, value)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if "ins" in self.inside:
            self.learnt += data


def test_the_page_is_self_contained_and_shows_the_same(found):
    text = preview_page.page(found)
    page = Page(text)
    assert "script" not in page.tags and "link" not in page.tags and "http:" not in text
    assert "https:" not in text and "default-src 'none'" in text
    first = ROWS[1]["content"] + "<|im_end|>é steps<|im_end|>"
    assert page.learnt == first + "a spec<|im_end|>"
    assert "prefers-color-scheme: dark" in text
    for reason in found.ledger[0]["dropped"]:
        assert reason in text


@pytest.mark.executed
def test_the_command_compiles_and_shows(compiled, tmp_path):
    run = compiled()
    command = [sys.executable, "-m", "ftc.compiler.cli", "preview", "-n", "1"]
    for target in (tmp_path / "run.toml", run.folder):
        page = tmp_path / f"{target.stem}.html"
        done = subprocess.run(
            [*command, "--html", page.name, str(target)],
            cwd=tmp_path,
            env=environ(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "⟦" in done.stdout and page.read_text().startswith("<!doctype html>")
    assert not (run.folder / "logs").exists(), "a preview leaves nothing in the run"
    (run.folder / "data/rows.jsonl").write_text("not json\n")
    broken = subprocess.run(
        [*command, str(run.folder)], cwd=tmp_path, env=environ(), capture_output=True, text=True
    )
    assert broken.returncode == 2 and "rows.jsonl:1" in broken.stderr
    assert "Traceback" not in broken.stderr


def test_a_reader_that_stops_reading_gets_no_traceback(run):
    command = f"'{sys.executable}' -m ftc.runtime.tools.preview '{run.folder}' -n 5 | true"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environ(), check=False
    )
    assert "BrokenPipeError" not in done.stderr
