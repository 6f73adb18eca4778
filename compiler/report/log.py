"""What a run wrote down while it trained: logs/metrics.jsonl and logs/samples.jsonl, as values.

A run may still be going on, or have been killed at any moment, and anybody may have edited its logs: a line
that is no record is left out and counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..diagnostics.tree import is_table

Points = list[tuple[float, float]]


class Sample(NamedTuple):
    step: int
    prompt: str
    answer: str


class RunLog(NamedTuple):
    """`series`: key of a record -> its values by step, in order. `starts`: the steps that each start had
    behind it. `total_steps`: as the newest start has it. `best_step` is set if the run stopped early.
    `damaged`: lines that are no record."""

    series: dict[str, Points]
    samples: list[Sample]
    starts: list[int]
    total_steps: int | None
    best_step: int | None
    trainable_parameters: int | None
    damaged: int

    def points(self, key: str) -> Points:
        return self.series.get(key, [])

    @property
    def last_step(self) -> int:
        return int(max((points[-1][0] for points in self.series.values()), default=0))

    @property
    def state(self) -> str:
        """How the run is, in words."""
        if not self.starts and not self.last_step:
            return "not started"
        if self.best_step is not None:
            return "stopped early"
        return "trained" if self.last_step >= (self.total_steps or 0) else "unfinished"


def read_log(folder: Path) -> RunLog:
    """The log of a run directory; an empty one if the run has not been started."""
    series: dict[str, dict[int, float]] = {}
    starts: list[int] = []
    total = best = trainable = None
    damaged = 0
    for record in _records(folder / "logs" / "metrics.jsonl"):
        step = None if record is None else _whole(record, "step")
        if record is None:
            damaged += 1
        elif "start" in record:
            starts.append(_whole(record, "first_step") or 0)
            total, best = _whole(record, "total_steps"), None
            trainable = _whole(record, "trainable_parameters")
        elif step is None:
            damaged += 1
        elif record.get("stopped_early") is True:
            best = _whole(record, "best_step")
        else:
            for key, value in record.items():
                if key != "step" and (number := _number(value)) is not None:
                    series.setdefault(key, {})[step] = number
    samples: list[Sample] = []
    for record in _records(folder / "logs" / "samples.jsonl"):
        sample = None if record is None else _sample(record)
        damaged += sample is None
        samples += [sample] if sample else []
    ordered: dict[str, Points] = {key: sorted(values.items()) for key, values in series.items()}
    return RunLog(ordered, samples, starts, total, best, trainable, damaged)


def _records(path: Path) -> Iterator[dict[str, Any] | None]:
    """Each line as a record, None if it is none. Blank ones are passed over, and a last one without its
    end, which is being written."""
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    for line in lines[:-1]:
        try:
            found: Any = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError):
            found = None
        if found != {}:
            yield found if is_table(found) else None


def _sample(record: dict[str, Any]) -> Sample | None:
    step, prompt, answer = _whole(record, "step"), record.get("prompt"), record.get("answer")
    if step is None or not isinstance(prompt, str) or not isinstance(answer, str):
        return None
    return Sample(step, prompt, answer)


def _whole(record: dict[str, Any], key: str) -> int | None:
    value = record.get(key)
    return value if type(value) is int and 0 <= value < 2**53 else None


def _number(value: Any) -> float | None:
    """A finite number that a curve can show."""
    if type(value) not in (int, float) or abs(value) > 1e300 or not math.isfinite(value):
        return None
    return float(value)
