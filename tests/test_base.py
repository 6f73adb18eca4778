"""The base that a lock is about: what of it changed is named, whatever it is."""

import json
import os
import shutil

import pytest
from ftc.runtime.process import lock

from .specs import BASE, ftc, merged, toml


@pytest.fixture
def run(tiny_model, folder, monkeypatch):
    """A compiled run on a copy of the tiny model in ../mine, in the current directory."""
    shutil.copytree(tiny_model, folder / "mine")
    with (folder / "mine/more.bin").open("wb") as file:  # larger than what is read whole
        file.truncate(20_000_000)
    (folder / "spec.toml").write_text(
        toml(merged(BASE, {"model": {"base": "mine", "max_seq_length": 96}}))
    )
    ftc("compile", folder / "spec.toml", "-o", folder / "run")
    monkeypatch.chdir(folder / "run")
    return folder


def flip(path, place):
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def setting(name, key, value):
    def change(folder):
        data = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**data, key: value}))

    return change


CHANGES = {
    "config": setting("config.json", "rope_theta", 5.0),
    "tokenizer": setting("tokenizer.json", "truncation", None),
    "tokenizer: its settings": setting("tokenizer_config.json", "eos_token", "<|im_start|>"),
    "tokenizer: another file": lambda mine: (mine / "merges.txt").write_text("a b"),
    "weights": lambda mine: flip(mine / "model.safetensors", -1),
    "weights: a header": lambda mine: flip(mine / "more.bin", 3),
    "weights: the end": lambda mine: flip(mine / "more.bin", -1),
    "weights: an index": lambda mine: (mine / "model.safetensors.index.json").write_text("{}"),
    "code": lambda mine: (mine / "modeling_mine.py").write_text("pass"),
}


@pytest.mark.parametrize("part", CHANGES)
def test_what_changed_is_named(run, part):
    assert [found for found in lock.drift() if "runtime" not in found] == []
    ftc("verify", ".")
    if part == "tokenizer":  # another text of the same file
        (run / "mine/tokenizer.json").write_text((run / "mine/tokenizer.json").read_text() + "\n")
    CHANGES[part](run / "mine")
    name = part.split(":")[0]
    assert lock.drift() == [
        f"the {name} of the base model in ../mine changed since the run was compiled"
    ]
    found = ftc("verify", ".", exit_code=1)
    assert f"base     ../mine ({name}): it changed since the run was compiled" in found.stdout

    ftc("compile", "../spec.toml", "-o", "../again")
    assert lock.differences(run / "run", run / "again") == [f"the {name} of the base model changed"]
    difference = ftc("diff", "../run", "../again", exit_code=1)
    assert "model.base" in difference.stdout


def test_a_template_of_the_base_is_not_what_a_run_reads(run):
    setting("tokenizer_config.json", "chat_template", "{{ 'other' }}")(run / "mine")
    (run / "mine/chat_template.jinja").write_text("{{ 'other' }}")
    assert lock.drift() == []


def test_a_lock_of_an_earlier_version_is_compared_by_its_own_rule(run):
    path = run / "run/ftc.lock"
    text = json.loads(path.read_text())
    del text["facts"]["model"]["digests"]
    shutil.copytree(run / "run", run / "old")
    (run / "old/ftc.lock").write_text(json.dumps(text))
    assert lock.drift(run / "old") == []
    assert lock.differences(run / "old", run / "run") == []
    ftc("diff", "../old", "../run")
    flip(run / "mine/more.bin", 3)  # of the same size
    assert lock.drift(run / "old") == []
    with (run / "mine/more.bin").open("ab") as file:
        file.write(b"1")
    assert lock.drift(run / "old") == ["the base model in ../mine is another one"]
    ftc("verify", "../old", exit_code=1)


def test_verify_deep_reads_every_byte(run):
    assert "no checkpoint has recorded" in ftc("verify", ".", "--deep", exit_code=1).stdout
    checkpoint = run / "run/checkpoints/step-000007"
    checkpoint.mkdir(parents=True)
    from ftc.runtime.checkpoint import base_bytes

    (checkpoint / "base.json").write_bytes(base_bytes.record())
    ftc("verify", ".", "--deep")
    flip(run / "mine/more.bin", 1_300_000)  # between the blocks of the sample
    ftc("verify", ".")
    found = ftc("verify", ".", "--deep", exit_code=1)
    assert "../mine/more.bin: it is not what checkpoints/step-000007 was trained on" in found.stdout
    (checkpoint / "base.json").write_text("[")
    assert "no checkpoint has recorded" in ftc("verify", ".", "--deep", exit_code=1).stdout


def link_in_a_circle(mine):
    shutil.rmtree(mine)
    mine.symlink_to(mine)


@pytest.mark.parametrize("lose", [shutil.rmtree, link_in_a_circle])
def test_a_base_that_is_gone_ends_no_checkpoint(run, lose, capsys):
    from ftc.runtime.checkpoint import base_bytes

    lose(run / "mine")
    assert [base_bytes.record() for _ in range(2)] == [b"{}", b"{}"]
    said = capsys.readouterr().out
    assert said.startswith("WARNING: the base in ") and said.count("WARNING") == 1
    checkpoint = run / "run/checkpoints/step-000007"
    checkpoint.mkdir(parents=True)
    (checkpoint / "base.json").write_bytes(base_bytes.record())
    assert "no checkpoint has recorded" in ftc("verify", ".", "--deep", exit_code=1).stdout


def test_a_weight_file_that_cannot_be_read_ends_no_checkpoint(run, monkeypatch, capsys):
    from ftc.runtime.checkpoint import base_bytes

    def refuses(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(base_bytes.digests, "whole_sha256", refuses)
    assert base_bytes.record() == b"{}"
    assert "(Permission denied)" in capsys.readouterr().out


@pytest.mark.executed
def test_a_checkpoint_records_the_base(compiled, tmp_path, tiny_model):
    shutil.copytree(tiny_model, tmp_path / "mine")
    keys = {"train.max_steps": "2", "train.save_every": "1", "train.keep_checkpoints": "2"}
    run = compiled(**{"model.base": '"mine"', **keys})
    weights = tmp_path / "mine/model.safetensors"

    def recorded():
        return json.loads((run.folder / "checkpoints/step-000002/base.json").read_text())

    run.launch()
    assert recorded() == {"model.safetensors": lock.sha256(weights)}
    flip(weights, -4)  # another base, whose logits are as good as the same
    shutil.rmtree(run.folder / "checkpoints/step-000002")
    run.launch("--resume", "latest", "--allow-drift")
    assert recorded() == {"model.safetensors": lock.sha256(weights)}
    flip(weights, -4)
    CHANGES["tokenizer: its settings"](tmp_path / "mine")
    done = run.launch("--resume", "latest", check=False)
    assert done.returncode == 2
    assert "the tokenizer of the base model in ../mine changed" in done.stderr
