"""Where the nodes of a run meet: torchrun's store on node 0, waited for in sight and within a time.

torchrun waits inside a call of C++, in silence, for ten minutes, and hears no signal. Here the waiting is done
before, in steps of a second; when torchrun opens its store, everybody is there.
"""

import os
import re
import socket
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ..errors import RunError

PORT = 29500  # torchrun's own
QUIET, AGAIN = 3.0, 60.0  # seconds before the first word of waiting, and until it is said again
MINUTES = 15.0  # until it is given up; $RENDEZVOUS_MINUTES changes it
SILENT = 5.0  # seconds after which a node that came counts as gone
ANSWER = timedelta(seconds=10)  # for one question to node 0
HOSTS = re.compile(
    r"([^\[,]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?"
)  # the first of a Slurm list of nodes


def whereabouts(environment: Mapping[str, str], nodes: int) -> tuple[int, str, int]:
    """This node's number, the address of node 0 and its port: as set, or as Slurm has them.

    Raises RunError for a number or an address that is missing or wrong.
    """
    slurm = {
        "NODE_RANK": environment.get("SLURM_NODEID") or environment.get("SLURM_PROCID", ""),
        "MASTER_ADDR": _first(
            environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
        ),
        "MASTER_PORT": str(PORT),
    }
    found = {name: environment.get(name, "").strip() or other for name, other in slurm.items()}
    number, port = found["NODE_RANK"], found["MASTER_PORT"]
    if not (number.isdecimal() and int(number) < nodes):
        given = f"it is {number!r:.40}" if number else "neither it nor SLURM_NODEID is set"
        last = nodes - 1
        raise RunError(
            "bad-node",
            f"NODE_RANK must be the number of this node, 0 to {last}; {given}",
            f"NODE_RANK=0 MASTER_ADDR=ADDRESS bash launch.sh on one node, NODE_RANK=1 on the next, to {last}",
            where="launch.sh",
        )
    if not found["MASTER_ADDR"]:
        raise RunError(
            "bad-node",
            "MASTER_ADDR, the address of node 0, is not set, and there is no Slurm that knows it",
            "MASTER_ADDR=ADDRESS: an address or name of node 0 that all nodes can reach",
            where="launch.sh",
        )
    if not (port.isdecimal() and 0 < int(port) < 65536):
        raise RunError(
            "bad-node",
            f"MASTER_PORT must be a port, 1 to 65535; it is {port!r:.40}",
            f"leave it out: it is {PORT} then",
            where="launch.sh",
        )
    return int(number), found["MASTER_ADDR"], int(port)


def meet(nodes: int, number: int, address: str, port: int) -> Any:
    """Waits until every node is at node 0's store, and returns it: as long as it is held, it is open.

    Says within seconds who is missing. Raises RunError when they do not come in time, or node 0 can't
    listen. A signal is heard at once.
    """
    began, said, store = time.monotonic(), 0.0, None
    minutes = _minutes()
    signs: dict[int, tuple[bytes, float]] = {}  # each node's last sign of life, and when it was new
    while True:
        waited = time.monotonic() - began
        try:
            store = store or _open(number, address, port)
            store.set(f"node/{number}", str(waited))
            missing = [n for n in range(nodes) if n != number and not _alive(store, n, signs)]
            if number == 0 and not missing:
                store.set("all", "here")
            together = store.check(["all"])
        except (OSError, RuntimeError) as error:  # DistError is a RuntimeError
            if number == 0:
                raise _no_port(address, port, error) from None
            store, missing, together = None, [0], False
        if together:
            if said:
                print(f"All {nodes} nodes are here.", file=sys.stderr, flush=True)
            return store
        here = nodes - len(missing) if store else 1
        text = f"{_listed(missing or [0])} ({here} of {nodes} nodes here; they meet at {address}:{port})"
        if waited > minutes * 60:
            raise RunError(
                "node-missing",
                f"waited {minutes:g} minutes for {text}",
                f"start launch.sh on every node, each with its own NODE_RANK; this one has {number}",
                f"see that every node reaches {address}, and that nothing blocks port {port}",
                "RENDEZVOUS_MINUTES=60 waits longer",
                where="launch.sh",
            )
        if waited > (said + AGAIN if said else QUIET):
            said = waited
            until = f"; gives up after {minutes:g} minutes"
            print(f"Node {number} waits for {text}{until}.", file=sys.stderr, flush=True)
        time.sleep(min(1.0, max(0.05, minutes * 60 / 10)))


def _open(number: int, address: str, port: int) -> Any:
    """Node 0's store, which torchrun opens again by the same port; any other node's way to it."""
    from torch.distributed import TCPStore

    if number:
        # Python's own attempt is heard by signals, and ends soon; the store's would be neither.
        socket.create_connection((address, port), timeout=2).close()
    return TCPStore(
        address,
        port,
        is_master=number == 0,
        timeout=ANSWER,
        wait_for_workers=False,
        multi_tenant=True,
    )


def _alive(store: Any, node: int, signs: dict[int, tuple[bytes, float]]) -> bool:
    """Whether a node said something within the last seconds: one that came may have been stopped since."""
    if not store.check([f"node/{node}"]):
        return False
    sign, now = store.get(f"node/{node}"), time.monotonic()
    if node not in signs or signs[node][0] != sign:
        signs[node] = (sign, now)
    return now - signs[node][1] < SILENT


def _no_port(address: str, port: int, error: Exception) -> RunError:
    return RunError(
        "bad-node",
        f"node 0 can't listen on port {port}: {str(error).splitlines()[0][:200]}",
        "end what uses it (ss -ltnp), or set MASTER_PORT to another one on every node",
        f"this is node 0 by its NODE_RANK; {address} must be an address of this machine",
        where="launch.sh",
    )


def _minutes() -> float:
    given = os.environ.get("RENDEZVOUS_MINUTES", "").strip()
    try:
        minutes = float(given or MINUTES)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 1e6:
        raise RunError(
            "bad-node",
            f"RENDEZVOUS_MINUTES must be a number above 0; it is {given!r:.40}",
            f"leave it out: it is {MINUTES:g} then",
            where="launch.sh",
        )
    return minutes


def _first(nodes: str) -> str:
    """The first of Slurm's list: node[01-04,7],other -> node01."""
    found = HOSTS.match(nodes)
    if not found:
        return ""
    prefix, number, suffix = found.groups(default="")
    return prefix + number.partition(",")[0] + suffix


def _listed(missing: list[int]) -> str:
    numbers = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
    return f"node {numbers}" if len(missing) == 1 else f"nodes {numbers}"
