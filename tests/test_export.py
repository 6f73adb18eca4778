"""`ftc data export` and `ftc data arxiv`: rows in, rows out, whole or not at all."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from ftc.compiler.cli import main
from ftc.compiler.cli.installing import install
from ftc.runtime.formats import FORMATS
from ftc.runtime.rows import Conversation, Dropped
from ftc.runtime.tools.export_data import standard

from .specs import BASE, merged, toml

HERE = Path(__file__).parent
CASES = [json.loads(line) for line in (HERE / "format_cases.jsonl").read_text("utf-8").splitlines()]
KINDS = {
    "messages": "messages",
    "text": "pretrain",
    "tokens": "pretokenized",
    "chosen": "preference",
}


def ftc(*arguments: str, code: int = 0) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "ftc.compiler.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def spec(*sources: dict) -> None:
    Path("spec.toml").write_text(toml(merged(BASE, {"data": {"train": list(sources)}})))


def rows(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", [case for case in CASES if "error" not in case])
def test_what_is_exported_is_read_as_the_same(case):
    try:
        content = FORMATS[case["format"]](case["row"])
    except Dropped:
        return
    row = json.loads(json.dumps(standard(content)))
    (kind,) = {KINDS[key] for key in row if key in KINDS}
    if isinstance(content, Conversation):  # what is left out is not in the file any more
        content = replace(content, unread=())
    assert FORMATS[kind](row) == content


def test_variables_of_the_template_are_exported():
    further = {"chat_template_kwargs": {"enable_thinking": False}}
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    pair = {"prompt": "Q", "chosen": "A", "rejected": "B"}
    for name, row in (("messages", {"messages": turns}), ("preference", pair)):
        content = FORMATS[name](row | further)
        assert FORMATS[name](json.loads(json.dumps(standard(content)))) == content
        assert standard(content)["chat_template_kwargs"] == further["chat_template_kwargs"]


def test_sources_become_one_file_of_messages():
    Path("a.json").write_text('[{"instruction": "Q", "input": "", "output": "A"}]')
    turns = (
        '[{"input": "Q", "output": "A", "output_with_loss": false}, {"input": "R", "output": "B"}]'
    )
    Path("b.jsonl").write_text(f'{{"conversation": {turns}}}\n{{"conversation": []}}\n')
    Path("own.py").write_text("def f(row):\n    return row['messages'] and row\n")
    message = {"role": "assistant", "content": "é 好"}
    Path("c.jsonl").write_text(json.dumps({"messages": [message], "tools": [{"name": "g"}]}) + "\n")
    spec({"source": "a.json"}, {"source": "b.jsonl"}, {"source": "c.jsonl", "format": "own.py:f"})
    said = ftc("data", "export", "spec.toml", "-o", "rows.jsonl").stdout
    ask, answer = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
    more = [{"role": "user", "content": "R"}, {"role": "assistant", "content": "B"}]
    assert rows("rows.jsonl") == [
        {"messages": [ask, answer]},
        {"messages": [ask, {**answer, "loss": False}, *more]},
        {"messages": [message], "tools": [{"type": "function", "function": {"name": "g"}}]},
    ]
    assert said.splitlines() == [
        "rows.jsonl: 3 of 4 rows",
        "  left out: 1 (an empty conversation)",
        'To train on it: source = "rows.jsonl", format = "messages"',
    ]
    ftc("data", "export", "spec.toml", "-o", "one.json", "--source", "1")
    assert json.loads(Path("one.json").read_text()) == [{"messages": [ask, answer]}]


def test_pairs_are_checked_and_exported():
    Path("pairs.jsonl").write_text('{"prompt": "Q", "chosen": "A", "rejected": "B"}\n')
    spec({"source": "pairs.jsonl"})
    ftc("data", "export", "spec.toml", "-o", "rows.jsonl")
    assert rows("rows.jsonl")[0]["rejected"][-1] == {"role": "assistant", "content": "B"}
    Path("pairs.jsonl").write_text('{"prompt": 3, "chosen": "A", "rejected": "B"}\n')
    done = ftc("data", "export", "spec.toml", "-o", "more.jsonl", code=2)
    assert done.stderr.startswith("pairs.jsonl:1:1: error[bad-row]")
    assert not Path("more.jsonl").exists() and not list(Path().glob(".*"))


def test_two_kinds_do_not_go_into_one_file():
    Path("a.jsonl").write_text('{"text": "Once"}\n')
    Path("b.jsonl").write_text('{"input": "Q", "output": "A"}\n')
    spec({"source": "a.jsonl"}, {"source": "b.jsonl"})
    done = ftc("data", "export", "spec.toml", "-o", "rows.jsonl", code=2)
    assert done.stderr.startswith("b.jsonl:1: error[mixed-kinds]") and "--source" in done.stderr
    assert not Path("rows.jsonl").exists()


def heed_interrupts():
    """A shell lets its background jobs ignore them, and so those that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_export_leaves_nothing_and_can_be_repeated():
    slow = "import time\ndef f(row):\n    time.sleep(row['n'])\n    return 'text'\n"
    Path("own.py").write_text(slow)
    Path("rows.jsonl").write_text('{"n": 0}\n{"n": 60}\n')
    spec({"source": "rows.jsonl", "format": "own.py:f"})
    command = [
        sys.executable,
        "-m",
        "ftc.compiler.cli",
        "data",
        "export",
        "spec.toml",
        "-o",
        "out.jsonl",
    ]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    ) as run:
        for _ in range(200):
            if list(Path().glob(".out.jsonl.*.partial")):
                break
            time.sleep(0.1)
        time.sleep(0.5)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
        _, said = run.communicate(timeout=120)
    assert run.returncode == 130 and "Traceback" not in said
    assert said.endswith("\nInterrupted. The same command starts again.\n")
    assert not list(Path().glob("*out.jsonl*")) and not list(Path().glob(".out*"))
    Path("rows.jsonl").write_text('{"n": 0}\n')
    ftc("data", "export", "spec.toml", "-o", "out.jsonl")
    assert rows("out.jsonl") == [{"text": "text"}]
    ftc("data", "export", "spec.toml", "-o", "out.jsonl", code=2)
    ftc("data", "export", "spec.toml", "-o", "out.jsonl", "--force")


def paper(number: int, categories: str, day: str) -> dict:
    texts = {"title": f"T{number}", "abstract": " A\n", "categories": categories}
    return {"id": str(number), "update_date": day, "authors": "x", **texts}


def test_papers_of_arxiv_are_chosen_by_category_and_day():
    papers = [
        paper(1, "cs.AI", "2020-01-01"),
        paper(2, "math.CO cs.CL", "2023-05-05"),
        paper(3, "cs.AI cs.CL", "2019-12-31"),
        paper(4, "cs.CLX math.CO", "2023-05-05"),
    ]
    Path("snapshot.json").write_text("".join(json.dumps(p) + "\n" for p in papers))
    arguments = ("data", "arxiv", "snapshot.json", "--categories", "cs.AI, cs.CL")
    said = ftc(*arguments, "--start-date", "2020-01-01", "-o", "papers.jsonl").stdout
    assert [row["id"] for row in rows("papers.jsonl")] == ["1", "2"] and "2 papers" in said
    assert FORMATS["arxiv"](rows("papers.jsonl")[0]).messages[1]["content"] == " A\n"
    ftc("data", "arxiv", "snapshot.json", "-o", "papers.json")
    assert [row["id"] for row in json.loads(Path("papers.json").read_text())] == ["1", "2"]
    Path("snapshot.json").write_text('{"id": 3}\n')
    done = ftc("data", "arxiv", "snapshot.json", "-o", "more.json", code=2)
    assert done.stderr.startswith("snapshot.json:1: error[bad-row]: no paper")
    assert "error[missing-file]" in ftc("data", "arxiv", "no", "-o", "x", code=2).stderr


def test_formats_are_listed():
    listed = ftc("data", "formats").stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(FORMATS)
    assert '"instruction"' in ftc("data", "formats", "alpaca").stdout
    assert "\n".join(listed) in (HERE.parent / "docs/formats.md").read_text("utf-8")


def test_without_the_runtime_s_packages_it_says_what_to_install(monkeypatch):
    Path("rows.jsonl").write_text('{"text": "Once"}\n')
    spec({"source": "rows.jsonl"})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["data", "export", "spec.toml", "-o", "out.jsonl"])
    assert (
        done.exit_code == 2 and "error[no-runtime]: reading rows needs numpy, tqdm" in done.stderr
    )
    assert f"hint: {install('train')}\n" in done.stderr


@pytest.mark.parametrize(
    "name",
    ["sharegpt", "conversation", "oasst1", "moss_sft", "msagent", "pretokenized", "pretrain"],
)
def test_the_export_has_the_same_tokens_and_loss(name, tiny_model):
    from ftc.runtime import data
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = (HERE.parent / "templates/chat/qwen2.5.jinja").read_text()
    read = [c["row"] for c in CASES if c["format"] == name and not {"error", "dropped"} & set(c)]
    read = [row for row in read or [FORMATS_ROW] if "Once upon" not in str(row)]  # a text
    Path("rows.json").write_text(json.dumps(read))
    spec({"source": "rows.json", "format": name})
    ftc("data", "export", "spec.toml", "-o", "out.jsonl")
    kind = KINDS[next(key for key in rows("out.jsonl")[0] if key in KINDS)]
    found = [
        data.load([source], tokenizer, 4096, "assistant", "error", "logs/data.json")
        for source in (
            data.Source(file="rows.json", format=name),
            data.Source(file="out.jsonl", format=kind),
        )
    ]
    assert len(found[0]) == len(found[1]) > 0
    for one, other in zip(*found, strict=True):
        assert one.ids.tolist() == other.ids.tolist() and one.loss.tolist() == other.loss.tolist()
        assert one.loss.any()


FORMATS_ROW = {
    "conversations": "[{'from': 'user', 'value': 'Q'}, {'from': 'assistant', 'value': 'A'}]"
}
