"""Experiment trackers: TensorBoard, W&B, MLflow, SwanLab, Trackio get the numbers of logs/metrics.jsonl, too.

They stay on this machine, below logs/, unless the spec says `online`. Keys and addresses come from the
environment alone (WANDB_API_KEY, SWANLAB_API_KEY, MLFLOW_TRACKING_URI, TRACKIO_SPACE_ID, ...). A run that is
resumed goes on in the same run of each tracker; which that is stands in logs/trackers.json.

A tracker looks on and never decides: when one fails, that is said once, and training goes on without it.
"""

import json
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import RunError
from ..process import lock
from ..process.stop import EXIT_STOPPED
from .metrics import Log, say

FOLDER = Path("logs")
IDS = FOLDER / "trackers.json"
ADDRESSES = {
    "mlflow": ["MLFLOW_TRACKING_URI"],
    "trackio": ["TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"],
}

Numbers = dict[str, float]


class Run(NamedTuple):
    """What a tracker is told of the run. `config`: the plan's values by their dotted paths."""

    project: str
    name: str
    online: bool
    first_step: int
    config: dict[str, Any]


class Sink(NamedTuple):
    """`send` takes numbers and the steps trained; `close`, the exit code of the process, ends it."""

    send: Callable[[Numbers, int], Any]
    close: Callable[[int], Any]


class Tracker:
    """One tracker of the run, until it fails."""

    def __init__(self, name: str, run: Run) -> None:
        self.name, self.works = name, True
        self.sink = self._attempt(MAKERS[name], run)

    def send(self, record: dict[str, Any]) -> None:
        """Passes on the numbers of a record that belongs to a step."""
        numbers = {k: v for k, v in record.items() if type(v) in (int, float) and k != "step"}
        if self.works and "step" in record and numbers:
            self._attempt(self.sink.send, numbers, record["step"])

    def close(self, code: int) -> None:
        if self.works:
            self._attempt(self.sink.close, code)
            self.works = False

    def _attempt(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        # Whatever a tracker and the libraries below it raise, hours of training are worth more.
        except (Exception, SystemExit) as error:
            self.works = False
            said = (str(error).strip() or type(error).__name__).split("\n")[0]
            say(
                f"WARNING: {self.name} failed and gets no further numbers ({said}). Training goes on; "
                "logs/metrics.jsonl has them all."
            )


STARTED: list[Tracker] = []


def start(
    log: Log, names: list[str], project: str, name: str, online: bool, first_step: int
) -> None:
    """Lets the trackers follow a log. Raises RunError for one that has no address."""
    for tracker in names:
        variables = ADDRESSES.get(tracker, []) if online else []
        if variables and not any(os.environ.get(variable) for variable in variables):
            raise RunError(
                "tracker-without-address",
                f"tracking.online is set, and nothing says where {tracker} sends to",
                f"set the environment variable {' or '.join(variables)}",
                "or remove online from [tracking] and compile again",
                where=tracker,
            )
    if not log.writes:
        return
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nobody is there to answer a question
    config = {key: value for key, value in lock.plan().items() if value is not None}
    STARTED.extend(Tracker(one, Run(project, name, online, first_step, config)) for one in names)
    log.trackers = STARTED


def close(code: int) -> None:
    """Ends them all, ahead of the process: trackers send what they hold back, and say how it ended."""
    for tracker in STARTED:
        tracker.close(code)


def _tensorboard(run: Run) -> Sink:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(FOLDER / "tensorboard"), purge_step=run.first_step + 1)

    def send(numbers: Numbers, step: int) -> None:
        for key, number in numbers.items():
            writer.add_scalar(key, number, step, new_style=True, double_precision=True)

    return Sink(send, lambda code: writer.close())


def _wandb(run: Run) -> Sink:
    import wandb

    started = wandb.init(
        project=run.project,
        name=run.name,
        id=_id("wandb", _new),
        resume="allow",
        mode="online" if run.online else "offline",
        dir=str(FOLDER),
        config=run.config,
        settings=wandb.Settings(console="off", finish_timeout=60),
    )
    return Sink(lambda numbers, step: started.log(numbers, step=step), started.finish)


def _mlflow(run: Run) -> Sink:
    import mlflow
    from mlflow.entities import Metric, Param

    # By default it would try again for many minutes, and training would wait.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    client = mlflow.MlflowClient(None if run.online else f"sqlite:///{FOLDER / 'mlflow.db'}")

    def new() -> str:
        known = client.get_experiment_by_name(run.project)
        place = known.experiment_id if known else client.create_experiment(run.project)
        made = client.create_run(place, run_name=run.name).info.run_id
        values = [Param(_plain(k), str(v)[:500]) for k, v in run.config.items()]
        for first in range(0, len(values), 100):  # it takes 100 at once
            client.log_batch(made, params=values[first : first + 100])
        return made

    key = _id("mlflow", new)
    client.update_run(key, "RUNNING")

    def send(numbers: Numbers, step: int) -> None:
        now = int(1000 * time.time())
        client.log_batch(key, [Metric(k, number, now, step) for k, number in numbers.items()])

    states = {0: "FINISHED", EXIT_STOPPED: "KILLED"}
    return Sink(send, lambda code: client.set_terminated(key, states.get(code, "FAILED")))


def _swanlab(run: Run) -> Sink:
    import swanlab

    FOLDER.joinpath("swanlab").mkdir(parents=True, exist_ok=True)
    swanlab.init(
        project=run.project,
        name=run.name,
        id=_id("swanlab", _new),
        resume="allow",
        mode="online" if run.online else "offline",
        log_dir=str(FOLDER / "swanlab"),
        config=run.config,
    )
    return Sink(
        lambda numbers, step: swanlab.log(numbers, step=step),
        lambda code: swanlab.finish("aborted" if code else "success"),
    )


def _trackio(run: Run) -> Sink:
    os.environ.setdefault("TRACKIO_DIR", str((FOLDER / "trackio").absolute()))
    if not run.online:
        for variable in ADDRESSES["trackio"]:
            os.environ.pop(variable, None)
    import trackio

    started = trackio.init(
        project=run.project,
        name=f"{run.name}-{_id('trackio', _new)}",  # which it knows a run by
        config=run.config,
        resume="allow",
        embed=False,
        auto_log_cpu=False,
        auto_log_gpu=False,
    )
    return Sink(
        lambda numbers, step: started.log(numbers, step=step), lambda code: trackio.finish()
    )


MAKERS: dict[str, Callable[[Run], Sink]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "swanlab": _swanlab,
    "trackio": _trackio,
}


def _id(tracker: str, new: Callable[[], str]) -> str:
    """What a tracker knows this run by: that of an earlier start, or a new one."""
    known = json.loads(IDS.read_text("utf-8")) if IDS.exists() else {}
    if tracker not in known:
        known[tracker] = new()
        IDS.write_text(json.dumps(known) + "\n", "utf-8")
    return known[tracker]


def _new() -> str:
    return uuid.uuid4().hex[:8]


def _plain(key: str) -> str:
    """data.train[0].file -> data.train.0.file, as not every tracker takes brackets in a name."""
    return key.replace("[", ".").replace("]", "")
