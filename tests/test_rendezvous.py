"""Nodes that wait for each other: what they say, how they end, and how they find each other."""

import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from ftc.runtime.errors import RunError
from ftc.runtime.process.rendezvous import whereabouts

from .conftest import environ

SCRIPT = "import os; print('rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'])"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def start(tmp_path):
    """start(nodes, **environment): a node's launcher on a script that says its rank."""
    (tmp_path / "train.py").write_text(SCRIPT)
    started = []

    def begin(nodes: int, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "ftc.runtime.torchrun", "--nnodes", str(nodes)]
        process = subprocess.Popen(
            [*command, "--nproc-per-node", "1", "train.py"],
            cwd=tmp_path,
            env=environ(MASTER_ADDR="127.0.0.1", **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen) -> str:
    return process.stdout.readline()


@pytest.mark.executed
def test_nodes_say_whom_they_wait_for_and_then_train(start):
    port = str(free_port())
    late = start(3, SLURM_NODEID="1", MASTER_PORT=port)
    assert re.match(rf"Node 1 waits for node 0 \(1 of 3 .*127\.0\.0\.1:{port}\)", first_line(late))
    first = start(3, NODE_RANK="0", MASTER_PORT=port)
    assert "Node 0 waits for node 2 (2 of 3" in (said := first_line(first)), said
    last = start(3, NODE_RANK="2", MASTER_PORT=port)
    for rank, process in enumerate((first, late, last)):
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0 and f"rank {rank} of 3" in said, said


@pytest.mark.executed
@pytest.mark.parametrize("number", ["0", "1"])
def test_a_node_that_waits_ends_when_it_is_told(start, number):
    for sign, code in ((signal.SIGTERM, 75), (signal.SIGINT, 130)):
        process = start(2, NODE_RANK=number, MASTER_PORT=str(free_port()))
        assert "waits for node" in first_line(process)
        began = time.monotonic()
        process.send_signal(sign)
        said, _ = process.communicate(timeout=10)
        assert process.returncode == code and time.monotonic() - began < 3
        assert "Traceback" not in said


@pytest.mark.executed
@pytest.mark.slow
def test_a_node_that_came_and_went_is_missed_again(start):
    port = str(free_port())
    first = start(3, NODE_RANK="0", MASTER_PORT=port, RENDEZVOUS_MINUTES="0.5")
    gone = start(3, NODE_RANK="1", MASTER_PORT=port)
    assert "node 2" in first_line(gone)
    gone.send_signal(signal.SIGKILL)
    time.sleep(5)
    other = start(3, NODE_RANK="2", MASTER_PORT=port, RENDEZVOUS_MINUTES="0.5")
    said, _ = first.communicate(timeout=90)
    assert first.returncode == 2 and "error[node-missing]" in said
    assert "waited 0.5 minutes for node 1 (2 of 3" in said
    said, _ = other.communicate(timeout=90)
    assert other.returncode == 2 and "Traceback" not in said


@pytest.mark.executed
def test_it_gives_up_and_says_what_it_waited_for(start):
    port = free_port()
    process = start(2, NODE_RANK="1", MASTER_PORT=str(port), RENDEZVOUS_MINUTES="0.02")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and "Traceback" not in said
    assert "error[node-missing]: waited 0.02 minutes for node 0" in said
    with socket.socket() as taken:
        taken.bind(("", port))
        taken.listen()
        process = start(2, NODE_RANK="0", MASTER_PORT=str(port))
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and f"can't listen on port {port}" in said


def test_a_node_knows_where_it_is():
    slurm = {"SLURM_NODEID": "1", "SLURM_JOB_NODELIST": "gpu[07-09,12],other"}
    assert whereabouts(slurm, 2) == (1, "gpu07", 29500)
    set_apart = {"NODE_RANK": "0", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1234"}
    assert whereabouts({**slurm, **set_apart}, 2) == (0, "10.0.0.1", 1234)
    assert whereabouts({"SLURM_PROCID": "3", "MASTER_ADDR": "a"}, 4)[0] == 3
    for nodes, first in (
        ("a1", "a1"),
        ("a[3]", "a3"),
        ("a-[1,4]-b,c", "a-1-b"),
        ("x,y", "x"),
        ("n001,n[3-4]", "n001"),
    ):
        found = whereabouts({"NODE_RANK": "0", "SLURM_JOB_NODELIST": nodes}, 2)
        assert found[1] == first


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NODE_RANK": "0"},
        {"MASTER_ADDR": "a"},
        {"NODE_RANK": "2", "MASTER_ADDR": "a"},
        {"NODE_RANK": "-1", "MASTER_ADDR": "a"},
        {"NODE_RANK": "one", "MASTER_ADDR": "a"},
        {"NODE_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "99999"},
        {"NODE_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "x"},
    ],
)
def test_what_is_not_said_or_can_not_be_is_an_error(environment):
    with pytest.raises(RunError, match="bad-node"):
        whereabouts(environment, 2)
