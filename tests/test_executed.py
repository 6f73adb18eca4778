"""Run directories, executed: compiled from a spec, started as a user starts them, on a tiny model."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from .conftest import environ

pytestmark = pytest.mark.executed

NO_DROPOUT = {"method.dropout": "0.0"}
FULL = {"method.kind": '"full"', "method.rank": None, "method.dropout": None}
TWO = {"hardware.devices_per_node": "2"}

# The loss series of each method on the tiny model: what a change of ftc must not change unnoticed.
PINNED = {
    "lora": [5.809014, 5.725680, 5.587344, 5.534950, 5.493665, 5.501987],
    "full": [5.809014, 5.561071, 5.170342, 4.826031, 4.528151, 4.368660],
    "qlora": [5.811490, 5.729054, 5.592278, 5.539231, 5.498366, 5.503045],
}
NORMS = [1.099257, 1.391434, 1.468608, 0.987367, 0.738659, 0.586060]  # of lora's gradients
METHODS = {"lora": NO_DROPOUT, "full": FULL, "qlora": {"method.kind": '"qlora"', **NO_DROPOUT}}


@pytest.fixture(scope="module")
def exported(shared):
    """exported(method): a run that is trained and exported, and what convert.sh said."""
    made = {}

    def make(method):
        if method not in made:
            run = shared(method, **METHODS[method], **{"chat.max_new_tokens": "8"})
            run.launch()
            made[method] = run, run.bash("convert.sh").stdout
        return made[method]

    return make


# 14 steps over three epochs, warming up in half of them.
KEYS = {"train.max_steps": "14", "train.save_every": "1", "train.keep_checkpoints": "99"}
KEYS |= {"data.packing": "false", "optim.warmup_ratio": "0.5"}


@pytest.fixture(scope="module")
def whole(shared):
    """A run that nothing befell, with a checkpoint of each step."""
    run = shared("whole", **KEYS)
    run.launch()
    return run


@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_and_exports(exported, method):
    run, said = exported(method)
    assert run.losses() == pytest.approx(PINNED[method], rel=1e-4)
    assert "trained and re-loaded: largest difference" in said
    exported = {path.name for path in (run.folder / "export").iterdir()}
    assert exported == ({"merged"} if method == "full" else {"adapter", "merged"})
    template = (run.folder / "chat_template.jinja").read_text()
    assert (run.folder / "export/merged/chat_template.jinja").read_text() == template


@pytest.mark.slow
def test_an_adapter_is_not_merged_into_another_base(compiled, tmp_path, tiny_model):
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_model, tmp_path / "mine")
    run = compiled(**{"model.base": '"mine"', "train.max_steps": "1"})
    run.launch()
    weights = load_file(tmp_path / "mine/model.safetensors")
    weights["model.norm.weight"] *= 1.1
    save_file(weights, tmp_path / "mine/model.safetensors", {"format": "pt"})
    done = run.bash("convert.sh", check=False)
    assert done.returncode == 2 and "error[logits-differ]: in training and rebuilt" in done.stderr
    assert not (run.folder / "export/merged").exists()


@pytest.mark.parametrize(
    "method, stage",
    [
        pytest.param(m, s, marks=[] if (m, s) in (("full", 2),) else [pytest.mark.slow])
        for m in ("lora", "full")
        for s in (0, 1, 2, 3)
    ],
)
def test_two_processes_train_what_one_trains(compiled, alone, method, stage):
    run = compiled(**METHODS[method], **TWO, **{"parallel.zero_stage": str(stage)})
    run.launch()
    assert run.losses() == pytest.approx(alone(**METHODS[method]), rel=1e-5)
    run.bash("convert.sh")
    assert (run.folder / "export/merged/model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_qlora_in_two_processes(compiled, alone, stage):
    run = compiled(**METHODS["qlora"], **TWO, **{"parallel.zero_stage": str(stage)})
    if stage == 3:
        share_small_weights(run)
    run.launch()
    assert run.losses() == pytest.approx(alone(**METHODS["qlora"]), rel=1e-5)
    run.bash("convert.sh")


OFFLOAD = ("full", 1, False), ("full", 3, True), ("lora", 2, False), ("lora", 3, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, stage, parameters", [*OFFLOAD, ("qlora", 2, False), ("qlora", 3, True)]
)
def test_what_is_offloaded_trains_what_one_process_trains(
    compiled, alone, method, stage, parameters
):
    """Compiled for two GPUs, and started on the CPU, with gloo for nccl."""
    target = {"device": '"cuda"', "accelerator": '"A100-80G"', "devices_per_node": "2"}
    parallel = {"zero_stage": stage, "offload_optimizer": "true"}
    parallel |= {"offload_params": "true"} if parameters else {}
    run = compiled(
        **METHODS[method],
        **{f"hardware.{key}": value for key, value in target.items()},
        **{f"parallel.{key}": str(value) for key, value in parallel.items()},
        **{"model.dtype": '"float32"', "model.attention": '"segment_sdpa"'},
        **{"train.save_every": "3"},
    )
    script = (run.folder / "train.py").read_text()
    script = script.replace('"cuda"', '"cpu"')
    if method == "qlora":  # as the compiler writes for a CPU
        adapt, keep = "    config = LoraConfig", "    quantized.keep_layout(model)\n"
        assert adapt in script and "keep_layout" not in script
        script = script.replace(adapt, f"{keep}{adapt}").replace(
            "loaded\n", "loaded, quantized\n", 1
        )
    (run.folder / "train.py").write_text(script)
    if stage == 3:
        share_small_weights(run)
    run.launch()
    assert run.losses() == pytest.approx(alone(**METHODS[method]), rel=1e-5)
    weights = run.weights()
    run.launch("--resume", "step-000003")
    assert equal(run.weights(), weights)
    run.bash("convert.sh", "--device", "cpu")
    assert (run.folder / "export/merged/model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_swapped_changes_nothing_and_goes_on_without(compiled, method):
    """A checkpoint of the model with its faster parts goes on in the one without, and the other way."""
    plain, swapped = {"model.fused_kernels": '"none"'}, {"model.fused_kernels": '"auto"'}
    for name, first, then in (("a", plain, swapped), ("b", swapped, plain)):
        run = compiled(name, **METHODS[method], **first, **{"train.save_every": "3"})
        assert ('"onednn"' in (run.folder / "train.py").read_text()) == (first is swapped)
        run.launch()
        losses = run.losses()
        assert losses == pytest.approx(PINNED[method], rel=1e-4)
        shutil.rmtree(run.folder / "checkpoints/step-000006")
        run = compiled(name, **METHODS[method], **then, **{"train.save_every": "3"})
        run.launch("--resume", "latest")
        assert run.losses() == pytest.approx(losses, rel=1e-5)


def share_small_weights(run) -> None:
    """At stage 3, weights as small as the tiny model's would stay whole on each process."""
    path = run.folder / "ds_config.json"
    config = json.loads(path.read_text())
    config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("micro", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_the_split_into_micro_batches_changes_nothing(compiled, micro):
    run = compiled(**NO_DROPOUT, **{"train.micro_batch_size": str(micro)})
    run.launch()
    assert run.losses() == pytest.approx(PINNED["lora"], rel=1e-5)
    norms = [record["grad_norm"] for record in run.records() if "loss" in record]
    assert norms == pytest.approx(NORMS, rel=1e-4), "clipped, and told, by the step"


def equal(ours, theirs) -> bool:
    return ours.keys() == theirs.keys() and all(bool((ours[n] == theirs[n]).all()) for n in ours)


@pytest.mark.parametrize("stop", [pytest.param(4, marks=pytest.mark.slow), 8])
def test_resume_is_exact(compiled, whole, stop):
    """14 steps = 4 + 10 = 8 + 6 to the last bit: with dropout, in and after warm-up, across epochs, unpacked."""
    part = compiled("part", **KEYS)
    name = f"checkpoints/step-{stop:06d}"
    shutil.copytree(whole.folder / name, part.folder / name)
    part.launch("--resume", "latest")
    assert equal(part.weights(), whole.weights())
    assert part.losses() == whole.losses()[stop:]


def test_resume_after_kill(compiled, whole):
    """A run killed at any moment has whole checkpoints only, and goes on from the newest: here in warm-up."""
    killed = compiled("killed", **KEYS)
    command = ["bash", str(killed.folder / "launch.sh")]
    process = subprocess.Popen(
        command, env=environ(), start_new_session=True, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((killed.folder / "checkpoints").glob("step-00000[3-9]")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    refused = killed.launch(check=False)
    assert refused.returncode == 2 and "--resume latest" in refused.stderr
    killed.launch("--resume", "latest")
    assert equal(killed.weights(), whole.weights())
    assert killed.losses() == whole.losses()
    assert [r["step"] for r in killed.records() if "loss" in r] == list(range(1, 15))


def test_resume_says_what_is_wrong(compiled):
    run = compiled()
    done = run.launch("--resume", "checkpoints/step-000003", check=False)
    assert done.returncode == 2
    assert "error[no-checkpoint]" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_start_over_keeps_what_was_there(compiled):
    run = compiled(**{"train.max_steps": "1"})
    run.launch()
    run.launch("--start-over")
    assert (run.folder / "previous/1/checkpoints/step-000001").is_dir()
    assert (run.folder / "checkpoints/step-000001").is_dir()


def test_drift_is_refused_and_edits_are_named(compiled):
    run = compiled(**{"train.max_steps": "1"})
    script = run.folder / "train.py"
    script.write_text(script.read_text() + "\n# mine\n")
    rows = run.folder / "data/rows.jsonl"
    rows.write_text(rows.read_text().replace("model", "modem", 1))
    refused = run.launch(check=False)
    assert refused.returncode == 2
    assert "ftc.lock: error[drift]: data/rows.jsonl changed" in refused.stderr
    done = run.launch("--allow-drift")
    assert "Edited since it was generated: train.py." in done.stdout
    assert "A step: 1 rank x 2 a micro-batch x 4 accumulated = 8 sequences." in done.stdout
    start = run.records()[0]
    assert start["allow_drift"] is True and list(start["edited"]) == ["train.py"]
    config = json.loads((run.folder / "ds_config.json").read_text())
    config |= {"gradient_accumulation_steps": 2, "train_batch_size": 4}
    (run.folder / "ds_config.json").write_text(json.dumps(config))
    refused = run.launch("--allow-drift", "--start-over", check=False)
    assert refused.returncode == 2
    assert "error[other-batch]: gradient_accumulation_steps is 2 here, and 4 in train.py" in (
        refused.stderr
    )


def test_a_package_that_is_missing_is_told_before_anything_is_loaded(compiled):
    run = compiled()
    file = run.folder / "requirements.txt"
    file.write_text(file.read_text() + "no-such-package==1.0\nother @ https://example.org/x.whl\n")
    refused = run.launch(check=False)
    assert refused.returncode == 2
    assert "requirements.txt: error[not-installed]: this environment has no no-such-package" in (
        refused.stderr
    )


def test_evaluation_and_samples_change_nothing(compiled):
    keys = {"data.validation_fraction": "0.2"}
    plain = compiled("plain", **keys, **{"train.eval_every": "100"})
    plain.launch()
    watched = compiled(
        "watched",
        **keys,
        **{"train.eval_every": "2", "samples.prompts": '["read"]', "samples.every": "2"},
        **{"samples.max_new_tokens": "4", "samples.at_checkpoints": "true"},
        **{"train.save_every": "3"},
    )
    watched.launch()
    assert watched.losses() == plain.losses()
    assert equal(watched.weights(), plain.weights())
    values = [r["validation_loss"] for r in watched.records() if "validation_loss" in r]
    assert len(values) == 3
    assert (
        values[-1] == next(r for r in plain.records() if "validation_loss" in r)["validation_loss"]
    )
    lines = (watched.folder / "logs/samples.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 2, 3, 4, 6]


def test_validation_in_two_processes_counts_each_row_once(compiled):
    keys = {**NO_DROPOUT, "data.validation_fraction": "0.15", "train.max_steps": "2"}  # 3 sequences
    values = []
    for name, more in (("one", {}), ("two", {**TWO, "parallel.zero_stage": "3"})):
        run = compiled(name, **keys, **more)
        run.launch()
        values += [r["validation_loss"] for r in run.records() if "validation_loss" in r]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_a_bad_row_is_named(compiled, tmp_path):
    run = compiled(**{"data.on_overlong": '"error"', "model.max_seq_length": "24"})
    done = run.launch(check=False)
    assert done.returncode == 2
    assert "data/rows.jsonl:" in done.stderr and "error[overlong-row]" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_row_is_seen_once_an_epoch(compiled):
    """The last step of the last epoch is short, never dropped: tokens and epochs add up."""
    run = compiled(**{"train.max_steps": None, "train.num_epochs": "3", "data.packing": "false"})
    run.launch()
    steps = [r for r in run.records() if "loss" in r]
    ledger = json.loads((run.folder / "logs/data.json").read_text())[0]
    assert sum(step["samples"] for step in steps) == 3 * ledger["samples"]
    assert sum(step["tokens"] for step in steps) == 3 * ledger["tokens"]
    assert sum(step["supervised_tokens"] for step in steps) == 3 * ledger["supervised_tokens"]
    assert steps[-1]["epoch"] == 3.0


def test_chat_answers_once_and_from_a_pipe(compiled, exported):
    run, _ = exported("lora")

    def chat(*arguments, text=None, run=run):
        return subprocess.run(
            ["python", str(run.folder / "chat.py"), *arguments],
            input=text,
            env=environ(),
            text=True,
            capture_output=True,
        )

    early = chat("--merged", "--prompt", "read", run=compiled())
    assert early.returncode == 2 and "run bash convert.sh first" in early.stderr
    merged = chat("--merged", "--prompt", "Who are you?")
    assert merged.returncode == 0 and merged.stdout.strip(), "an answer, not its end alone"
    assert chat("--adapter", text="Who are you?").stdout == merged.stdout


def test_another_run_is_not_gone_on_with(compiled, whole):
    run = compiled(**KEYS)
    shutil.copytree(whole.folder / "logs", run.folder / "logs")
    name = "checkpoints/step-000014"
    shutil.copytree(whole.folder / name, run.folder / name)
    other = compiled(**KEYS, **{"method.rank": "8", "method.dropout": "0.0"})
    refused = other.launch("--resume", "latest", check=False)
    assert refused.returncode == 2
    assert "ftc.lock: error[other-run]: checkpoints/step-000014 is of another run" in refused.stderr
    assert "method.lora.rank was 4 and is 8" in refused.stderr
    assert "method.lora.dropout was 0.1 and is 0.0" in refused.stderr
    longer = compiled(**KEYS | {"train.max_steps": "16", "optim.lr_scheduler": '"linear"'})
    longer.launch("--resume", "latest")
    assert [r["step"] for r in longer.records() if "loss" in r] == list(range(1, 17))


def test_a_vendored_run_needs_no_ftc(compiled, tmp_path):
    """In an environment that has every package but ftc; an edit of the runtime is named, not refused."""
    run = compiled(
        vendor_runtime="true",
        deterministic="true",
        **{"train.max_steps": "2", "optim.warmup_ratio": "0.0"},
    )
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (site,) = (tmp_path / "bare").glob("lib/python3*/site-packages")
    packages = [path for path in sys.path if path.endswith("-packages")]
    (site / "packages.pth").write_text(
        "\n".join(packages)
    )  # its own .pth files, ftc's, are not read
    python = str(tmp_path / "bare/bin/python")
    bare = {"PATH": f"{tmp_path / 'bare/bin'}{os.pathsep}{os.environ['PATH']}"}
    missing = subprocess.run([python, "-c", "import ftc.runtime"], cwd=tmp_path, check=False)
    assert missing.returncode != 0
    with (run.folder / "ftc/runtime/train/metrics.py").open("a") as file:
        file.write("# mine\n")
    done = run.launch(**bare)
    assert "Edited since it was generated: ftc/runtime/train/metrics.py." in done.stdout
    assert len(run.losses()) == 2
    assert "largest difference" in run.bash("convert.sh", **bare).stdout


def test_a_mixture_trains_each_sample_as_often_as_it_weighs(compiled):
    keys = {"train.max_steps": None, "train.num_epochs": "2", "data.packing": "false"}
    keys |= {"data.group_by_length": "true", "data.train.weight": "1.5", **NO_DROPOUT}
    run = compiled(**keys, **{"data.max_dropped_fraction": "0.5"})
    said = run.launch().stdout
    assert "data/rows.jsonl: tokenized in" in said or "tokens from cache" in said
    steps = [r for r in run.records() if "loss" in r]
    ledger = json.loads((run.folder / "logs/data.json").read_text())[0]
    assert len(steps) == math.ceil(2 * round(1.5 * ledger["samples"]) / 8)
    assert 2.5 < sum(step["tokens"] for step in steps) / ledger["tokens"] < 3.5
    two = compiled("two", **keys, **TWO)
    two.launch()
    assert two.losses() == pytest.approx(run.losses(), rel=1e-5)
