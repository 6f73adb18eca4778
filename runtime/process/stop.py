"""Stopping on request: SIGTERM, or SIGUSR1 (which Slurm's --signal sends ahead of the time limit).

The current step is finished and saved, and the run ends with the exit code 75 (EX_TEMPFAIL of sysexits.h:
try again later), so that a queue can tell it from a failure. launch.sh passes the signal on to every
process; a second one stops at once.
"""

import ctypes
import os
import signal
import sys
from typing import Any

from . import distributed

EXIT_STOPPED = 75
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
RESUME = "bash launch.sh --resume latest"


class Stopped(BaseException):
    """The run ends here as it was asked to; `step` steps are saved."""

    def __init__(self, step: int) -> None:
        super().__init__(f"Stopped after {step} steps, which are saved. To go on: {RESUME}")


class _Request:
    """`received`: a signal came. `heeded`: the loop runs, and looks for it after each step."""

    received = False
    heeded = False


def listen() -> None:
    """From now on the signals are requests. Before the first step there is nothing to save."""

    def receive(number: int, frame: Any) -> None:
        _Request.received = True
        if not _Request.heeded:
            os._exit(EXIT_STOPPED)

    for number in SIGNALS:
        signal.signal(number, receive)
    signal.signal(signal.SIGUSR2, signal.default_int_handler)  # how torchrun.py passes on Ctrl-C


def heed() -> None:
    """From now on the loop asks after each step whether to stop."""
    _Request.heeded = True


def received() -> bool:
    """Did this process get a signal?"""
    return _Request.received


def asked() -> bool:
    """Did any process get a signal? All ranks call it after the same step and get the same answer."""
    return bool(distributed.total([_Request.received])[0])


def end_with_parent(parent: int) -> None:
    """Linux kills this process when its parent is gone; without that, it would work on alone, unseen.

    No kill of a process group reaches it: torchrun gives each of its processes a session. `parent` is the
    process that started this one; it may be gone by now, as importing takes seconds.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)
