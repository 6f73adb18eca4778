"""Running ftc as a user does: write a spec, compile it, start the scripts, read what they wrote."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from ftc.runtime.process.folders import cache

from . import tiny
from .specs import BASE, furnish, toml

ROOT = Path(__file__).resolve().parent.parent
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a script
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what the tests start heeds Ctrl-C
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # DeepSpeed compiles its Muon

SPEC = """
name = "tiny"
seed = 7
[model]
base = "tiny"
max_seq_length = 96
[method]
kind = "lora"
rank = 4
dropout = 0.1
[[data.train]]
source = "rows.jsonl"
format = "messages"
[optim]
learning_rate = 5e-3
warmup_ratio = 0.3
[train]
max_steps = 6
global_batch_size = 8
micro_batch_size = 2
save_every = 100
[hardware]
device = "cpu"
"""


@dataclass(frozen=True)
class Run:
    """A compiled run directory."""

    folder: Path

    def bash(self, script: str, *arguments: str, check: bool = True, **environment: str):
        """Runs a script of the run; its output as text. Fails with the output unless `check` is off."""
        done = subprocess.run(
            ["bash", str(self.folder / script), *arguments],
            capture_output=True,
            text=True,
            env=environ(**environment),
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"{script} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def python(self, script: str, *arguments: str):
        """Runs a Python script of the run; its output as text."""
        command = [sys.executable, str(self.folder / script), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environ(), check=True)

    def launch(self, *arguments: str, **keywords):
        return self.bash("launch.sh", *arguments, **keywords)

    def records(self) -> list[dict]:
        lines = (self.folder / "logs" / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def losses(self) -> list[float]:
        return [record["loss"] for record in self.records() if "loss" in record]

    def weights(self, tag: str = "latest"):
        """The trained weights of a checkpoint, by name."""
        from ftc.runtime.checkpoint import shards, stored

        found = stored.steps(self.folder / "checkpoints")
        return dict(shards.each(found[-1][1] if tag == "latest" else self.folder / tag))


def environ(**more: str) -> dict[str, str]:
    """The environment with this interpreter first on the PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DS_ACCELERATOR": "cpu", **more}


def changed(spec: str, **values: str) -> str:
    """The spec with keys set: changed(SPEC, **{"train.max_steps": "12"}); a value of None removes."""
    import tomllib

    tables: dict[str, list[str]] = {"": []}
    current = ""
    for line in spec.splitlines():
        if line.startswith("["):
            current = line.strip("[] ")
            tables[current] = [line]
        elif line.strip():
            tables[current].append(line)
    for path, value in values.items():
        table, _, key = path.rpartition(".")
        lines = tables.setdefault(table, [f"[{table}]"])
        lines[:] = [line for line in lines if not line.startswith(f"{key} =")]
        if value is not None:
            lines.append(f"{key} = {value}")
    text = "\n".join(line for lines in tables.values() for line in lines) + "\n"
    tomllib.loads(text)
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the specs above refer to."""
    furnish(tmp_path)
    return tmp_path


@pytest.fixture
def spec(folder: Path) -> Path:
    (folder / "spec.toml").write_text(toml(BASE))
    return folder / "spec.toml"


@pytest.fixture(scope="session", autouse=True)
def token_cache(tmp_path_factory):
    """A cache of the tests' own for tokens; models are where the user has them."""

    folder = tmp_path_factory.mktemp("cache")
    (cache() / "models").mkdir(parents=True, exist_ok=True)
    (folder / "models").symlink_to(cache() / "models")
    os.environ["FTC_CACHE"] = str(folder)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny.make(folder)
    return folder


def compiler(place: Path, tiny_model: Path) -> Callable[..., Run]:
    """Compiles SPEC with changes: compiled(name, **{"train.max_steps": "12"}) -> Run."""
    from ftc.compiler import compile_file, write

    if not (place / "tiny").exists():
        (place / "tiny").symlink_to(tiny_model)
    tiny.write_rows(place / "rows.jsonl")

    def make(name: str = "run", spec: str = SPEC, **values: str) -> Run:
        path = place / f"{name}.toml"
        path.write_text(changed(spec, **values), "utf-8")
        write(compile_file(path, place / name).files, place / name)
        return Run(place / name)

    return make


@pytest.fixture
def compiled(tmp_path, tiny_model):
    return compiler(tmp_path, tiny_model)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, tiny_model):
    """The same, for runs that the tests of a file share, and leave as they are."""
    return compiler(tmp_path_factory.mktemp("shared"), tiny_model)


ALONE: dict[tuple, list[float]] = {}


@pytest.fixture
def alone(compiled):
    """alone(**changes): the losses of one process on this machine, which trains once a test run."""

    def losses(**values: str) -> list[float]:
        known = tuple(values.items())
        if known not in ALONE:
            run = compiled("alone", **values)
            run.launch()
            ALONE[known] = run.losses()
        return ALONE[known]

    return losses


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """An empty working directory, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTC_CACHE", str(tmp_path / "cache"))
    return tmp_path
