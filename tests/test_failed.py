"""A base that is damaged in ways that only its libraries see: an error with a place, never a traceback."""

import errno
import json
import shutil
import subprocess
import sys

import pytest
from ftc.runtime.errors import RunError
from ftc.runtime.train import failed, guards

from .conftest import environ
from .test_resume import flip


def edit(name, **values):
    def change(mine):
        data = json.loads((mine / name).read_text())
        (mine / name).write_text(json.dumps({**data, **values}))

    return change


def cut(name):
    def change(mine):
        content = (mine / name).read_bytes()
        (mine / name).write_bytes(content[: len(content) // 2])

    return change


DAMAGE = {
    "tokenizer.json cut": cut("tokenizer.json"),
    "tokenizer.json of numbers": lambda mine: (mine / "tokenizer.json").write_text("[1, 2]"),
    "tokenizer.json of another model": edit("tokenizer.json", model={"type": "What"}),
    "tokenizer.json nested": lambda mine: (mine / "tokenizer.json").write_text("[" * 100_000),
    "tokenizer_config.json cut": cut("tokenizer_config.json"),
    "tokenizer class": edit(
        "tokenizer_config.json", tokenizer_class="LlamaTokenizer", added_tokens_decoder=7
    ),
    "safetensors cut": cut("model.safetensors"),
    "safetensors length": lambda mine: flip_head(mine),
    "config cut": cut("config.json"),
    "layers": edit("config.json", num_hidden_layers="two"),
    "layers without end": edit("config.json", layer_types="odd"),
    "heads": edit("config.json", num_attention_heads=0, head_dim=None),
    "activation": edit("config.json", hidden_act="what"),
    "rope": edit("config.json", rope_parameters={"rope_type": "what"}),
    "shapes": edit("config.json", hidden_size=-8),
    "quantized": edit("config.json", quantization_config={"quant_method": "what"}),
    "type": edit("config.json", model_type="what"),
}


def flip_head(mine):
    flip(mine / "model.safetensors")
    content = (mine / "model.safetensors").read_bytes()
    (mine / "model.safetensors").write_bytes(b"\xff" * 7 + content[7:])


def load(mine):
    """As train.py does."""
    from ftc.runtime import data
    from transformers import AutoModelForCausalLM

    data.load_tokenizer(str(mine))
    AutoModelForCausalLM.from_pretrained(str(mine), use_safetensors=True)


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_a_library_raises_is_an_error_with_a_place(damage, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(guards.Guard, "latest", None)
    shutil.copytree(tiny_model, tmp_path / "mine")
    DAMAGE[damage](tmp_path / "mine")
    try:
        load(tmp_path / "mine")
    except RunError as error:
        assert "mine" in str(error)
    except Exception as error:
        found = failed.loading(error)
        assert found is not None, repr(error)
        assert "mine" in found.where, found
        assert "traceback.txt" in str(found)
        text = (tmp_path / "logs/traceback.txt").read_text()
        assert "Traceback (most recent call last)" in text
        assert all(len(line) < 600 for line in str(found).splitlines())


def raised(action):
    with pytest.raises(Exception) as caught:
        action()
    return caught.value


def test_a_mistake_of_our_own_keeps_its_traceback(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(guards.Guard, "latest", None)
    assert failed.loading(raised(lambda: failed.loading(7))) is None
    theirs = raised(lambda: json.loads("["))
    assert failed.loading(theirs).code == "cannot-load"
    monkeypatch.setattr(guards.Guard, "latest", object())
    assert failed.loading(theirs) is None  # the run trains by now


def test_a_directory_that_can_not_be_written(monkeypatch):
    monkeypatch.setattr(guards.Guard, "latest", None)

    def write():
        raise OSError(errno.EROFS, "Read-only file system", "logs/data.json")

    found = failed.loading(raised(write))
    assert (found.code, found.where) == ("no-access", "logs/data.json")


@pytest.mark.executed
def test_launch_convert_and_chat_end_in_an_error(compiled, tmp_path, tiny_model):
    from ftc.runtime.checkpoint import training_state

    shutil.copytree(tiny_model, tmp_path / "mine")
    edit("config.json", hidden_act="what")(tmp_path / "mine")
    run = compiled(**{"model.base": '"mine"', "train.max_steps": "1"})
    saved = run.folder / "checkpoints/step-000001"
    saved.mkdir(parents=True)
    contents = {"state.json": b"{}", "probe.json": b"[[1, 2]]"}
    digests = {name: training_state._write(saved / name, text) for name, text in contents.items()}
    (saved / "digests.json").write_text(json.dumps(digests))
    commands = {"launch.sh": ["--start-over"], "convert.sh": ["--checkpoint", str(saved)]}
    commands["chat.py"] = ["--base", "--prompt", "Hi"]
    for script in ("convert.sh", "chat.py", "launch.sh"):
        shutil.rmtree(run.folder / "logs", ignore_errors=True)
        shell = [sys.executable if script.endswith(".py") else "bash", str(run.folder / script)]
        done = subprocess.run(
            [*shell, *commands[script]], capture_output=True, text=True, env=environ(), cwd=tmp_path
        )
        assert done.returncode == 2, script
        assert "error[cannot-load]: transformers can't load this: KeyError: 'what'" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Traceback" in (run.folder / "logs/traceback.txt").read_text()
