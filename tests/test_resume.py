"""Stopping and going on: damaged checkpoints, full disks, other numbers of processes."""

import json
import os
import shutil
import subprocess

import pytest

from . import tiny
from .conftest import SPEC, environ
from .specs import lock_text
from .test_executed import METHODS, TWO, equal

pytestmark = pytest.mark.executed


# The learning rate is a function of the length of the run, unless it is constant.
TEN = {"data.train.max_samples": "10"}
CONSTANT = {"optim.lr_scheduler": '"constant"', "optim.warmup_ratio": "0.0"}


def tags(run) -> list[str]:
    return sorted(path.name for path in (run.folder / "checkpoints").glob("*"))


@pytest.fixture
def trained(compiled):
    """Three steps, three checkpoints."""
    run = compiled(
        **{"train.max_steps": "3", "train.save_every": "1", "train.keep_checkpoints": "3"}
    )
    run.launch()
    return run


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def emptied(path):
    path.write_text("{}" if path.suffix == ".json" else "")


def no_table(path):
    path.write_text('{"state.json": 7, "more": [1]}')


def cut(path):
    os.truncate(path, path.stat().st_size - 1)


def remove(path):
    path.unlink()


def test_a_damaged_checkpoint_gives_way_to_the_one_before(trained):
    weights, losses = trained.weights(), trained.losses()
    newest, before = (trained.folder / f"checkpoints/step-00000{n}" for n in (3, 2))
    flip(newest / "weights-00000-000.safetensors")
    cut(before / "optimizer-00000-000.safetensors")
    refused = trained.launch("--resume", "step-000003", check=False)
    assert refused.returncode == 2
    assert "step-000003: error[damaged-checkpoint]" in refused.stderr
    assert "has other bytes than were written" in refused.stderr
    done = trained.launch("--resume", "latest")
    assert "WARNING: checkpoints/step-000003 is damaged: weights-00000-000.saf" in done.stdout
    assert "WARNING: checkpoints/step-000002 is damaged: optimizer-00000-000.saf" in done.stdout
    assert "Training steps 2 to 3." in done.stdout
    assert equal(trained.weights(), weights)
    assert trained.losses() == losses
    assert "damaged-step-000003" in tags(trained)


@pytest.mark.parametrize("name", ["state.json", "optimizer-00000-000.safetensors", "digests.json"])
@pytest.mark.parametrize("harm", [flip, cut, remove, emptied, no_table])
def test_every_damage_is_seen(tmp_path, monkeypatch, harm, name):
    """The digests cover each file, digests.json itself by being JSON with a digest that fits."""
    from ftc.runtime.checkpoint import stored, training_state

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoints/step-000001"
    folder.mkdir(parents=True)
    files = {"state.json": b"{}" * 9, "optimizer-00000-000.safetensors": bytes(range(99))}
    digests = {
        file: training_state._write(folder / file, content) for file, content in files.items()
    }
    training_state._write(folder / "digests.json", json.dumps(digests).encode())
    assert stored.newest() is not None
    harm(folder / name)
    for odd in ("step-²", "step-١٢", "step-", "step-1x"):  # isdigit() takes some of these
        (folder.parent / odd).mkdir()
    (folder.parent / "step-000009").write_text("not a folder")
    assert stored.damage(folder)
    assert stored.newest() is None


@pytest.mark.slow
def test_resume_takes_a_path_in_each_form(trained):
    """A name, a path from the run directory, from where launch.sh is called, an absolute one."""
    weights = trained.weights()
    inside = trained.folder / "checkpoints/step-000001"
    forms = ["step-000001", "checkpoints/step-000001/", str(inside), "run/checkpoints/step-000001"]
    for form in forms:
        done = subprocess.run(
            ["bash", "run/launch.sh", "--resume", form],
            cwd=trained.folder.parent,
            env=environ(),
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        assert "Training steps 2 to 3." in done.stdout
        assert "Later checkpoints were moved to previous/" in done.stdout
        assert equal(trained.weights(), weights)
        assert tags(trained) == ["step-000001", "step-000002", "step-000003"]


@pytest.mark.slow
def test_a_full_disk_is_one_clear_error(compiled):
    """The last good checkpoint stays; with room again, the run goes on to the same end."""
    keys = {"train.max_steps": "3", "train.save_every": "1", "train.keep_checkpoints": "1"}
    run, whole = compiled(**keys), compiled("whole", **keys)
    whole.launch()
    disk = run.folder / "checkpoints"
    disk.mkdir()
    size = sum(f.stat().st_size for f in (whole.folder / "checkpoints/step-000003").iterdir())
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size * 3 // 2 // 4096 * 4096}", "tmpfs", str(disk)],
        check=True,
    )
    try:
        full = run.launch(check=False)
        assert full.returncode == 2
        assert "checkpoints/.saving/step-000002: error[cannot-save]: No space left" in full.stderr
        assert "MB are free" in full.stderr and "Traceback" not in full.stderr
        assert "checkpoints/step-000001: bash launch.sh --resume latest" in full.stderr
        assert tags(run) == ["step-000001"]
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        run.launch("--resume", "latest")
        assert equal(run.weights(), whole.weights())
        assert tags(run) == ["step-000003"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


ELASTIC = [
    (method, stage)
    for method in METHODS
    for stage in (None, "0", "1", "2", "3")
    if (method, stage) != ("qlora", "3")
]


@pytest.mark.slow
@pytest.mark.parametrize("method, stage", ELASTIC)
def test_another_number_of_processes_goes_on(compiled, method, stage):
    """1 -> 2 -> 1 processes: the same samples in each step, the same losses. Unset, the stage changes."""
    keys = {**METHODS[method], **CONSTANT, "parallel.zero_stage": stage}
    whole = compiled("whole", **keys)
    whole.launch()
    for steps, more in (("2", {}), ("4", TWO), ("6", {})):
        run = compiled(**keys, **more, **{"train.max_steps": steps})
        run.launch("--resume", "latest")
    assert run.losses() == pytest.approx(whole.losses(), rel=1e-5)
    tokens = [[r["tokens"] for r in each.records() if "loss" in r] for each in (run, whole)]
    assert tokens[0] == tokens[1] and len(tokens[0]) == 6


@pytest.mark.slow
@pytest.mark.parametrize("method, stage", [("full", "0"), ("full", "1"), ("lora", "1")])
def test_resume_is_exact_in_bfloat16(compiled, method, stage):
    """Float32 masters go on, too; at stage 0 DeepSpeed begins with a step of its own, and at stage 1 it has another
    optimizer for gradients that are summed in float32, as those of adapters are."""
    keys = {"model.dtype": '"bfloat16"', "parallel.zero_stage": stage, "train.save_every": "3"}
    keys["optim.learning_rate"] = "1e-3"
    whole, part = (compiled(name, **METHODS[method], **keys) for name in ("whole", "part"))
    whole.launch()
    shutil.copytree(whole.folder / "checkpoints", part.folder / "checkpoints")
    part.launch("--resume", "step-000003")
    assert part.losses() == whole.losses()[3:]
    assert equal(part.weights(), whole.weights())


@pytest.mark.slow
def test_a_longer_run_leaves_no_row_out(compiled):
    """10 rows, 4 a step: the third step of an epoch is short, unless another epoch follows."""
    keys = {"data.packing": "false", "train.max_steps": None, "train.global_batch_size": "4"}
    keys |= {"train.save_every": "1", "train.keep_checkpoints": "9", **CONSTANT, **TEN}
    whole = compiled("whole", **keys, **{"train.num_epochs": "2"})
    whole.launch()
    run = compiled("run", **keys, **{"train.num_epochs": "1"})
    run.launch()
    assert [r["samples"] for r in run.records() if "loss" in r] == [4, 4, 2]
    run = compiled("run", **keys, **{"train.num_epochs": "2"})
    done = run.launch("--resume", "latest", check=False)
    assert done.returncode == 2
    assert "step-000003: error[short-step]: step 3 took the last 2 sequences" in done.stderr
    run.launch("--resume", "step-000002")
    assert equal(run.weights(), whole.weights()) and run.losses() == whole.losses()


@pytest.mark.slow
def test_another_base_of_the_same_size_is_found_out(compiled, tmp_path, tiny_model):
    from ftc.runtime.checkpoint import training_state
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_model, tmp_path / "mine")
    run = compiled(**{"model.base": '"mine"', "train.max_steps": "2"})
    run.launch()
    weights = load_file(tmp_path / "mine/model.safetensors")
    weights["model.norm.weight"] *= 1.1
    save_file(weights, tmp_path / "mine/model.safetensors", {"format": "pt"})
    run = compiled(**{"model.base": '"mine"', "train.max_steps": "4"})
    done = run.launch("--resume", "latest", check=False)
    assert done.returncode == 2
    assert "error[other-run]" in done.stderr
    assert "step-000002 is of another run: the weights of the base model changed" in done.stderr

    # A lock of an earlier version has no digests of weights: what the model answers says it.
    step = run.folder / "checkpoints/step-000002"
    then = json.loads((step / "ftc.lock").read_text())
    del then["facts"]["model"]["digests"]
    digests = json.loads((step / "digests.json").read_text())
    digests["ftc.lock"] = training_state._write(step / "ftc.lock", json.dumps(then).encode())
    (step / "digests.json").write_text(json.dumps(digests))
    done = run.launch("--resume", "latest", check=False)
    assert done.returncode == 2
    assert "step-000002: error[logits-differ]: with the weights of" in done.stderr


def test_a_run_may_be_moved(tmp_path, monkeypatch):
    """Data and base are told by their content; what is not there is not called changed."""
    from ftc.runtime.process import lock

    def put(folder, base, file, digest):
        facts = {
            "data": [{"group": "train", "file": file, "sha256": digest, "copied": False}],
            "model": {"folder": base, "sha256": "m"},
        }
        plan = {
            "model.folder": {"value": base, "changes": "new run"},
            "data.train[0].file": {"value": file, "changes": "", "identity": ""},
        }
        folder.mkdir()
        (folder / "ftc.lock").write_text(lock_text(plan=plan, facts=facts))
        return folder

    then = put(tmp_path / "then", "../tiny", "../rows.jsonl", "d")
    now = put(tmp_path / "now", "../../tiny", "../../rows.jsonl", "d")
    assert lock.differences(then, now) == []
    other = put(tmp_path / "other", "../../tiny", "../../rows.jsonl", "e")
    assert lock.differences(then, other) == ["the training data is other data"]
    assert lock.drift(now)[:2] == [
        "../../rows.jsonl is not there",
        "the base model in ../../tiny is not there",
    ]


def test_losses_of_other_validation_data_are_forgotten(compiled, tmp_path):
    """They can't be compared: an early stop or the best checkpoint would be decided by the change."""
    tiny.write_rows(tmp_path / "held_out.jsonl", 6, seed=1)
    source = '\n[[data.validation]]\nsource = "held_out.jsonl"\nformat = "messages"\n'
    keys = {"train.max_steps": "4", "train.save_every": "2", "train.eval_every": "2"}
    run = compiled(spec=SPEC + source, **keys)
    run.launch()
    losses = validated(run)
    assert list(losses) == [2, 4]
    shutil.rmtree(run.folder / "checkpoints/step-000004")
    tiny.write_rows(tmp_path / "held_out.jsonl", 6, seed=2)
    run = compiled(spec=SPEC + source, **keys)
    said = run.launch("--resume", "latest").stdout
    assert "The validation data changed: earlier losses don't count any more." in said
    state = json.loads((run.folder / "checkpoints/step-000004/state.json").read_text())
    assert [step for step, _ in state["validation_losses"]] == [4]
    assert validated(run)[4] != losses[4]


def validated(run) -> dict[int, float]:
    return {r["step"]: r["validation_loss"] for r in run.records() if "validation_loss" in r}
