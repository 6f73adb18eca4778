"""A base of ModelScope: fetched through its package, which a stand-in is here, as there is no network."""

import os
import sys

import pytest
from ftc.compiler import compile_file
from ftc.compiler.catalog.presets import find_model
from ftc.compiler.emit.requirements import pins
from ftc.runtime.errors import RunError
from ftc.runtime.model import download

from .specs import BASE, furnish, merged, render

COMMIT = "a09a35458c702b33eeacc393d103063234e8bc28"
STAND_IN = """
def snapshot_download(model_id, revision=None):
    print("a word of its own")
    with open({log!r}, "a") as log:
        print(model_id, revision, file=log)
    if revision == "gone":
        raise RuntimeError("404: no such revision\\nof this model")
    return {folder!r}
"""


@pytest.fixture
def asked(tmp_path, tiny_model, monkeypatch):
    """What the stand-in on PYTHONPATH was asked for, a line a call."""
    log, package = tmp_path / "asked", tmp_path / "stand_in/modelscope/hub"
    package.mkdir(parents=True)
    text = STAND_IN.format(log=str(log), folder=str(tiny_model))
    (package / "snapshot_download.py").write_text(text)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    version = pins()["modelscope"].partition("==")[2]
    about = (
        tmp_path / f"stand_in/modelscope-{version}.dist-info"
    )  # launch.sh looks for what is installed
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: modelscope\nVersion: {version}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stand_in"), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(tmp_path / "stand_in"))
    yield lambda: log.read_text().splitlines() if log.exists() else []
    for name in [n for n in sys.modules if n.split(".")[0] == "modelscope"]:
        del sys.modules[name]


@pytest.mark.executed
@pytest.mark.slow
def test_a_base_of_modelscope_is_trained_converted_and_asked(compiled, asked, tiny_model):
    run = compiled(
        **{"model.base": '"modelscope:acme/tiny"', "model.revision": f'"{COMMIT}"'},
        **{"model.chat_template": '"tiny/chat_template.jinja"', "train.max_steps": "1"},
        **{"chat.max_new_tokens": "4"},
    )
    run.launch()
    assert asked() and set(asked()) == {f"acme/tiny {COMMIT}"}
    run.bash("convert.sh")
    answers = {c: run.python("chat.py", c, "--prompt", "Hi").stdout for c in ("--base", "--merged")}
    assert all(answers.values()) and "a word of its own" not in answers["--merged"]
    assert set(asked()) == {f"acme/tiny {COMMIT}"}
    card = (run.folder / "export/adapter/README.md").read_text()
    assert f"snapshot_download('acme/tiny', revision='{COMMIT}')" in card
    assert "| base model | acme/tiny |" in card and str(tiny_model) not in card


def test_what_modelscope_lacks_is_told_in_one_sentence(asked, capsys):
    assert download.from_modelscope("acme/tiny")
    with pytest.raises(
        RunError, match="no model acme/tiny at gone for us: 404: no such revision of"
    ):
        download.from_modelscope("acme/tiny", "gone")
    assert capsys.readouterr().out == ""  # convert.sh takes what is printed there for the folder


def test_a_preset_is_known_by_its_id_on_modelscope_and_comes_from_there(tmp_path):
    preset = find_model("modelscope:HuggingFaceTB/SmolLM2-135M-Instruct")
    assert preset and preset.architecture == find_model("smollm2-135m-instruct").architecture
    furnish(tmp_path)
    base = {"model": {"base": "modelscope:HuggingFaceTB/SmolLM2-135M-Instruct"}}
    files = render(merged(BASE, base), tmp_path)
    assert b"\nmodelscope==" in files["requirements.txt"].content
    assert b"gguf" not in files["requirements.txt"].content
    for name in ("train.py", "chat.py"):
        assert b"download.from_modelscope(BASE)" in files[name].content
    assert (
        b"models --modelscope HuggingFaceTB/SmolLM2-135M-Instruct)" in files["convert.sh"].content
    )


def test_a_folder_of_that_name_is_the_folder(tmp_path, tiny_model):
    furnish(tmp_path)
    (tmp_path / "modelscope:acme").mkdir()
    (tmp_path / "modelscope:acme/tiny").symlink_to(tiny_model)
    (tmp_path / "spec.toml").write_text(
        'name = "x"\n[model]\nbase = "modelscope:acme/tiny"\nmax_seq_length = 96\n[method]\nkind = "lora"\n'
        '[[data.train]]\nsource = "rows.jsonl"\n[hardware]\ndevice = "cpu"\n'
    )
    plan = compile_file(tmp_path / "spec.toml", tmp_path / "out").plan
    assert plan.model.folder and plan.model.modelscope is None
