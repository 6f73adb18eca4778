"""Each tracker, with its real library: what its own reader finds is what logs/metrics.jsonl has."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from .specs import lock_text

Series = dict[str, list[tuple[int, float]]]


def tensorboard(logs: Path) -> Series:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    found = EventAccumulator(str(logs / "tensorboard"))
    found.Reload()
    return {
        tag: [(e.step, make_ndarray(e.tensor_proto).item()) for e in found.Tensors(tag)]
        for tag in found.Tags()["tensors"]
    }


def wandb(logs: Path) -> Series:
    """Files of the offline mode. W&B has no reader in Python; SwanLab has one, to take runs over."""
    from swanlab.converter.wb.wbdatastore import WBDataStoreReader
    from wandb.proto.wandb_internal_pb2 import Record

    series: Series = {}
    ids = set()
    for file in sorted(logs.glob("wandb/offline-run-*/*.wandb")):
        ids.add(file.name)
        with WBDataStoreReader() as reader:
            reader.open(file)
            while (content := reader.scan()) is not None:
                record = Record.FromString(content)
                items = {i.key or i.nested_key[0]: i.value_json for i in record.history.item}
                for key, value in items.items():
                    place = series.setdefault(key, [])
                    place.append((int(items["_step"]), json.loads(value)))
    assert len(ids) == 1  # the starts of a run are one run there
    return {key: values for key, values in series.items() if not key.startswith("_")}


def mlflow(logs: Path) -> Series:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{logs / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("ftc").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["optim.learning_rate"] == "0.005"
    key = run.info.run_id
    return {
        name: [(m.step, m.value) for m in client.get_metric_history(key, name)]
        for name in run.data.metrics
    }


def swanlab(logs: Path) -> Series:
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record
    from swanlab.sdk.internal.core_python.store import DataStoreReader

    series: Series = {}
    for file in sorted(logs.glob("swanlab/run-*/*.swanlab")):
        reader = DataStoreReader()
        reader.open(file)
        for content in reader:
            record = Record.FromString(content)
            if record.HasField("scalar"):
                point = record.scalar
                series.setdefault(point.key, []).append((point.step, point.value.number))
    return series


def trackio(logs: Path) -> Series:
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = Api().runs("ftc")
    series: Series = {}
    for row in SQLiteStorage.get_logs("ftc", run.name):
        for key in row.keys() - {"step", "timestamp"}:
            series.setdefault(key, []).append((row["step"], row[key]))
    return series


READERS: dict[str, Callable[[Path], Series]] = {
    reader.__name__: reader for reader in (tensorboard, wandb, mlflow, swanlab, trackio)
}


@pytest.mark.slow
def test_trackers_have_the_numbers_of_the_log(compiled, monkeypatch) -> None:
    """Also after the run was resumed, in the same run of each tracker."""
    names = [name for name in READERS if importlib.util.find_spec(name)]
    if not names:
        pytest.skip("no tracker is installed: pip install -e '.[trackers]'")
    assert len(names) == len(READERS) == 5, "make test-slow installs them all"
    keys = {"tracking.trackers": json.dumps(names), "data.validation_fraction": "0.2"}
    keys |= {"train.eval_every": "2", "train.save_every": "2"}
    for steps, more in (("2", []), ("4", ["--resume", "latest"])):
        run = compiled(**keys, **{"train.max_steps": steps})
        said = run.launch(*more).stdout
        assert "WARNING: " not in said
    expected: Series = {}
    for record in run.records():
        for key, value in record.items():
            if type(value) in (int, float) and key != "step" and "step" in record:
                expected.setdefault(key, []).append((record["step"], value))
    assert len(expected["loss"]) == 4 and len(expected["validation_loss"]) == 2
    logs = run.folder / "logs"
    monkeypatch.setenv("TRACKIO_DIR", str(logs / "trackio"))
    for name in names:
        found = READERS[name](logs)
        assert {key: sorted(points) for key, points in found.items()} == expected, name


@pytest.mark.slow
def test_a_tracker_without_a_network_ends_no_run(compiled) -> None:
    if not importlib.util.find_spec("mlflow"):
        pytest.skip("MLflow is not installed: pip install -e '.[mlflow]'")
    keys = {"tracking.trackers": '["mlflow"]', "tracking.online": "true", "train.max_steps": "2"}
    run = compiled(**keys)
    refused = run.launch(check=False)
    assert refused.returncode == 2
    assert "mlflow: error[tracker-without-address]: tracking.online is set" in refused.stderr
    said = run.launch(MLFLOW_TRACKING_URI="http://127.0.0.1:9").stdout
    assert said.count("WARNING: mlflow failed and gets no further numbers") == 1
    assert len(run.losses()) == 2


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A log that writes, in a run directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    plan = {key: {"value": value, "changes": ""} for key, value in (("seed", 1), ("x", None))}
    (tmp_path / "ftc.lock").write_text(lock_text(plan=plan))
    return SimpleNamespace(writes=True, trackers=())


def test_a_failure_is_said_once(log, monkeypatch, capsys) -> None:
    """Whatever is raised, wherever: the others go on, and so does the run."""
    from ftc.runtime.train import trackers

    got: list[object] = []
    failing = {
        "at_once": SystemExit("no key"),
        "later": ConnectionError("no network\nand more"),
    }

    def maker(name: str):
        def make(run):
            if name == "at_once":
                raise failing[name]

            def send(numbers, step):
                if name in failing:
                    raise failing[name]
                got.append((numbers, step))

            return trackers.Sink(send, lambda code: got.append(code))

        return make

    monkeypatch.setattr(trackers, "STARTED", [])
    monkeypatch.setattr(trackers, "MAKERS", {n: maker(n) for n in (*failing, "fine")})
    monkeypatch.setattr(sys, "stdin", None)
    trackers.start(log, ["at_once", "later", "fine"], "ftc", "run", False, 0)
    for step in (1, 2):
        for tracker in log.trackers:
            tracker.send({"step": step, "loss": 0.5, "flag": True, "rows": ["a"], "norm": None})
    for tracker in log.trackers:
        tracker.send({"start": "now", "total_steps": 4})
    trackers.close(75)
    trackers.close(0)
    assert got == [({"loss": 0.5}, 1), ({"loss": 0.5}, 2), 75]
    said = capsys.readouterr().out
    assert said.count("WARNING: ") == 2
    assert "at_once failed and gets no further numbers (no key)" in said
    assert "later failed and gets no further numbers (no network)" in said


def test_extras_and_pins_name_the_same_packages() -> None:
    import tomllib

    from ftc.compiler.emit import requirements
    from ftc.compiler.spec.outputs import Tracking
    from ftc.runtime.train import trackers

    extras = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))
    for name in trackers.MAKERS:
        packages = requirements.TRACKERS.get(name, [name])
        assert all(package in requirements.pins() for package in packages)
        listed = extras["project"]["optional-dependencies"][name]
        assert [item.split(">")[0] for item in listed] == packages
        assert name in str(Tracking.model_fields["trackers"].annotation)
