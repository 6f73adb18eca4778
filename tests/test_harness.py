"""What may befall a run, mixed at random: kills, damage, interrupted compilations, hostile requests, odd clocks.

A run that is killed and resumed ends as the one that nothing befell, to the last bit; each damaged file is an error
with a code, and nothing is half written; the server goes on. HARNESS_SEED=N repeats a mixture.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from ftc.compiler import compile_file, write
from ftc.compiler.cli import main
from ftc.runtime import data
from ftc.runtime.checkpoint import stored
from ftc.runtime.errors import RunError
from ftc.runtime.process import lock
from ftc.runtime.train import failed

from . import tiny
from .conftest import SPEC, changed, environ
from .odd_requests import BODIES, CHAT, COMPLETION
from .serving import CHATS, COMPLETIONS, GOOD, GOOD_PROMPT, send, serving
from .serving import changed as with_changes
from .specs import snapshot
from .test_executed import equal

pytestmark = [pytest.mark.slow, pytest.mark.executed]
KILLS, STEPS, DAY = 5, 40, 86_400
# With dropout, packing and two sources mixed by weight, over several epochs; a save after every step.
KEYS = {"train.max_steps": str(STEPS), "train.save_every": "1", "train.keep_checkpoints": "3"}
SECOND = '\n[[data.train]]\nsource = "more.jsonl"\nformat = "messages"\nweight = 0.5\n'
CLOCK = "import os, time\nnow = time.time\ntime.time = lambda: now() + float(os.environ['SHIFT'])\n"


def test_whatever_befalls_a_run(compiled, tiny_model, tmp_path):
    seed = int(os.environ.get("HARNESS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"HARNESS_SEED={seed}")
    chance = random.Random(seed)
    tiny.write_rows(tmp_path / "more.jsonl", 15, seed=3)
    whole, run = (compiled(name, SPEC + SECOND, **KEYS) for name in ("whole", "killed"))
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock/sitecustomize.py").write_text(CLOCK)
    with serving(tiny_model, tmp_path) as server:
        whole.launch()
        for number in range(KILLS):
            _start_and_kill(chance, run.folder, tmp_path / "clock", early=number == KILLS - 1)
            _harm_a_checkpoint(chance, run.folder)
            _send_odd_requests(chance, server)
            _damage_what_is_compiled(chance, tmp_path / f"damaged{number}", tiny_model)
            _interrupt_compilations(chance, tmp_path / f"interrupted{number}", tmp_path)
        run.launch("--resume", "latest")
        assert send(server, CHATS, GOOD)[0] == 200
        assert "Traceback" not in server.log.read_text()
    assert equal(run.weights(), whole.weights())
    assert run.losses() == whole.losses()
    assert len(run.losses()) == STEPS


def _start_and_kill(chance, folder: Path, clock: Path, early: bool) -> None:
    """Goes on, at some date, and is killed at any moment: in a step, in a save, or before the first."""
    log = folder / "logs/metrics.jsonl"
    goal = _lines(log) + 1 + chance.randint(1, 4)  # the line that opens a start, and some steps
    shift = chance.randint(-9000, 9000) * DAY
    process = subprocess.Popen(
        ["bash", str(folder / "launch.sh"), "--resume", "latest"],
        env=environ(PYTHONPATH=str(clock), SHIFT=str(shift)),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    end = time.monotonic() + (chance.uniform(0, 6) if early else 240)
    while _lines(log) < goal and time.monotonic() < end:
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.01)
    time.sleep(chance.random() * 0.15)  # a step with its save takes about so long
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert early or _lines(log) >= goal


def _lines(log: Path) -> int:
    return log.read_text().count("\n") if log.exists() else 0


def _harm(chance, path: Path) -> str:
    """Cuts, flips, overwrites, empties or removes a file; returns which."""
    content = bytearray(path.read_bytes())
    how = chance.choice(["cut", "flip", "bytes", "empty", "gone"])
    place = chance.randrange(len(content)) if content else 0
    if how == "cut" or not content:
        content = content[:place]
    elif how == "flip":
        content[place] ^= 1 << chance.randrange(8)
    elif how == "bytes":
        content[place : place + chance.randint(1, 40)] = chance.randbytes(chance.randint(1, 40))
    path.write_bytes(b"" if how == "empty" else content)
    if how == "gone":
        path.unlink()
    return how


def _harm_a_checkpoint(chance, folder: Path) -> None:
    """The newest one, sometimes, beside litter; its date is any."""
    found = [path for _, path in stored.steps(folder / "checkpoints")]
    if len(found) > 1 and chance.random() < 0.7:
        _harm(chance, chance.choice(sorted(found[-1].iterdir())))
    for path in found:
        os.utime(path, (chance.randrange(2**33),) * 2)
    if found:
        (folder / "checkpoints" / chance.choice(["step-x", "step-0²", ".saving"])).mkdir(
            exist_ok=True
        )


def _send_odd_requests(chance, server) -> None:
    """Two faults at once, and any bytes: refused in OpenAI's form, or answered; never a failure."""
    for _ in range(40):
        path, good, table = chance.choice(
            [(CHATS, GOOD, CHAT), (COMPLETIONS, GOOD_PROMPT, COMPLETION)]
        )
        (one, _), (other, _) = chance.choices(table, k=2)
        body = json.dumps(with_changes(good, {**other, **one})).encode()
        if chance.random() < 0.4:
            place = chance.randrange(len(body))
            body = body[:place] + chance.randbytes(chance.randrange(4)) + body[place + 1 :]
        body = chance.choice([*BODIES, *[body] * 60])
        status, _, answer = send(server, path, body)
        assert status == 200 or 400 <= status < 500, (status, body, answer)
        if status != 200:
            assert json.loads(answer)["error"]["message"], answer
    assert send(server, CHATS, GOOD)[0] == 200


def _damage_what_is_compiled(chance, folder: Path, model: Path) -> None:
    """A file of the input, or the lock of what is compiled: an error with a code, or as if nothing were."""
    for number in range(12):
        place = folder / str(number)
        place.mkdir(parents=True)
        shutil.copytree(model, place / "tiny")
        tiny.write_rows(place / "rows.jsonl", 5)
        (place / "spec.toml").write_text(SPEC)
        compile_to = ["compile", place / "spec.toml", "-o", place / "out"]
        assert _ftc(*compile_to).exit_code == 0
        before = snapshot(place / "out")
        names = ("spec.toml", "rows.jsonl", "out/ftc.lock", "tiny/model.safetensors")
        names += ("tiny/config.json", "tiny/tokenizer.json", "tiny/tokenizer_config.json")
        how = _harm(chance, place / (name := chance.choice(names)))
        assert (done := _ftc("verify", place / "out")).exit_code in (0, 1, 2), done.output
        if name == "out/ftc.lock":
            _in_words(lambda place=place: lock.check(["--allow-drift"], place / "out"))
            continue
        done = _ftc(*compile_to)
        assert done.exit_code in (0, 2), (name, how)
        assert (name, how) != ("tiny/model.safetensors", "cut") or done.exit_code == 2
        if done.exit_code == 2:
            assert "error[" in done.stderr, (name, how)
            assert snapshot(place / "out") == before, (name, how)
        elif name.startswith("tiny/"):
            _in_words(lambda place=place: _load(place / "tiny", place))
    shutil.rmtree(folder)


def _ftc(*arguments: object):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="ftc")
    assert isinstance(done.exception, SystemExit | None), (arguments, done.exception)
    return done


def _load(model: Path, folder: Path) -> None:
    """As train.py does."""
    from transformers import AutoModelForCausalLM

    with failed.in_words(folder):
        data.load_tokenizer(str(model))
        AutoModelForCausalLM.from_pretrained(str(model), use_safetensors=True)


def _in_words(work) -> None:
    try:
        work()
    except RunError as error:
        assert str(error).isprintable() or "\n" in str(error)
        assert "error[" in str(error)


def _interrupt_compilations(chance, folder: Path, inputs: Path) -> None:
    """Killed before any of its changes of the disk: old, new, or named as pending; the next one mends it."""
    out, old = folder / "out", None
    for number in range(6):
        spec = inputs / "interrupted.toml"
        keys = {"seed": str(number), "train.num_epochs": "1", "train.max_steps": None}
        spec.write_text(changed(SPEC, **(keys if chance.random() < 0.5 else {"seed": "9"})))
        files = compile_file(spec, out).files
        new = {name: file.content for name, file in files.items()}
        _killed_write(files, out, chance.randrange(40))
        if out.exists():
            found = {k: v for k, v in snapshot(out).items() if not k.startswith(".ftc-new/")}
            assert found in (old, new) or (out / lock.PENDING).exists()
        write(files, out)
        assert snapshot(out) == new
        old = new
    shutil.rmtree(folder)


def _killed_write(files, out: Path, point: int) -> None:
    """Writes in a process that is killed before its `point`-th change of the disk."""
    process = os.fork()
    if process:
        os.waitpid(process, 0)
        return
    left = SimpleNamespace(changes=point)

    def dying(call):
        def wrapper(*arguments, **keywords):
            left.changes -= 1
            if left.changes < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **keywords)

        return wrapper

    for owner, name in ((os, "replace"), (os, "rename"), (os, "unlink"), (Path, "write_bytes")):
        setattr(owner, name, dying(getattr(owner, name)))
    write(files, out)
    os._exit(0)
