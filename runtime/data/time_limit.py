"""A chat template comes with a model, and may loop for hours: rendering has limits of time, memory and size."""

import ctypes
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import RunError

T = TypeVar("T")
SECONDS = 10.0  # a row takes milliseconds
LARGEST = 100_000_000  # characters of a conversation
MEMORY = 4_000_000_000  # bytes by which the process may grow meanwhile
SINCE: dict[int, float] = {}  # when each thread that renders began
WATCHES: set[int] = set()  # processes with a watch: a fork takes no threads along


class TooLong(BaseException):
    """Raised in a thread whose rendering took too long; no Exception, so that nothing on the way keeps it."""


def within(work: Callable[[], T]) -> T:
    """What `work` returns. Raises RunError once it takes longer than SECONDS, or more than MEMORY.

    That is between two steps of the interpreter: see bounded.Bounded for what a single one may do.
    """
    thread = threading.get_ident()
    if thread in SINCE:
        return work()  # a part of what is timed already
    if os.getpid() not in WATCHES:
        WATCHES.add(os.getpid())
        threading.Thread(target=_watch, daemon=True, name="template-time").start()
    SINCE[thread] = time.monotonic()
    try:
        try:
            return work()
        finally:
            SINCE.pop(thread, None)
    except TooLong:  # also where it came as the work was done
        SINCE.pop(thread, None)
        raise too_much() from None


def too_much() -> RunError:
    return RunError(
        "template-refused",
        f"the chat template takes more than {SECONDS:g} seconds or {MEMORY / 1e9:g} GB of memory for a "
        f"conversation, or makes a text of more than {LARGEST:,} characters",
        "name another template in model.chat_template",
        where="chat_template.jinja",
    )


def _memory() -> int:
    """Bytes of memory that this process has; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _watch() -> None:
    seen: dict[int, tuple[float, int]] = {}
    raised: dict[int, float] = {}
    while True:
        time.sleep(0.1)
        now = time.monotonic()
        for thread, since in list(SINCE.items()):
            if seen.get(thread, (0.0, 0))[0] != since:
                seen[thread] = since, _memory()
            much = now - since > SECONDS or _memory() - seen[thread][1] > MEMORY
            if much and now - raised.get(thread, 0.0) > 0.5:  # again, if it is caught
                raised[thread] = now
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread), ctypes.py_object(TooLong)
                )
