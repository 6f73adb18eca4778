"""Time of training alone: what evaluations, samples and checkpoints take is no throughput. And signs of life."""

import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
SPENT = {"apart": 0.0}  # seconds
MOVED = {"at": time.monotonic()}


def moved() -> None:
    """Something was done: what hangs is told by the time since then."""
    MOVED["at"] = time.monotonic()


def quiet() -> float:
    """Seconds since something was done."""
    return time.monotonic() - MOVED["at"]


def apart(work: Callable[P, R]) -> Callable[P, R]:
    """A function whose time does not count as training."""

    @functools.wraps(work)
    def timed(*arguments: P.args, **keywords: P.kwargs) -> R:
        moved()
        began = time.perf_counter()
        try:
            return work(*arguments, **keywords)
        finally:
            SPENT["apart"] += time.perf_counter() - began
            moved()

    return timed


def training() -> float:
    """Seconds of training so far; where they begin has no meaning."""
    return time.perf_counter() - SPENT["apart"]
