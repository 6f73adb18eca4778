"""Two nodes, as two network namespaces of this machine joined by a cable (veth), with gloo."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from .conftest import environ
from .test_executed import NO_DROPOUT, equal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(not shutil.which("ip"), reason="needs ip (iproute2)"),
]

NODES = {"hardware.nodes": "2", "hardware.devices_per_node": "1"}


def ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)


@pytest.fixture
def nodes():
    """The names of two namespaces; their addresses are 10.77.0.1 and 10.77.0.2."""
    names = [f"ftc{os.getpid()}n{number}" for number in (0, 1)]
    try:
        for name in names:
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            "ftc0",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "ftc1",
            "netns",
            names[1],
        )
        for number, name in enumerate(names):
            ip("-n", name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", f"ftc{number}")
            for link in ("lo", f"ftc{number}"):
                ip("-n", name, "link", "set", link, "up")
        yield names
    finally:
        for name in names:
            ip("netns", "del", name, check=False)


def start(run, name: str, number: int, *arguments: str) -> subprocess.Popen:
    """Starts launch.sh on a node; gloo is told which of its cables to use."""
    return subprocess.Popen(
        ["ip", "netns", "exec", name, "bash", str(run.folder / "launch.sh"), *arguments],
        env=environ(
            NODE_RANK=str(number), MASTER_ADDR="10.77.0.1", GLOO_SOCKET_IFNAME=f"ftc{number}"
        ),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(processes: list[subprocess.Popen]) -> list[str]:
    said = ["\n".join(process.communicate(timeout=300)) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return said


def test_two_nodes_train_what_one_trains(compiled, alone, nodes):
    """And they go on from their checkpoint."""
    run = compiled(**NO_DROPOUT, **NODES)
    finish([start(run, name, number) for number, name in enumerate(nodes)])
    assert run.losses() == pytest.approx(alone(**NO_DROPOUT), rel=1e-5)
    again = compiled(**NO_DROPOUT, **NODES, **{"train.max_steps": "8"})
    finish([start(again, name, n, "--resume", "latest") for n, name in enumerate(nodes)])
    assert [r["step"] for r in again.records() if "loss" in r] == list(range(1, 9))


def test_a_node_that_dies_takes_the_other_down(compiled, nodes):
    keys = {**NODES, "train.max_steps": "60", "train.save_every": "2"}
    run = compiled(**keys)
    processes = [start(run, name, number) for number, name in enumerate(nodes)]
    log, deadline = run.folder / "logs/metrics.jsonl", time.monotonic() + 240
    while not (log.exists() and '"step": 3,' in log.read_text()):
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    inside = subprocess.run(["ip", "netns", "pids", nodes[1]], capture_output=True, text=True)
    for pid in inside.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    killed = time.monotonic()
    _, error = processes[0].communicate(timeout=60)
    assert time.monotonic() - killed < 60
    assert processes[0].returncode == 2, error
    assert "error[peer-lost]: rank 0 lost another process" in error and "Traceback" not in error
    processes[1].communicate()
    finish([start(run, name, number, "--resume", "latest") for number, name in enumerate(nodes)])
    whole = compiled("whole", **keys)
    finish([start(whole, name, number) for number, name in enumerate(nodes)])
    assert equal(run.weights(), whole.weights())
    assert run.losses() == whole.losses()
