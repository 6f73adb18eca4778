"""Writing a run directory: nothing is lost, nothing is half written, nothing lands outside."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ftc.compiler import compile_file, write
from ftc.compiler.cli import main
from ftc.compiler.run_dir.write import LOCK, PENDING

from .conftest import environ
from .specs import BASE, HELD_OUT, ftc, merged, snapshot, toml


def test_compiling_twice_changes_nothing(spec: Path, tmp_path: Path) -> None:
    ftc("compile", spec, "-o", tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = ftc("compile", spec, "-o", tmp_path / "out").stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times
    lines = [line for line in again.splitlines() if line.startswith("  ")]
    assert len(lines) == len(snapshot(tmp_path / "out"))
    assert all(line.endswith("(unchanged)") for line in lines)
    assert os.access(tmp_path / "out" / "launch.sh", os.X_OK)


def test_the_default_output_is_runs_and_the_name(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ftc("compile", "spec.toml")
    assert (tmp_path / "runs" / "case" / LOCK).is_file()


def test_an_edited_file_is_kept_unless_forced(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    generated = (out / "train.py").read_bytes()
    (out / "train.py").write_bytes(generated + b"# mine\n")
    spec.write_text(toml(merged(BASE, {"seed": 7})))
    before = snapshot(out)
    refusal = ftc("compile", spec, "-o", out, exit_code=2)
    assert "error[edited]" in refusal.stderr
    assert "train.py" in refusal.stderr
    assert snapshot(out) == before
    ftc("compile", spec, "-o", out, "--force")
    assert b"# mine" not in (out / "train.py").read_bytes()
    assert b"SEED = 7" in (out / "train.py").read_bytes()


def test_an_edit_that_the_spec_has_caught_up_with_is_no_edit(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    spec.write_text(toml(merged(BASE, {"seed": 7})))
    (out / "train.py").write_bytes(compile_file(spec, out).files["train.py"].content)
    ftc("compile", spec, "-o", out)


def test_a_file_that_somebody_else_put_there_is_kept(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    (out / "data" / "held_out.jsonl").write_text("my own\n")
    spec.write_text(toml(merged(BASE, HELD_OUT)))
    refusal = ftc("compile", spec, "-o", out, exit_code=2)
    assert "data/held_out.jsonl" in refusal.stderr
    assert (out / "data" / "held_out.jsonl").read_text() == "my own\n"


def test_what_is_no_longer_generated_goes_and_what_the_run_made_stays(
    spec: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    spec.write_text(toml(merged(BASE, HELD_OUT)))
    ftc("compile", spec, "-o", out)
    (out / "checkpoints").mkdir()
    (out / "checkpoints" / "step-1").write_text("weights")
    spec.write_text(toml(BASE))
    ftc("compile", spec, "-o", out)
    assert not (out / "data" / "held_out.jsonl").exists()
    assert (out / "checkpoints" / "step-1").read_text() == "weights"
    assert set(snapshot(out)) - {"checkpoints/step-1"} == set(compile_file(spec, out).files)


def test_a_foreign_directory_is_refused(spec: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("Buy milk.")
    ftc("compile", spec, "-o", tmp_path / "notes", exit_code=2)
    assert snapshot(tmp_path / "notes") == {"todo.txt": b"Buy milk."}
    ftc("compile", spec, "-o", tmp_path / "notes", "--force")
    assert (tmp_path / "notes" / "todo.txt").read_text() == "Buy milk."


def test_nothing_is_written_through_a_link(spec: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    ftc("compile", spec, "-o", tmp_path / "link", exit_code=2)
    ftc("compile", spec, "-o", tmp_path / "link", "--force", exit_code=2)
    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    shutil.rmtree(out / "data")
    (out / "data").symlink_to(elsewhere)
    ftc("compile", spec, "-o", out, "--force", exit_code=2)
    (out / "data").unlink()
    (elsewhere / "train.py").write_text("mine")
    (out / "train.py").unlink()
    (out / "train.py").symlink_to(elsewhere / "train.py")
    ftc("compile", spec, "-o", out, "--force", exit_code=2)
    assert snapshot(elsewhere) == {"train.py": b"mine"}


def test_a_lock_can_not_reach_out_of_its_directory(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    (tmp_path / "mine.txt").write_text("mine")
    lock = json.loads((out / LOCK).read_text())
    lock["files"] |= {"../mine.txt": "0" * 64, str(tmp_path / "spec.toml"): "0" * 64}
    (out / LOCK).write_text(json.dumps(lock))
    ftc("compile", spec, "-o", out, "--force")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert spec.is_file()


def test_a_directory_that_can_not_be_written_is_an_error(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device", "train.py")

    monkeypatch.setattr(Path, "write_bytes", full)
    refusal = ftc("compile", spec, "-o", tmp_path / "out", exit_code=2)
    assert "error[bad-output]: can't be written (No space left on device" in refusal.stderr
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out.*"))


class Killed(BaseException):
    pass


def test_a_run_that_is_not_whole_is_used_by_nobody(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    spec.write_text(toml(merged(BASE, {"seed": 7, "train": {"global_batch_size": 4}})))
    replace, left = os.replace, 2

    def killed(*arguments: Any, **keywords: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        replace(*arguments, **keywords)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(os, "replace", killed)
        write(compile_file(spec, out).files, out)
    for command in ("verify", "diff", "report", "preview"):
        others = [out] if command == "diff" else []
        refusal = ftc(command, out, *others, exit_code=2)
        assert f"{out}: error[pending]: a compilation into this directory" in refusal.stderr
    launched = subprocess.run(
        ["bash", out / "launch.sh"], capture_output=True, text=True, check=False, env=environ()
    )
    assert launched.returncode == 2
    assert "ftc.lock.new: error[pending]" in launched.stderr
    ftc("compile", spec, "-o", out)
    assert ftc("verify", out).exit_code == 0


def test_a_mount_point_is_written_inside_of_it(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace = tmp_path / "out", os.replace
    out.mkdir()

    def on_one_file_system(source: Path, target: Path, **keywords: Any) -> None:
        if out not in Path(source).parents:
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(source))
        replace(source, target, **keywords)

    def without_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without_locks)  # as NFS may be
    monkeypatch.setattr(os, "replace", on_one_file_system)
    monkeypatch.setattr(os, "rename", on_one_file_system)
    for seed in (1, 7):
        spec.write_text(toml(merged(BASE, {"seed": seed})))
        ftc("compile", spec, "-o", out)
        assert snapshot(out) == {n: f.content for n, f in compile_file(spec, out).files.items()}


def test_what_a_killed_compilation_left_is_removed(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for place in (tmp_path / ".out.ftc-new", out / ".ftc-new"):
        (place / "data").mkdir(parents=True)
        (place / "data/rows.jsonl").write_text("half")
        ftc("compile", spec, "-o", out)
        assert not place.exists() or place == tmp_path / ".out.ftc-new"
        shutil.rmtree(out) if place.parent == tmp_path else None
    assert set(snapshot(out)) == set(compile_file(spec, out).files)


def test_two_compilations_at_once_leave_one_of_the_two(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = []
    for seed in (1, 7):
        spec.write_text(toml(merged(BASE, {"seed": seed})))
        both.append(compile_file(spec, out).files)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            list(pool.map(lambda files: write(files, out), both * 2))
            assert snapshot(out) in [{n: f.content for n, f in files.items()} for files in both]
            shutil.rmtree(out)


def test_a_compilation_that_takes_the_staging_away_is_waited_for(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is done between the making of the folder and its opening."""
    out, really = tmp_path / "out", os.open
    files = compile_file(spec, out).files

    def late(path, flags, *more, **further):
        if flags & os.O_DIRECTORY and not out.exists() and not calls:
            calls.append(path)
            Path(path).rename(out)
        return really(path, flags, *more, **further)

    calls: list[str] = []
    monkeypatch.setattr(os, "open", late)
    write(files, out)
    assert calls and snapshot(out) == {n: f.content for n, f in files.items()}


def test_nothing_is_removed_through_a_link(spec: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    spec.write_text(toml(merged(BASE, HELD_OUT)))
    ftc("compile", spec, "-o", out)
    (out / "data").rename(elsewhere)
    (out / "data").symlink_to(elsewhere)
    held_out = (elsewhere / "held_out.jsonl").read_bytes()
    (out / LOCK).write_text(
        (out / LOCK).read_text().replace("data/rows.jsonl", "no-such/rows.jsonl")
    )
    spec.write_text(
        toml(merged(BASE, {"data": {"train": [{"source": "org/rows", "format": "messages"}]}}))
    )
    refusal = ftc("compile", spec, "-o", out, "--force", exit_code=2)
    assert "held_out.jsonl would be removed through it" in refusal.stderr
    assert (elsewhere / "held_out.jsonl").read_bytes() == held_out


def test_a_write_that_is_killed_leaves_old_or_new_and_the_next_one_mends_it(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    old = compile_file(spec, out).files
    spec.write_text(toml(merged(BASE, HELD_OUT, {"seed": 7, "chat": {"system": "Be brief."}})))
    new = compile_file(spec, out).files
    replace, rename = os.replace, os.rename
    for moves in range(20):
        shutil.rmtree(out, ignore_errors=True)
        write(old, out)
        left = moves

        def killed(*arguments: Any, **keywords: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            replace(*arguments, **keywords)

        monkeypatch.setattr(os, "replace", killed)
        try:
            write(new, out)
            finished = True
        except Killed:
            finished = False
        monkeypatch.setattr(os, "replace", replace)
        for name, content in snapshot(out).items():
            sides = [files[name].content for files in (old, new) if name in files]
            assert content in sides or name == PENDING
        assert (out / LOCK).read_bytes() == (new if finished else old)[LOCK].content
        write(old if moves % 2 else new, out)  # forwards or backwards, and nothing is "edited"
        mended = {name: file.content for name, file in (old if moves % 2 else new).items()}
        assert snapshot(out) == mended
        if finished:
            break
    assert finished
    assert moves > 4
    assert os.rename is rename
    assert not list(tmp_path.glob(".out.*"))


def test_a_first_write_that_is_killed_leaves_nothing(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object, **keywords: object) -> None:
        raise Killed

    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(Killed):
        write(compile_file(spec, tmp_path / "out").files, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out.*"))


def test_nothing_is_written_unless_it_verifies(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftc.compiler.emit.train.tidy", lambda text: text + "def\n")
    result = ftc("compile", spec, "-o", tmp_path / "out", exit_code=2)
    assert "error[internal]: the generated Python is not valid" in result.stderr
    assert "please report it" in result.stderr
    assert not (tmp_path / "out").exists()


def holes(value: Any) -> Iterator[Any]:
    """The value with one part of it gone, emptied, or of another type, a part at a time."""
    yield from (None, 7, "text", [], {})
    if isinstance(value, dict):
        for key in list(value)[: None if len(value) < 9 else 2]:
            yield {k: v for k, v in value.items() if k != key}
            for hole in holes(value[key]):
                yield value | {key: hole}
    if isinstance(value, list) and value:
        for hole in holes(value[0]):
            yield [hole, *value[1:]]


def test_whatever_a_lock_holds_it_is_an_error_in_words(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the compiler and of the runtime, which each read it."""
    from ftc.runtime.errors import RunError
    from ftc.runtime.process import lock

    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    whole = json.loads((out / LOCK).read_text())
    texts = [json.dumps(hole) for hole in holes(whole)]
    texts += ["", "{", "[" * 5000, '{"files": ' * 5000, "\x00", "nul"]
    assert len(texts) > 100
    monkeypatch.chdir(out)
    for text in texts:
        Path(LOCK).write_text(text)
        for command in ("verify .", "diff . .", "report . -o ../report.html --force"):
            result = CliRunner().invoke(main, command.split())
            assert isinstance(result.exception, SystemExit | None), (text[:300], result.exception)
        try:
            lock.check(["--allow-drift"])
            lock.differences(Path())
            lock.validation()
        except RunError as error:
            assert error.code == "no-lock", text[:300]
