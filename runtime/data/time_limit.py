"""A chat template comes with a model, and may loop for hours: rendering has a limit of time and of size."""

import ctypes
import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import RunError

T = TypeVar("T")
SECONDS = 10.0  # a row takes milliseconds
LARGEST = 100_000_000  # characters of a conversation
SINCE: dict[int, float] = {}  # when each thread that renders began
WATCHES: set[int] = set()  # processes with a watch: a fork takes no threads along


class TooLong(BaseException):
    """Raised in a thread whose rendering took too long; no Exception, so that nothing on the way keeps it."""


def within(work: Callable[[], T]) -> T:
    """What `work` returns. Raises RunError once it takes longer than SECONDS.

    That is between two steps of the interpreter: one step that takes long, as a huge power, is not interrupted.
    """
    thread = threading.get_ident()
    if thread in SINCE:
        return work()  # a part of what is timed already
    if os.getpid() not in WATCHES:
        WATCHES.add(os.getpid())
        threading.Thread(target=_watch, daemon=True, name="template-time").start()
    SINCE[thread] = time.monotonic()
    try:
        return work()
    except TooLong:
        raise too_much() from None
    finally:
        SINCE.pop(thread, None)


def too_much() -> RunError:
    return RunError(
        "template-refused",
        f"the chat template takes more than {SECONDS:g} seconds for a conversation, or renders it to more "
        f"than {LARGEST:,} characters",
        "name another template in model.chat_template",
        where="chat_template.jinja",
    )


def _watch() -> None:
    while True:
        time.sleep(0.5)
        for thread, since in list(SINCE.items()):
            if time.monotonic() - since > SECONDS:
                SINCE[thread] = time.monotonic()  # again, if what it raised is caught
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread), ctypes.py_object(TooLong)
                )
