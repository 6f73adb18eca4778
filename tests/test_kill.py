"""kill -9 at random moments of a run, also inside a save: the end is the same to the last bit."""

import os
import random
import signal
import subprocess
import time

import pytest

from . import tiny
from .conftest import SPEC, environ
from .test_executed import equal

pytestmark = pytest.mark.slow

# With dropout, packing and two sources mixed by weight, over several epochs, unfinished warm-up; a save after
# every step.
KEYS = {"train.max_steps": "200", "train.save_every": "1", "train.keep_checkpoints": "2"}


SECOND = '\n[[data.train]]\nsource = "more.jsonl"\nformat = "messages"\nweight = 0.5\n'


def test_twenty_kills_change_no_bit(compiled, tmp_path):
    chance, within_a_save = random.Random(20), 0
    tiny.write_rows(tmp_path / "more.jsonl", 15, seed=3)
    whole, killed = (compiled(name, SPEC + SECOND, **KEYS) for name in ("whole", "killed"))
    whole.launch()
    log, kills = killed.folder / "logs/metrics.jsonl", 0
    while kills < 20:
        before = log.read_text().count("\n") if log.exists() else 0
        process = subprocess.Popen(
            ["bash", str(killed.folder / "launch.sh"), "--resume", "latest"],
            env=environ(),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 240
        goal = before + 1 + chance.randint(1, 2)  # the line that opens a start, and some steps
        early = time.monotonic() + chance.uniform(0, 10)  # one in five is killed while it starts
        while _lines(log) < goal and not (kills % 5 == 4 and time.monotonic() > early):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(chance.random() * 0.15)  # a step with its save takes about so long
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        within_a_save += (killed.folder / "checkpoints/.saving").exists()
        kills += 1
    assert within_a_save, "some of them hit a save"
    killed.launch("--resume", "latest")
    assert equal(killed.weights(), whole.weights())
    assert killed.losses() == whole.losses()
    assert len(killed.losses()) == 200


def _lines(log) -> int:
    return log.read_text().count("\n") if log.exists() else 0
