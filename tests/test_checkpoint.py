"""A save that is killed or fails at any moment: what was whole before is whole after."""

import os
import shutil
import signal
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from .specs import lock_text


class Engine:
    """As much of DeepSpeed's engine as a checkpoint needs, at ZeRO 0."""

    def __init__(self, value: float = 0.0) -> None:
        import torch

        self.module = torch.nn.Linear(3, 2)
        torch.nn.init.constant_(self.module.weight, value)
        self.optimizer = torch.optim.AdamW(self.module.parameters())
        self.global_steps = 0

    def zero_optimization_stage(self) -> int:
        return 0


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty run directory, in a process group of one."""
    import torch

    monkeypatch.chdir(tmp_path)
    Path("ftc.lock").write_text(lock_text())
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield tmp_path
    torch.distributed.destroy_process_group()


def save(step: int, keep: int = 1, **more) -> None:
    from ftc.runtime.checkpoint import training_state

    stream = SimpleNamespace(samples=[], seen=lambda steps: steps)
    training_state.save(Engine(step), step, keep, stream, **more)


CALLS = [(os, "fsync"), (Path, "rename"), (shutil, "rmtree"), (Path, "unlink"), (Path, "mkdir")]


def killed_at(point: int, step: int) -> bool:
    """Saves in a process that is killed before its `point`-th call that changes the disk; was it?"""
    process = os.fork()
    if process == 0:
        count = 0

        def dying(call):
            def wrapper(*arguments, **keywords):
                nonlocal count
                count += 1
                if count > point:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **keywords)

            return wrapper

        for owner, name in CALLS:
            setattr(owner, name, dying(getattr(owner, name)))
        save(step)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL
    return status != 0


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(place):
    from ftc.runtime.checkpoint import shards, stored

    save(1)
    points, step = 0, 1
    while killed_at(points, step + 1):
        found = stored.newest()
        assert found is not None, points
        newest = int(found.name[5:])
        assert newest in (step, step + 1), points
        assert float(dict(shards.each(found))["weight"].mean()) == newest
        step = newest
        points += 1
    assert points > 10  # the digests, the files, the names, the folders
    assert not list(Path("checkpoints").glob("damaged-*"))


def test_what_fails_while_it_writes_leaves_the_last_good_one(place, monkeypatch):
    """No room on the disk, at each file of a checkpoint; the next save tidies up."""
    from ftc.runtime.checkpoint import training_state
    from ftc.runtime.errors import RunError

    save(1)
    whole, real = sorted(Path("checkpoints/step-000001").iterdir()), training_state._write
    for point in range(len(whole)):
        left = iter(range(point))

        def full(path, content, left=left):
            if next(left, None) is None:
                raise OSError(28, "No space left on device", str(path))
            return real(path, content)

        monkeypatch.setattr(training_state, "_write", full)
        with pytest.raises(RunError, match="No space left on device"):
            save(2)
        assert [path.name for path in Path("checkpoints").iterdir()] == ["step-000001"]
        assert sorted(Path("checkpoints/step-000001").iterdir()) == whole
    monkeypatch.setattr(training_state, "_write", real)
    save(2)
    assert [path.name for path in Path("checkpoints").iterdir()] == ["step-000002"]


def test_the_best_outlives_newer_ones_where_it_is_kept(place):
    from ftc.runtime.checkpoint import stored

    for keep_best, kept in ((True, [2, 5]), (False, [5])):
        shutil.rmtree("checkpoints", ignore_errors=True)
        losses = []
        for step, loss in enumerate((3.0, 1.0, 2.0, 1.0, float("nan")), 1):
            losses.append((step, loss))
            save(step, validation_losses=losses, keep_best=keep_best)
        assert [step for step, _ in stored.steps()] == kept


def test_what_is_moved_away_never_meets_what_was(tmp_path, monkeypatch):
    """Also where somebody deleted a folder of previous/ to make room."""
    from ftc.runtime.checkpoint import stored

    monkeypatch.chdir(tmp_path)
    for expected in ("1", "2", "3"):
        Path("checkpoints").mkdir()
        assert stored.shelve([Path("checkpoints")]) == Path("previous", expected)
        if expected == "2":
            shutil.rmtree("previous/1")


def test_an_old_checkpoint_that_cannot_go_ends_no_training(place, monkeypatch, capsys):
    """A reader on NFS holds its files, or somebody moved it away; the next save tries again."""
    real, refused = shutil.rmtree, []

    def held(path, ignore_errors=False, **keywords):
        if ".removed" in str(path):
            refused.append(path)
            assert ignore_errors
        else:
            real(path, ignore_errors=ignore_errors, **keywords)

    monkeypatch.setattr(shutil, "rmtree", held)
    save(1)
    save(2)
    assert refused
    monkeypatch.setattr(shutil, "rmtree", real)
    rename = Path.rename
    monkeypatch.setattr(
        Path, "rename", lambda self, to: rename(self, to) if ".removed" not in str(to) else gone()
    )

    def gone():
        raise PermissionError(13, "Permission denied")

    save(3)
    assert "step-000002 can't be removed: Permission denied" in capsys.readouterr().out
    monkeypatch.setattr(Path, "rename", rename)
    save(4)
    assert [path.name for path in Path("checkpoints").iterdir()] == ["step-000004"]


def test_the_newest_is_the_one_of_most_steps_whatever_its_date(place, monkeypatch):
    """After a clock was set back or ahead; and on a file system that flushes no folders."""
    from ftc.runtime.checkpoint import stored

    fsync = os.fsync

    def of_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files)
    for step, seconds in ((9, 2**33), (10, 0), (1_000_000, 5)):
        save(step, keep=3)
        os.utime(f"checkpoints/step-{step:06d}", (seconds, seconds))
    assert stored.newest() == Path("checkpoints/step-1000000")
    assert [step for step, _ in stored.steps()] == [9, 10, 1_000_000]
    save(1_000_001, keep=2)
    assert [step for step, _ in stored.steps()] == [1_000_000, 1_000_001]


def test_whoever_reads_moves_nothing(place, capsys):
    """Only training sets a damaged checkpoint aside: it may be one that is being removed."""
    from ftc.runtime.checkpoint import stored

    save(1, keep=2)
    save(2, keep=2)
    Path("checkpoints/step-000002/state.json").unlink()
    assert stored.newest() == Path("checkpoints/step-000001")
    assert "step-000002 is damaged: state.json is missing" in capsys.readouterr().out
    assert Path("checkpoints/step-000002").is_dir()
    assert stored.newest(set_aside=True) == Path("checkpoints/step-000001")
    assert Path("checkpoints/damaged-step-000002").is_dir()


def test_a_checkpoint_has_the_lock_that_its_run_started_with(place, monkeypatch):
    """Another spec may be compiled into the directory of a run that trains."""
    from ftc.runtime.process import lock

    monkeypatch.setattr(lock, "HELD", {})
    lock.hold()
    began = Path("ftc.lock").read_text()
    Path("ftc.lock").write_text(lock_text(plan={"data.loss_on": {"value": "all", "changes": ""}}))
    save(1)
    assert Path("checkpoints/step-000001/ftc.lock").read_text() == began


def test_one_run_directory_holds_one_training(place, monkeypatch):
    """Also after another spec was compiled into it."""
    from ftc.runtime.errors import RunError
    from ftc.runtime.train import launch

    monkeypatch.setattr(launch.time, "sleep", lambda seconds: None)
    launch._alone()
    Path("new.lock").write_text("{}")
    Path("new.lock").replace("ftc.lock")
    with pytest.raises(RunError, match="another start of this run"):
        launch._alone()


def test_a_checkpoint_of_other_samples_is_refused(tmp_path):
    """As when an edited tokenizer or format makes other tokens of the same rows."""
    from ftc.runtime.checkpoint import training_state
    from ftc.runtime.data import sample_set
    from ftc.runtime.errors import RunError

    stream = SimpleNamespace(samples=[])
    training_state._same_samples(tmp_path, {"samples": sample_set.digest([])}, stream)
    training_state._same_samples(tmp_path, {}, stream)  # one from before there was a digest
    with pytest.raises(RunError, match=r"other-samples.*others of them are held out"):
        training_state._same_samples(tmp_path, {"samples": "0" * 64}, stream)
