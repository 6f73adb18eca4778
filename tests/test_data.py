"""The ledger: no row is lost in silence."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from ftc.runtime import data
from ftc.runtime.data import ledger, sample_set, words
from ftc.runtime.errors import RunError

from . import tiny
from .conftest import SPEC, changed, environ
from .emitted import begin
from .tiny import talk, write_lines

pytestmark = pytest.mark.usefixtures("work")


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
    assert a["supervised_tokens"] == sum(tiny.num_supervised(s) for s in samples[:3])
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


def test_what_a_format_leaves_out_of_a_row_is_counted(tokenizer, capsys):
    """A greeting that nobody asked for, a question that nobody answered: as the table and the page say."""
    from ftc.runtime.tools import preview_page

    greets, asks = {"from": "gpt", "value": "Hello"}, {"from": "human", "value": "a spec"}
    rows = [[greets, asks, greets], [asks, greets], [greets, asks, greets, asks]]
    write_lines("a.jsonl", [{"conversations": row} for row in rows])
    source = data.Source(file="a.jsonl", format="sharegpt")
    for _ in range(2):  # the second time from the cache
        data.load([source], tokenizer, 96, "assistant", "drop", "logs/data.json")
        said = capsys.readouterr().out
        assert (
            "2 with an answer before the first question, which the format leaves out: a.jsonl:1, a.jsonl:3\n"
            "  1 with a question after the last answer, which the format leaves out: a.jsonl:3"
        ) in said
    counts = json.loads(Path("logs/data.json").read_text())
    assert "<b>2</b> with an answer before the first question" in preview_page._ledger(counts)


def test_a_row_that_is_far_too_long_is_dropped_before_it_takes_memory(tokenizer, monkeypatch):
    known, seen = words.words(tokenizer), []
    real = known.samples
    monkeypatch.setattr(known, "samples", lambda texts, m: seen.extend(texts) or real(texts, m))
    long = talk("x" * 1_000_000)
    write_lines("a.jsonl", [talk("a spec"), long])

    def load(on_overlong: str) -> sample_set.Samples:
        del seen[:]
        source = data.Source(file="a.jsonl")
        return data.load([source], tokenizer, 96, "assistant", on_overlong, "d.json")

    assert [sample.row for sample in load("drop")] == ["a.jsonl:1"]
    (counts,) = json.loads(Path("d.json").read_text())
    assert counts["dropped"] == {"longer than 96 tokens": {"rows": 1, "first": ["a.jsonl:2"]}}
    assert max(map(len, seen)) < 10_000
    (_, cut) = load("truncate")
    whole = tokenizer.apply_chat_template(long["messages"], return_dict=False)
    assert cut.ids.tolist() == whole[:96]


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
    assert v["supervised_tokens"] == sum(map(tiny.num_supervised, held_out[:2]))
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


def test_a_bos_in_a_row_is_the_rows_fault_and_in_a_template_the_templates(tokenizer):
    def load(format: str) -> None:
        data.load([data.Source(file="a.jsonl", format=format)], tokenizer, 96, "all", "drop", "d")

    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.chat_template = "{{ bos_token }}" + tiny.TEMPLATE.read_text("utf-8")
    write_lines("a.jsonl", [talk("a spec")])
    load("messages")
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    with pytest.raises(
        RunError, match=r"a.jsonl:1: error\[double-bos\]: the chat template puts two"
    ):
        load("messages")
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"
    )
    system = {"role": "system", "content": "<|endoftext|>Be brief."}
    write_lines("a.jsonl", [talk("a"), {"messages": [system, *talk("a spec")["messages"]]}])
    with pytest.raises(RunError, match=r"a.jsonl:2: error\[double-bos\]: the row's first text"):
        load("messages")

    from tokenizers.processors import TemplateProcessing

    special = [("<|endoftext|>", tokenizer.bos_token_id)]
    backend = tokenizer.backend_tokenizer
    backend.post_processor = TemplateProcessing("<|endoftext|> $A", special_tokens=special)
    write_lines("a.jsonl", [{"text": "a spec"}, {"text": "<|endoftext|>a spec"}])
    with pytest.raises(RunError, match=r"a.jsonl:2: error\[double-bos\]: the row's first text"):
        load("pretrain")


def test_half_a_character_is_told_wherever_it_comes_from(tokenizer):
    Path("own.py").write_text("def f(row): return row['text'] + '\\ud83d'")
    write_lines("a.jsonl", [{"text": "a"}])
    with pytest.raises(RunError, match=r"a.jsonl:1: error\[bad-row\]: half a character: .ud83d"):
        data.load(
            [data.Source(file="a.jsonl", format="own.py:f")], tokenizer, 96, "all", "drop", "d"
        )


def test_counts_add_up_over_chunks():
    one, two = ledger.Ledger("a", rows=3, samples=2, longest=5), ledger.Ledger("a", 2, 1, longest=4)
    one.drop("why", "a:1")
    two.drop("why", "a:4")
    one.add(two)
    assert (one.rows, one.samples, one.num_dropped, one.longest) == (5, 3, 2, 5)
    assert ledger.Ledger.from_json(json.loads(json.dumps(asdict(one)))) == one


HELD = changed(SPEC, **{"data.max_dropped_fraction": "0.0", "data.validation_fraction": "0.1"})


@pytest.fixture
def check(tiny_model, work):
    """check("s.toml"): what `ftc check --data` says of that, without a network."""
    Path("tiny").symlink_to(tiny_model)
    tiny.write_rows(Path("rows.jsonl"))
    weighed = HELD.replace('format = "messages"', 'format = "messages"\nweight = 2.5')
    Path("s.toml").write_text(weighed)

    def run(*arguments: str, cwd: str = ".", **more: str) -> subprocess.CompletedProcess:
        command = ["ftc", "check", "--data", *arguments]
        env = environ(**{"HF_HUB_OFFLINE": "1", **more})
        return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True)

    return run


def test_check_data_counts_what_the_run_will_read(check):
    fine = check("s.toml")
    assert fine.returncode == 0, fine.stderr
    assert "data/rows.jsonl: tokenized in" in fine.stdout
    held_out = int(re.search(r"(\d+) samples are held out", fine.stdout)[1])
    assert f"{round(2.5 * (40 - held_out))} samples, " in fine.stdout, "2.5 times what is left"
    assert "data/rows.jsonl: tokens from cache" in check("s.toml").stdout
    assert {path.name for path in Path().iterdir()} == {"tiny", "rows.jsonl", "s.toml", "cache"}

    refused = check("s.toml", "--set", "model.max_seq_length=40")
    assert refused.returncode == 2
    assert refused.stderr.startswith("rows.jsonl: error[too-many-dropped]: ")
    assert "fine" not in refused.stdout and fine.stdout.index(
        "6 steps of 8 sequences"
    ) < fine.stdout.index("fine")
    Path("short.toml").write_text(re.sub("max_steps = .*", "num_epochs = 1", HELD))
    short = check("short.toml")
    assert "warning[few-steps]: the run has " in short.stdout and not short.stderr
    assert short.stdout.index("few-steps") < short.stdout.index("compiles, with 1 warning")
    assert "about" not in short.stdout, "what is measured is not estimated, too"
    Path("elsewhere").mkdir()
    many = ("../s.toml", "--set", "model.max_seq_length=40", "--format", "json")
    more = check(*many, cwd="elsewhere")
    assert more.returncode == 2
    assert "\n../rows.jsonl: error[too-many-dropped]" in more.stderr, "as the user knows it"
    assert "Traceback" not in more.stderr and json.loads(more.stdout) == []
    Path("rows.jsonl").write_text(
        '{"messages": [{"role": "assistant", "content": "x", "loss": 3}]}\n'
    )
    broken = check("s.toml", "--format", "json")
    assert broken.returncode == 2 and json.loads(broken.stdout)[0]["code"] == "bad-row"


def test_check_data_names_any_number_of_files(check):
    """An environment variable has room for 128 KiB."""
    row = Path("rows.jsonl").read_text().splitlines(keepends=True)[0]
    for number in range(400):
        Path(f"{'x' * 200}{number:04}.jsonl").write_text(row)
    Path(f"{'x' * 200}0399.jsonl").write_text(row.replace("assistant", "Assistant"))
    Path("s.toml").write_text(HELD.replace('"rows.jsonl"', '"x*.jsonl"'))
    said = check(
        "s.toml", "--set", "model.max_seq_length=8", "--set", "data.train[0].max_samples=399"
    )
    assert said.returncode == 2 and "Traceback" not in said.stderr, said.stderr
    assert "error[no-samples]" in said.stderr and "data/x" not in said.stderr
    assert f" {'x' * 200}0001.jsonl:1" in said.stderr, "as the user knows it"


@pytest.mark.parametrize("address", ["https://[::1", "http://a:b", "//", "x"])
def test_an_address_that_is_none_is_away(address, monkeypatch):
    from ftc.compiler.cli.reach import hub_is_away

    monkeypatch.setenv("HF_ENDPOINT", address)
    assert hub_is_away()


@pytest.mark.slow
def test_check_data_without_a_network_is_one_error(check):
    hub = ("s.toml", "--set", "model.base=qwen2.5-0.5b-instruct")
    refused = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    for nowhere in (check(*hub), check(*hub, **refused)):
        said = nowhere.stderr.rpartition("\n\n")[2].splitlines()  # behind that it is not pinned
        assert nowhere.returncode == 2 and len(said) == 2, "no word of the Hub's own, no traceback"
        assert said[0].startswith(
            "run: error[no-model]: the tokenizer of Qwen/Qwen2.5-0.5B-Instruct"
        )
    Path("away.toml").write_text(HELD.replace('"rows.jsonl"', '"acme/rows"'))
    away = check("away.toml", **refused)
    assert away.returncode == 2 and "Traceback" not in away.stderr and "etry" not in away.stderr
    assert "acme/rows: error[no-data]" in away.stderr


def model_with_another_token(folder, tiny_model, **settings) -> None:
    """The tiny model, whose tokenizer has one more token than it has embeddings."""
    from transformers import AutoTokenizer

    shutil.copytree(tiny_model, folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_tokens(["<|tool|>"])
    for name, value in settings.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("held_out", [False, True])
def test_a_token_without_embedding_is_told_before_training(
    compiled, tmp_path, tiny_model, monkeypatch, held_out
):
    """A row of either set has it."""
    model_with_another_token(tmp_path / "mine", tiny_model)
    keys = {"model.base": '"mine"'}
    write_lines(str(tmp_path / "more.jsonl"), [*tiny.rows(2), talk("a <|tool|>")])
    if held_out:
        spec = SPEC + '[[data.validation]]\nsource = "more.jsonl"\nformat = "messages"\n'
        run = compiled(spec=spec, **keys)
    else:
        run = compiled(**keys, **{"data.train.source": '"more.jsonl"'})
    said = r"data/more.jsonl:3: error\[id-beyond-model\].*320 \(<\|tool\|>\).*321 tokens.*320 embeddings"
    with pytest.raises(RunError, match=said):
        begin(run, monkeypatch)


def test_an_end_token_without_embedding_is_told_as_such(
    compiled, tmp_path, tiny_model, monkeypatch
):
    model_with_another_token(tmp_path / "mine", tiny_model, eos_token="<|tool|>")
    write_lines(str(tmp_path / "texts.jsonl"), [{"text": "the model reads"}] * 2)
    keys = {"model.base": '"mine"', "data.train.source": '"texts.jsonl"'}
    run = compiled(**keys, **{"data.train.format": '"pretrain"'})
    with pytest.raises(RunError, match=r"320 \(<\|tool\|>, the eos_token.*(\n.*)*set eos_token in"):
        begin(run, monkeypatch)


def test_a_prompt_with_a_token_without_embedding_is_told(tmp_path, tiny_model, monkeypatch, capsys):
    """One that the compiler can't see: a model of the Hub. A conversation goes on without that turn."""
    from ftc.runtime.serve import chat
    from ftc.runtime.train import samples
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model_with_another_token(tmp_path / "mine", tiny_model)
    model, tokenizer = (
        kind.from_pretrained(tmp_path / "mine") for kind in (AutoModelForCausalLM, AutoTokenizer)
    )
    samples.answer(model, tokenizer, [{"role": "user", "content": "a tool"}], 2)
    with pytest.raises(RunError, match=r"prompt 'a <\|tool\|>': error\[id-beyond-model\]"):
        samples.answer(model, tokenizer, [{"role": "user", "content": "a <|tool|>"}], 2)
    asked = iter(["a <|tool|>", "a tool", None])
    talk = {"system": None, "settings": {"max_new_tokens": 2, "do_sample": False}}
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    chat.run(model, tokenizer, **talk, ask=lambda prompt: next(asked))
    said = capsys.readouterr().out
    assert said.count("this turn is forgotten") == said.count("id-beyond-model") == 1
    with pytest.raises(SystemExit, match="2"):
        chat.run(model, tokenizer, **talk, prompt="a <|tool|>")
    assert "id-beyond-model" in capsys.readouterr().err


REFUSALS = {
    "by its own words": (
        "{{ raise_exception('users and answers must take turns') }}",
        "take turns",
    ),
    "a depth": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
    "a wrong key": ("{{ messages[0].who.what }}", "has no attribute"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_system_message_that_the_template_refuses_is_told_before_a_step(
    case, tiny_model, monkeypatch, capsys
):
    from ftc.runtime.serve import chat
    from ftc.runtime.train import samples
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (
        kind.from_pretrained(tiny_model) for kind in (AutoModelForCausalLM, AutoTokenizer)
    )
    body, why = REFUSALS[case]
    tokenizer.chat_template = (
        f"{{% if messages[0].role == 'system' %}}{body}{{% endif %}}{{{{ messages[-1].content }}}}"
    )
    samples.start(model, tokenizer, ["a tool"], max_new_tokens=2)
    with pytest.raises(RunError, match=why) as told:
        samples.start(model, tokenizer, ["a tool"], max_new_tokens=2, system="Be brief.")
    assert told.value.code == "template-refused" and "samples.system" in str(told.value)
    talk = {"system": "Be brief.", "settings": {"max_new_tokens": 2, "do_sample": False}}
    with pytest.raises(SystemExit, match="2"):
        chat.run(model, tokenizer, **talk, prompt="a tool")
    assert "chat.system" in capsys.readouterr().err
    asked = iter(["a tool", None])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    chat.run(model, tokenizer, **talk, ask=lambda prompt: next(asked))
    assert "template-refused" in capsys.readouterr().out


def test_a_weight_that_takes_no_sample_is_told(tokenizer):
    """Rather than that a source is left out in silence."""
    samples = tiny.in_memory([tiny_sample(n) for n in range(4)])
    source = data.Source(file="few.jsonl", format="messages", weight=0.1)
    with pytest.raises(RunError, match=r"weight 0\.1 of 4 samples is none of them") as told:
        data.weigh(samples, [source], seed=1)
    assert "0.25 is one sample" in str(told.value)


def tiny_sample(number: int):
    import numpy as np
    from ftc.runtime.data.tokens import Sample

    return Sample(np.arange(3 + number, dtype=np.int32), np.ones(3 + number, bool), f"few:{number}")


def test_the_largest_seed_is_one():
    import torch
    from ftc.runtime.process import distributed

    for step in (0, 10**9):
        distributed.seed(2**31 - 1, step, rank=4095)
        assert 0 <= float(torch.rand(1)) < 1
