"""The commands beside check, compile and diff, as a user types them."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from ftc.compiler import compile_document
from ftc.compiler.cli import main
from ftc.compiler.document.load import parse
from ftc.compiler.pipeline.set_values import override
from ftc.compiler.plan.names import DERIVED, decided_by
from ftc.compiler.plan.values import leaves
from ftc.compiler.spec.names import names

from . import tiny
from .specs import SPECS, toml

SPEC = Path(__file__).parent / "errors/output/edited/spec.toml"


@pytest.fixture
def ftc(tmp_path, monkeypatch):
    """Runs a command line in a folder with spec.toml and rows.jsonl: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.toml").write_text(SPEC.read_text())
    tiny.write_rows(tmp_path / "rows.jsonl", 3)

    def run(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            result.exception
        )
        return result.exit_code, result.stdout, result.stderr

    return run


def test_set_replaces_adds_and_is_recorded(ftc):
    settings = {
        "method.rank": "8",
        "optim.learning_rate": "1e-4",
        "data.train[0].max_samples": "2",
        "model.max_seq_length": "64",
        "seed": "5",
        "chat.system": 'say $(hi) "loud"',
    }
    arguments = [a for key, value in settings.items() for a in ("--set", f"{key}={value}")]
    assert ftc("compile", "spec.toml", "-o", "out", *arguments)[0] == 0
    spec = tomllib.loads(Path("out/spec.toml").read_text())
    assert spec["method"] == {"kind": "lora", "rank": 8} and spec["seed"] == 5
    assert spec["data"]["train"][0]["max_samples"] == 2
    assert spec["chat"]["system"] == settings["chat.system"]
    assert "LEARNING_RATE = 0.0001  # spec" in Path("out/train.py").read_text()
    plan = json.loads(Path("out/ftc.lock").read_text())["plan"]
    assert plan["model.max_seq_length"]["value"] == 64
    assert plan["model.max_seq_length"]["origin"] == "spec"
    assert plan["model.max_seq_length"]["changes"] == "new run"


def test_the_runs_own_spec_compiles_to_the_same_run(ftc, tmp_path):
    ftc("compile", "spec.toml", "-o", "out", "--set", "method.rank=8")
    again = tmp_path / "again.toml"
    again.write_bytes(Path("out/spec.toml").read_bytes())
    ftc("compile", "again.toml", "-o", "two")
    for name in ("chat_template.jinja", "ds_config.json", "requirements.txt"):
        assert Path("out", name).read_bytes() == Path("two", name).read_bytes()
    ours, theirs = (Path(run, "train.py").read_text().splitlines()[1:] for run in ("out", "two"))
    assert ours == theirs


def test_set_opens_a_table_that_only_its_parts_imply(ftc):
    """[[data.train]] alone implies [data], which has no line of its own to write below."""
    assert "\n[data]" not in Path("spec.toml").read_text()
    settings = ("data.validation_fraction=0.1", "data.packing=false", "data.train[0].max_samples=2")
    arguments = [a for setting in settings for a in ("--set", setting)]
    assert ftc("compile", "spec.toml", "-o", "out", *arguments)[0] == 0
    data = tomllib.loads(Path("out/spec.toml").read_text())["data"]
    assert data["validation_fraction"] == 0.1 and data["packing"] is False
    assert data["train"][0]["max_samples"] == 2
    code, _, errors = ftc("check", "spec.toml", "--set", "data.validation_fractoin=0.1")
    assert code == 2 and "--set data.validation_fractoin=0.1: error[unknown-key]" in errors


FILES = """.gitignore README.md chat.py chat_template.jinja convert.sh data/rows.jsonl deploy.sh
ds_config.json launch.sh requirements-deploy.txt requirements.txt spec.toml train.py ftc.lock"""


def test_check_says_whether_a_directory_is_stale(ftc):
    missing = "".join(f"out/{name}: missing\n" for name in FILES.split())
    answer = ftc("compile", "spec.toml", "-o", "out", "--check")
    assert answer == (1, f"{missing}out: stale\n", "")
    assert not Path("out").exists()
    ftc("compile", "spec.toml", "-o", "out")
    assert ftc("compile", "spec.toml", "-o", "out", "--check")[:2] == (0, "out: up to date\n")
    code, said, _ = ftc("compile", "spec.toml", "-o", "out", "--check", "--set", "seed=1")
    assert code == 1 and "out/train.py: changed\n" in said


def test_several_specs_at_once(ftc, tmp_path):
    text = (tmp_path / "spec.toml").read_text()
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(text.replace('"case"', f'"case-{name}"'))
    assert ftc("compile", "a.toml", "b.toml", "-o", "runs")[0] == 0
    assert Path("runs/case-a/train.py").is_file() and Path("runs/case-b/train.py").is_file()


def test_verify(ftc):
    ftc("compile", "spec.toml", "-o", "out")
    assert ftc("verify", "out") == (0, "out: as compiled\n", "")
    Path("out/train.py").write_text("# mine\n")
    Path("out/chat.py").unlink()
    Path("out/data/rows.jsonl").write_text("{}\n")
    Path("spec.toml").write_text(Path("spec.toml").read_text() + "# more\n")
    assert ftc("verify", "out") == (
        1,
        "missing  chat.py: it was generated and is gone\n"
        "data     data/rows.jsonl: it changed since it was generated\n"
        "edited   train.py: it changed since it was generated\n"
        "stale    ../spec.toml: the spec changed since; compile it again\n"
        "out: differs\n",
        "",
    )


def test_verify_compares_with_the_spec_as_it_stood_in_its_file(ftc):
    ftc("compile", "spec.toml", "-o", "out", "--set", "seed=3")
    assert ftc("verify", "out") == (0, "out: as compiled\n", "")


def test_verify_knows_another_runtime(ftc):
    ftc("compile", "spec.toml", "-o", "out")
    lock = json.loads(Path("out/ftc.lock").read_text())
    lock["runtime"]["sha256"] = "0" * 64
    Path("out/ftc.lock").write_text(json.dumps(lock))
    code, said, _ = ftc("verify", "out")
    assert code == 1 and said.startswith("runtime  ftc.runtime: it is another one")


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("a = 1", "seed = 3\na = 1\n\n[optim]\nlr = 0.5\n"),
        ("seed = 1 # x\n[optim]", "seed = 3 # x\n[optim]\nlr = 0.5\n"),
        ("[optim] # x\n\n", "seed = 3\n[optim] # x\nlr = 0.5\n\n"),
        ("optim = {}\n", "seed = 3\noptim = {lr = 0.5}\n"),
        ("optim = { a = 1 }", "seed = 3\noptim = {lr = 0.5,  a = 1 }"),
        ("x.y = 1\noptim . a = 2", "seed = 3\nx.y = 1\noptim.lr = 0.5\noptim . a = 2"),
        ("optim.lr = 'a' # x", "seed = 3\noptim.lr = 0.5 # x"),
        ("a = 1\r\n", "seed = 3\na = 1\n\n[optim]\nlr = 0.5\n"),
    ],
)
def test_set_finds_the_place(text, changed):
    """And a place is told as the user knows it: in the file as it is, or in the last argument."""
    settings = ["seed=3", "optim.lr=1", "optim.lr=0.5"]
    document = override(parse(text, "spec.toml"), settings)
    assert document.text == changed
    lr, seed = document.value(("optim", "lr")), document.value(("seed",))
    assert (document.argument(lr.line), *lr[1:]) == ("--set optim.lr=0.5", 16, 19)
    assert (document.argument(seed.line), *seed[1:]) == ("--set seed=3", 12, 13)
    if "a" in document.data:
        assert document.line(document.key(("a",)).line) == "a = 1"


def test_set_takes_any_character():
    text = "".join(map(chr, range(128)))
    document = override(parse("a = 1", "spec.toml"), [f"chat.system={text}"])
    assert document.data["chat"]["system"] == text


def test_explain(ftc):
    code, said, _ = ftc("explain", "spec.toml", "--set", "optim.learning_rate=1e-4")
    assert code == 0
    lines = {line.split()[0]: line.split() for line in said.splitlines()}
    assert lines["optim.learning_rate"][1] == "0.0001"
    assert lines["optim.learning_rate"][2:] == ["--set", "optim.learning_rate=1e-4"]
    assert lines["model.base"][2].startswith("spec.toml:")
    assert lines["batch.gradient_accumulation_steps"][1:] == ["16", "=", "16", "/", "(1", "x", "1)"]
    assert lines["optim.warmup_ratio"][1:] == ["0.03", "preset", "lora"]
    code, said, _ = ftc("explain", "spec.toml", "train")
    assert code == 0 and "A change has no effect on what is learnt." in said
    assert [line.split(".")[0] for line in said.splitlines() if line[0] != " "] == [
        *["batch"] * 2,
        *["train"] * 4,
    ]


def test_explain_for_programs(ftc):
    code, said, told = ftc("explain", "spec.toml", "optim", "--format", "json")
    values = {value["key"] or value["path"]: value for value in json.loads(said)["values"]}
    assert (code, told) == (0, "")
    assert values["optim.warmup_ratio"]["value"] == 0.03
    assert values["optim.weight_decay"]["origin"] == "default"
    code, said, told = ftc("explain", "spec.toml", "optim.lr", "--format", "json")
    assert (code, told) == (2, "") and json.loads(said)[0]["code"] == "unknown-key"


def test_new_writes_a_spec_that_compiles(ftc):
    code, said, _ = ftc("new", "smollm2-135m-instruct", "--data", "rows.jsonl", "-o", "my run.toml")
    assert code == 0 and "LoRA of smollm2-135m-instruct on 3 rows" in said
    assert "It trains on the CPU" in said and '"cuda"' in said
    text = Path("my run.toml").read_text()
    assert "`ftc compile 'my run.toml'`" in text and "`ftc explain 'my run.toml'`" in text
    assert tomllib.loads(Path("my run.toml").read_text())["name"] == "my-run"
    assert ftc("compile", "my run.toml")[0] == 0 and Path("runs/my-run/train.py").is_file()
    Path("alpaca.json").write_text('[{"instruction": "a", "input": "", "output": "b"}]')
    _, said, _ = ftc("new", "llama-3-8b-instruct", "--data", "alpaca.json", "--method", "qlora",
        "--accelerator", "A100-80G", "-o", "gpu.toml")  # fmt: skip
    assert "CPU" not in said
    spec = tomllib.loads(Path("gpu.toml").read_text())
    assert spec["data"]["train"][0]["format"] == "alpaca"
    assert spec["hardware"] == {"device": "cuda", "accelerator": "A100-80G"}


@pytest.mark.parametrize("name", SPECS)
def test_each_value_of_a_plan_is_a_key_or_says_its_keys(name, folder):
    """What explain and diff show, --set takes or leads to what it takes."""
    keys = {name.path.replace("[0]", "") for name in names()}
    assert not set(DERIVED) & keys, "a key is set by its own name"
    document = parse(toml(SPECS[name]), str(folder / "spec.toml"))
    for path, _ in leaves(compile_document(document).plan):
        for key in decided_by(path) or (path,):
            assert path == "summary" or re.sub(r"\[\d+\]", "", key) in keys, path


@pytest.mark.parametrize(
    "key, answer",
    [
        ("chat.temperature", "unset; default 0.0"),
        ("data.validation_fraction", "unset; default 0.0"),
        ("model.revision", "unset"),
        ("model.rope_scaling.type", "unset"),
        ("tracking", "unset"),
        ("data.group_by_length", "false  spec.toml:"),  # set, and without effect
        ("data.train.source", '"rows.jsonl"  spec.toml:'),
    ],
)
def test_explain_answers_for_what_the_plan_leaves_out(ftc, key, answer):
    with Path("spec.toml").open("a") as spec:
        spec.write("\n[data]\ngroup_by_length = false\n")
    code, text, errors = ftc("explain", "spec.toml", key)
    assert code == 0 and not errors
    first, *help = text.splitlines()
    assert re.fullmatch(
        rf"{re.escape(key).replace('train', r'train(.0.)?')}  {answer}\d*", first
    ), first
    assert help, "what the key is for"
    _, told, _ = ftc("explain", "spec.toml", key, "--format", "json")
    (value,) = json.loads(told)["values"]
    assert value["key"] and (value["origin"] == "unset") == answer.startswith("unset")


def test_verify_judges_by_the_lock_and_compile_check_by_the_spec_and_its_data(ftc):
    ftc("compile", "spec.toml", "-o", "out")
    tiny.write_rows(Path("rows.jsonl"), 4)  # the run has a copy of the three that there were
    assert ftc("verify", "out")[:2] == (0, "out: as compiled\n")
    code, said, _ = ftc("compile", "spec.toml", "-o", "out", "--check")
    assert code == 1 and "out/data/rows.jsonl: changed" in said
    assert "ftc compile SPEC" in " ".join(ftc("verify", "--help")[1].split())
