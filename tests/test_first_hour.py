"""What a new user meets first: ftc new for any id, how long the run is, hints that work as they stand."""

import json
import random
import re
import tomllib
from datetime import date
from pathlib import Path

import ftc as library
import pytest
from ftc.compiler import compile_document
from ftc.compiler.catalog.presets import chat_templates
from ftc.compiler.cli.installing import install
from ftc.compiler.document.load import parse
from ftc.compiler.facts.near_templates import FAMILIES, near_template
from ftc.compiler.pipeline.set_values import override
from ftc.compiler.plan.duration import duration
from ftc.compiler.rows import lengths

from .specs import BASE, ftc, merged, toml

WORDS = (
    "the",
    "model",
    "reads",
    "a",
    "spec",
    "and",
    "writes",
    "runs",
    "of",
    "steps",
    "tokens",
    "loss",
)


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """200 conversations of 30 to 300 tokens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    chance = random.Random(1)

    def text(least: int, most: int) -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(least, most)))

    turns = [[("user", text(5, 30)), ("assistant", text(20, 200))] for _ in range(200)]
    lines = [{"messages": [{"role": r, "content": t} for r, t in turn]} for turn in turns]
    Path("rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


@pytest.mark.parametrize(
    ("base", "template"),
    [
        ("unsloth/Llama-3.2-1B-Instruct-bnb-4bit", "llama3.1"),
        ("NousResearch/Meta-Llama-3-8B-Instruct", "llama3"),
        ("qwen/qwen3-0.6b", "qwen3"),
        ("Qwen/Qwen2.5-Math-7B-Instruct", "qwen2.5"),
        ("Qwen/Qwen-7B-Chat", "xtuner/qwen_chat"),
        ("mistralai/Mixtral-8x22B-v0.1", "mistral-v3"),
        ("internlm/internlm-chat-20b", "xtuner/internlm_chat"),
        ("internlm/internlm2_5-7b-chat", "internlm2"),
        ("ibm-granite/granite-3.3-2b-base", "granite3"),
        ("NousResearch/Hermes-3-Llama-3.1-8B", "chatml"),
        ("./models/Qwen2.5-7B-Instruct/", "qwen2.5"),
        *((name, None) for name in ("Qwen/Qwen3-VL-8B-Instruct", "google/gemma-4-12B-it")),
        *((name, None) for name in ("openlm-research/open_llama_3b", "EleutherAI/pythia-160m")),
        *(
            (name, "qwen3_thinking")
            for name in (
                "Qwen/Qwen3-30B-A3B-Thinking-2507",
                "unsloth/Qwen3-4B-Thinking-2507-bnb-4bit",
                "./models/qwen3_235b_a22b_thinking_2507-FP8",
                "unsloth/Qwen3-Next-80B-A3B-Thinking",
            )
        ),
        ("Qwen/Qwen3-VL-8B-Thinking", None),
        *((name, None) for name in ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "Qwen/QwQ-32B")),
    ],
)
def test_a_name_tells_a_template_or_none(base: str, template: str | None) -> None:
    found = near_template(base)
    assert (found.template if found else None) == template


def test_families_name_templates_that_are_shipped() -> None:
    assert {template for _, template in FAMILIES if template} <= set(chat_templates())


def test_new_writes_a_spec_for_any_id(rows: Path) -> None:
    said = ftc("new", "unsloth/Llama-3.2-1B-Instruct", "--data", "rows.jsonl", "-o", "a.toml")
    assert "about 5" in said.stdout and said.stderr == ""
    spec = tomllib.loads(Path("a.toml").read_text())
    assert spec["model"]["chat_template"] == "llama3.1" and spec["train"]["global_batch_size"] < 16
    assert "# revision" in Path("a.toml").read_text()  # not pinned: said in one line
    assert "few-steps" not in ftc("check", "a.toml").stderr

    said = ftc("new", "acme/own-7b", "--data", "rows.jsonl", "-o", "b.toml")
    assert "warning[no-chat-template]" in said.stderr
    text = Path("b.toml").read_text()
    assert "chat_template" not in tomllib.loads(text)["model"]
    assert "error[no-chat-template]" in ftc("check", "b.toml", exit_code=2).stderr
    Path("b.toml").write_text(text.replace('# chat_template = "', 'chat_template = "'))
    ftc("check", "b.toml")

    chosen = ("--chat-template", "zephyr", "--set", "train.max_steps=70", "--set", "method.rank=4")
    ftc("new", "acme/own-7b", "--data", "rows.jsonl", "-o", "c.toml", *chosen)
    spec = tomllib.loads(Path("c.toml").read_text())
    assert spec["model"]["chat_template"] == "zephyr" and spec["method"]["rank"] == 4
    assert spec["train"]["max_steps"] == 70 and "num_epochs" not in spec["train"]


@pytest.mark.parametrize("base", ["Qwen/Qwen3.5-9B", "Qwen/Qwen3-Next-80B-A3B-Instruct"])
def test_new_packs_no_rows_of_a_model_that_would_mix_them(rows: Path, base: str) -> None:
    ftc("new", base, "--data", "rows.jsonl", "-o", "a.toml")
    text = Path("a.toml").read_text()
    assert tomllib.loads(text)["data"]["packing"] is False
    ftc("check", "a.toml", "--set", "model.chat_template=chatml")
    packed = ("--data", "rows.jsonl", "-o", "b.toml", "--set", "data.packing=true")
    assert "error[conflict]" in ftc("new", base, *packed, exit_code=2).stderr


def test_new_names_only_what_it_cannot_choose_itself(rows: Path) -> None:
    """A chat template is no use for a model that can't be trained at all."""
    said = ftc("new", "Qwen/Qwen2.5-VL-7B-Instruct", "--data", "rows.jsonl", exit_code=2).stderr
    assert "error[not-causal]" in said and "1 error." in said and "template" not in said


def test_new_takes_the_commit_of_the_cache_and_paths_as_they_are_typed(rows: Path) -> None:
    commit = "c1899de289a04d12100db370d81485cdf75e47ca"
    head = rows / "hf/hub/models--Qwen--Qwen3-0.6B/refs/main"
    head.parent.mkdir(parents=True)
    head.write_text(commit)
    Path("specs").mkdir()
    ftc("new", "qwen3-0.6b", "--data", "rows.jsonl", "-o", "specs/a.toml")
    spec = tomllib.loads(Path("specs/a.toml").read_text())
    assert spec["model"]["revision"] == commit
    assert spec["data"]["train"][0]["source"] == "../rows.jsonl"
    assert ftc("check", "specs/a.toml").stderr == ""


def test_steps_and_tokens_are_about_right(rows: Path) -> None:
    """The tokenizer finds 31,468 tokens, and 32 sequences of 1,024."""
    spec = merged(BASE, {"train": {"num_epochs": 3}})
    compiled = compile_document(parse(toml(spec), str(rows / "spec.toml")))
    found = duration(compiled.plan, compiled.facts)
    assert found is not None
    assert 28_000 < found.tokens < 40_000 and 5 <= found.steps <= 8
    (warning,) = [w for w in compiled.warnings if w.code == "few-steps"]
    assert any(hint.startswith("set train.global_batch_size to 2") for hint in warning.hints)
    long = merged(spec, {"train": {"num_epochs": None, "max_steps": 3}})
    compiled = compile_document(parse(toml(long), str(rows / "spec.toml")))
    assert not compiled.warnings and "3 steps" in compiled.plan.summary.value


def test_a_way_out_of_few_steps_leads_out(rows: Path) -> None:
    """Where no key alone makes enough steps, two of them do."""
    lines = Path("rows.jsonl").read_text().splitlines(keepends=True)
    Path("few.jsonl").write_text("".join(lines[: len(lines) // 3]))
    spec = merged(BASE, {"data": {"train": [{"source": "few.jsonl", "format": "messages"}]}})
    document = parse(toml(spec), str(rows / "spec.toml"))
    (warning,) = compile_document(document).warnings
    assert warning.code == "few-steps"
    changes = re.findall(r"(\w+\.\w+) to (\d+)", warning.hints[0])
    settings = [f"{key}={value}" for key, value in changes]
    assert len(settings) == 2 and not compile_document(override(document, settings)).warnings


def test_a_large_file_is_measured_by_its_head(rows: Path) -> None:
    line = Path("rows.jsonl").read_text().splitlines()[0] + "\n"
    Path("large.jsonl").write_text(line * (12_000_000 // len(line)))
    spec = merged(BASE, {"data": {"train": [{"source": "large.jsonl", "format": "messages"}]}})
    compiled = compile_document(parse(toml(spec), str(rows / "spec.toml")))
    found = duration(compiled.plan, compiled.facts)
    assert found is not None and abs(found.rows / (12_000_000 / len(line)) - 1) < 0.01


def test_check_takes_several_specs(rows: Path) -> None:
    steps = {"train": {"max_steps": 100}}
    Path("a.toml").write_text(toml(merged(BASE, steps)))
    Path("b.toml").write_text(toml(merged(BASE, steps, {"name": "b"})))
    assert ftc("check", "a.toml", "b.toml").stdout.count(": fine.") == 2
    Path("b.toml").write_text("seed = 1\nsede = 2\n")
    said = ftc("check", "a.toml", "b.toml", exit_code=2)
    assert "a.toml: fine." in said.stdout and "b.toml:2:1: error[unknown-key]" in said.stderr


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("train", "bash launch.sh"),
        ("chat", "python chat.py"),
        ("convert", "bash convert.sh"),
        ("eval", "validation"),
        ("list", "ftc data formats"),
        ("chekc", "did you mean `ftc check`"),
    ],
)
def test_words_of_other_tools_are_answered(word: str, answer: str) -> None:
    assert answer in ftc(word, exit_code=2).stderr


def test_install_lines_never_ask_the_index_for_ftc() -> None:
    for extra in ("train", "report"):
        assert not install(extra).startswith(("pip install ftc", "pip install 'ftc["))


def test_what_lacks_a_package_says_so(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.toml").write_text(toml(merged(BASE, {"train": {"max_steps": 100}})))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for command in (("check", "--data", "a.toml"), ("preview", "a.toml")):
        said = ftc(*command, exit_code=2).stderr
        assert "error[no-runtime]" in said and install("train") in said


def test_a_compilation_is_shown_in_three_lines(rows: Path) -> None:
    Path("a.toml").write_text(toml(BASE))
    assert len(repr(library.compile("a.toml")).splitlines()) == 3


def test_ctrl_c_at_the_prompt_of_chat_ends_it(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from ftc.runtime.serve import chat

    def interrupted(_prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupted)
    assert chat.read("> ") is None and capsys.readouterr().err == ""


def test_new_writes_the_day_where_the_template_asks_for_it(rows: Path) -> None:
    asking = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}{% endfor %}"
    Path("asks.jinja").write_text(asking)
    before = date.today().isoformat()
    said = ftc("new", "acme/x", "--data", "rows.jsonl", "--chat-template", "asks.jinja").stderr
    model = tomllib.loads(Path("spec.toml").read_text())["model"]
    assert before <= model["date"] <= date.today().isoformat() and "asks-the-day" not in said
    set_there = ("--set", 'model.date="2025-01-31"', "-o", "other.toml")
    ftc("new", "acme/x", "--data", "rows.jsonl", "--chat-template", "asks.jinja", *set_there)
    assert tomllib.loads(Path("other.toml").read_text())["model"]["date"] == "2025-01-31"
    ftc("new", "qwen3-4b", "--data", "rows.jsonl", "-o", "none.toml")
    assert "date" not in tomllib.loads(Path("none.toml").read_text())["model"]


@pytest.mark.parametrize(
    "base",
    [
        "Qwen/Qwen3-30B-A3B-Instruct-2507",
        "unsloth/Qwen3-4B-Instruct-2507-bnb-4bit",
        "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
        "modelscope:Qwen/Qwen3-30B-A3B-Instruct-2507",
        "./models/Qwen3-30B-A3B-Instruct-2507",
        "lmstudio-community/Qwen3-30B-A3B-Instruct-2507-MLX-4bit",
        "mlx-community/qwen3_30b_a3b_instruct_2507_4bit",
    ],
)
def test_what_never_thinks_is_taught_no_think_block(base: str) -> None:
    found = near_template(base)
    assert found and found.template == "qwen3_nothink"


def test_tools_and_calls_are_measured_as_the_json_that_a_template_writes() -> None:
    """Not by their values alone: of a schema that is a third."""
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object",
            "properties": {name: {"type": "number"} for name in "abcdefgh"}}}}  # fmt: skip
    row = {"messages": [{"role": "user", "content": "Add"}, {"role": "assistant", "content": "3"}]}
    more = lengths.tokens({**row, "tools": [tool]}) - lengths.tokens(row)
    assert more == pytest.approx(len(json.dumps([tool])) / lengths.BYTES, rel=0.2)
