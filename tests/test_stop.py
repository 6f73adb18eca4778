"""How a run ends before its end: on request, by a death, by a loss, for want of memory."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import environ
from .test_executed import NO_DROPOUT, TWO, equal

pytestmark = pytest.mark.executed

LONG = {"train.max_steps": "400", "train.save_every": "1000"}


def begin(run, *arguments: str) -> subprocess.Popen:
    """Starts a run and waits until it has trained a few steps."""
    process = subprocess.Popen(
        ["bash", str(run.folder / "launch.sh"), *arguments],
        env=environ(),
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(run, process, 3)
    return process


def wait_for(run, process, step: int) -> None:
    log, deadline = run.folder / "logs/metrics.jsonl", time.monotonic() + 240
    while not (log.exists() and f'"step": {step},' in log.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def edit(run, old: str, new: str) -> None:
    """Edits train.py, as a user may."""
    script = run.folder / "train.py"
    text = script.read_text()
    assert old in text
    script.write_text(text.replace(old, new, 1))


# What the runs share that are compared with one that nothing befell: rows of their own, 4 micro-batches a rank.
FORTY = {"train.max_steps": "40", "data.packing": "false", "train.micro_batch_size": "1"}


@pytest.fixture(scope="module")
def whole(shared):
    """whole(processes): a run of FORTY that nothing befell."""
    made = {}

    def make(processes):
        key = tuple(processes)
        if key not in made:
            made[key] = shared(f"whole{len(key)}", **LONG | FORTY, **processes)
            made[key].launch()
        return made[key]

    return make


STARTING = """
import time
from pathlib import Path

Path("importing").touch()
time.sleep(2)

from ftc.runtime.train import launch


def main(options):
    Path("running").touch()
    time.sleep(60)


launch.run(main)
"""


def starting(run, moment: str, **environment: str) -> subprocess.Popen:
    """Starts a run whose train.py only starts, and waits for a moment of that."""
    (run.folder / "train.py").write_text(STARTING)
    process = subprocess.Popen(
        ["bash", str(run.folder / "launch.sh"), "--allow-drift"],
        env={**environ(), **environment},
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not (run.folder / moment).exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    return process


MOMENTS = ("checking", "launching", "importing", "running")
QUICK = ("checking", "importing")


@pytest.mark.parametrize(
    "number, moment",
    [
        pytest.param(n, m, marks=[] if n == signal.SIGINT and m in QUICK else pytest.mark.slow)
        for n in (signal.SIGINT, signal.SIGTERM)
        for m in MOMENTS
    ],
)
def test_a_run_that_starts_is_stopped_in_a_sentence(compiled, tmp_path, number, moment):
    run, more = compiled(), {}
    if moment == "checking":  # launch.sh asks for a python, which takes its time
        (tmp_path / "bin").mkdir()
        script = f'#!/bin/sh\ntouch "{run.folder}/checking"\nsleep 1\n'
        (tmp_path / "bin/python").write_text(script)
        (tmp_path / "bin/python").chmod(0o755)
        more = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    process = starting(run, "." if moment == "launching" else moment, **more)
    if moment == "launching":  # torchrun imports torch
        while b"torchrun" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.02)
        time.sleep(0.8)
    os.killpg(process.pid, number)
    asked = time.monotonic()
    said, error = process.communicate(timeout=30)
    assert "Traceback" not in said + error and time.monotonic() < asked + 5
    code, text = (130, "Stopped by Ctrl-C.") if number == signal.SIGINT else (75, "(exit code 75).")
    assert process.returncode == code and text in error.splitlines()[-1]


@pytest.mark.slow
def test_no_process_outlives_its_launcher_nor_dies_with_the_terminal(compiled):
    """As nohup starts it: a hang-up is ignored. Killed while train.py imports, which takes seconds."""
    run = compiled()
    ignore = "trap '' HUP; exec bash "
    (run.folder / "launch.sh").rename(run.folder / "begin.sh")
    (run.folder / "launch.sh").write_text(f'{ignore} {run.folder}/begin.sh "$@"\n')
    process = starting(run, "importing")
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.kill()
    time.sleep(6)
    assert not (run.folder / "running").exists()


@pytest.mark.parametrize(
    "number, processes",
    [
        pytest.param(signal.SIGTERM, {}, marks=pytest.mark.slow),
        (signal.SIGUSR1, TWO),
        pytest.param(signal.SIGTERM, TWO, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, {}, marks=pytest.mark.slow),
    ],
)
def test_a_request_to_stop_saves_and_is_gone_on_from(compiled, whole, number, processes):
    run = compiled(**LONG | FORTY, **processes)
    process = begin(run)
    process.send_signal(number)
    said, error = process.communicate(timeout=120)
    assert process.returncode == 75, error
    assert "To go on: bash launch.sh --resume latest" in said
    assert f"Stopped by {number.name} (exit code 75)." in error and "Traceback" not in error
    steps = [r["step"] for r in run.records() if "loss" in r]
    assert f"Stopped after {steps[-1]} steps, which are saved." in said
    assert (run.folder / f"checkpoints/step-{steps[-1]:06d}/digests.json").is_file()
    run.launch("--resume", "latest")
    assert run.losses() == whole(processes).losses()
    assert equal(run.weights(), whole(processes).weights())


def test_a_second_request_stops_at_once(compiled):
    run = compiled(**LONG)
    edit(
        run,
        "        stopping = stop.asked()",
        "        import time; time.sleep(step and 60)\n        stopping = stop.asked()",
    )
    process = subprocess.Popen(
        ["bash", str(run.folder / "launch.sh")], env=environ(), text=True, stderr=subprocess.PIPE
    )
    wait_for(run, process, 2)
    process.send_signal(signal.SIGTERM)
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM
    assert "a second signal stops at once" in error and "Stopped at once." in error
    assert not list((run.folder / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_rank_that_dies_takes_the_other_down(compiled, rank):
    run = compiled(**LONG, **TWO)
    edit(
        run,
        "        last = step",
        f"        if step == 3 and rank == {rank}:\n"
        "            import os; os.kill(os.getpid(), 9)\n        last = step",
    )
    started = time.monotonic()
    done = run.launch(check=False)
    assert done.returncode == 128 + signal.SIGKILL
    assert f"train.py stopped: rank {rank} ended with code 137: it was killed" in done.stderr
    assert "Traceback" not in done.stderr
    records = (run.folder / "logs/metrics.jsonl").stat()
    assert time.time() - records.st_mtime < 60, time.monotonic() - started


def test_a_loss_that_is_no_number_names_its_row_and_harms_nothing(compiled, whole):
    run = compiled(**FORTY, **TWO, **{"train.save_every": "2"})
    edit(
        run,
        "            engine.backward(",
        "            if step == 2 and rank == 1 and loss > 0:\n"
        "                import math; loss_sum = loss_sum * math.nan\n"
        "            engine.backward(",
    )
    done = run.launch(check=False)
    assert done.returncode == 2
    assert "step 3: error[loss-not-finite]" in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("loss-not-finite") == 1
    assert done.stderr.count("data/rows.jsonl:") == 1  # a micro-batch of one row
    assert "The weights are still those of step 2" in done.stderr
    assert run.losses() == whole(TWO).losses()[:2]
    edit(run, "if step == 2 and", "if False and")
    run.launch("--resume", "latest")
    assert run.losses() == whole(TWO).losses()
    assert equal(run.weights(), whole(TWO).weights())


@pytest.mark.slow
def test_the_named_row_is_the_one(compiled):
    """A row with a token that turns the loss into no number, in a step of many rows."""
    run = compiled(
        **NO_DROPOUT,
        **{"data.packing": "false", "train.micro_batch_size": "1", "train.max_steps": "5"},
    )
    rows = run.folder / "data/rows.jsonl"
    lines = rows.read_text().splitlines()
    lines[16] = (
        '{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "ZQZ"}]}'
    )
    rows.write_text("\n".join(lines) + "\n")
    edit(
        run,
        "            engine.backward(",
        "            if 'ZQZ' in tokenizer.decode(micro_batch.targets):\n"
        "                loss_sum = loss_sum / 0\n"
        "            engine.backward(",
    )
    done = run.launch("--allow-drift", check=False)
    assert done.returncode == 2
    assert "the rows of its micro-batch: data/rows.jsonl:17. The weights" in done.stderr


@pytest.mark.parametrize("limit", ["1.0", pytest.param("0.0", marks=pytest.mark.slow)])
def test_a_gradient_that_is_no_number_stops_before_it_is_saved(compiled, limit):
    """Whether it is clipped or not."""
    run = compiled(**{"train.save_every": "1", "optim.max_grad_norm": limit})
    edit(
        run,
        "            guard.check(",
        "            if step == 2:\n                trained[0].grad.fill_(float('inf'))\n            guard.check(",
    )
    done = run.launch(check=False)
    assert done.returncode == 2
    assert "step 3: error[gradient-not-finite]" in done.stderr
    assert "The step's rows: data/rows.jsonl:" in done.stderr
    assert "checkpoints/step-000002" in done.stderr
    assert not (run.folder / "checkpoints/step-000003").exists()


def test_a_jump_of_the_loss_is_written_down_with_its_rows(compiled):
    run = compiled(**NO_DROPOUT, **{"train.max_steps": "16"})
    edit(
        run,
        "            guard.check(",
        "            loss += (step == 14) * 20 / len(batch.micro_batches)\n            guard.check(",
    )
    done = run.launch()
    (spike,) = [r for r in run.records() if "loss_spike" in r]
    assert spike["step"] == 15 and spike["loss_spike"] > 20 > spike["mean_before"]
    assert all(row.startswith("data/rows.jsonl:") for row in spike["rows"])
    assert "Step 15: the loss jumped to" in done.stdout


def test_full_memory_says_what_to_lower_first(compiled):
    run = compiled()
    edit(
        run,
        "            engine.backward(",
        "            if step == 2:\n"
        "                raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')\n"
        "            engine.backward(",
    )
    done = run.launch(check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (
        "step 3: error[out-of-memory]: CUDA out of memory. Tried to allocate 2.00 GiB."
        in done.stderr
    )
    hints = [line for line in done.stderr.splitlines() if "hint:" in line]
    assert "set train.micro_batch_size to 1 (it is 2)" in hints[0]
    assert "set model.gradient_checkpointing = true" in hints[1]
    assert "lower model.max_seq_length (it is 96)" in hints[2]
    big = compiled("big")
    edit(
        big,
        "            engine.backward(",
        "            torch.empty(1 << 48)\n            engine.backward(",
    )
    done = big.launch(check=False)
    assert "error[out-of-memory]" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_hung_step_is_reported_with_its_stacks(compiled):
    run = compiled(**{"train.max_steps": "3"})
    edit(
        run,
        "def main(options):",
        "def dawdle():\n    import time\n    time.sleep(9)\n\n\nguards.HUNG_AFTER = 4\n\n\ndef main(options):",
    )
    edit(
        run,
        "            guard.check(",
        "            if step == 2:\n"
        "                guard.longest = 0\n"
        "                dawdle()\n"
        "            guard.check(",
    )
    done = run.launch()
    assert "rank 0: nothing has moved for" in done.stderr
    assert "in dawdle" in done.stderr
    report = (run.folder / "logs/hung-rank-0.txt").read_text()
    assert "in dawdle" in report and "data/rows.jsonl:" in report


def test_uneven_data_hangs_no_rank(compiled):
    """Two processes; a last step with a single sequence, so that one of them has none."""
    keys = {**NO_DROPOUT, "train.max_steps": None, "train.num_epochs": "1", "data.packing": "false"}
    keys |= {"data.train.max_samples": "33"}
    losses = []
    for name, more in (("one", {}), ("two", TWO)):
        run = compiled(name, **keys, **more)
        losses.append(run.launch() and run.losses())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
