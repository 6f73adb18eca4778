"""Starting a script of a run: its options, and how it ends when something is wrong."""

import argparse
import errno
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch

from ..checkpoint import stored
from ..errors import EXIT_ERROR, RunError
from ..process import distributed, lock, stop
from ..process.folders import cache
from . import failed, guards, trackers

# Held by the start that trains. NFS grants such a lock only on what is opened for writing (flock(2)).
RUNNING = ".running"


def options(argv: list[str] | None = None) -> argparse.Namespace:
    """The options of launch.sh: `resume` (None, "latest" or a path), `start_over`, `allow_drift`."""
    parser = argparse.ArgumentParser(prog="launch.sh", allow_abbrev=False)
    parser.add_argument(
        "--resume", metavar="latest|PATH", help="go on from a checkpoint, bit for bit"
    )
    parser.add_argument(
        "--start-over",
        action="store_true",
        help="train anew; what an earlier start wrote is moved to previous/",
    )
    parser.add_argument(
        "--allow-drift",
        action="store_true",
        help="train even though data, model or runtime differ from ftc.lock",
    )
    chosen = parser.parse_args(argv)
    if chosen.resume and chosen.start_over:
        parser.error("--resume goes on and --start-over starts anew: give one of them")
    return chosen


def prepare(chosen: argparse.Namespace) -> None:
    """Makes sure that a new start never mixes its files with those of an earlier one (rank 0 does)."""
    lock.hold()
    lock.whole()
    if _rank() != 0:
        return
    _alone()
    written = [path for path in (stored.FOLDER, Path("logs")) if path.exists()]
    if chosen.start_over and written:
        print(f"The earlier start was moved to {stored.shelve(written)}/.", flush=True)
    elif not chosen.resume and stored.steps():
        raise RunError(
            "already-started",
            "checkpoints/ holds checkpoints of an earlier start of this run",
            f"to go on from the newest: {stop.RESUME}",
            "to train anew and keep them in previous/: bash launch.sh --start-over",
        )


def _alone() -> None:
    """Holds the run directory until this process ends. Raises RunError if another start holds it."""
    descriptor = os.open(
        RUNNING, os.O_RDWR | os.O_CREAT, 0o666
    )  # never closed: that would let it go
    for _ in range(20):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            time.sleep(0.5)  # an earlier start may be about to end
        except OSError as error:
            said = f"WARNING: {error.strerror} ({RUNNING}): a second start in this directory is not noticed."
            return print(said, flush=True)
    raise RunError(
        "already-running",
        "another start of this run is training in this directory",
        "wait for it, or stop it",
        where=str(Path.cwd()),
    )


def check_warmup(warmup_steps: int, total_steps: int) -> None:
    """Raises RunError if the run ends before its learning rate is what was asked for."""
    if warmup_steps >= total_steps:
        raise RunError(
            "warmup-too-long",
            f"the run has {total_steps} steps, and {warmup_steps} of them are to warm up",
            f"set optim.warmup_steps to less than {total_steps}, or optim.warmup_ratio",
            "or raise train.num_epochs",
        )


def run(main: Callable[[argparse.Namespace], None]) -> None:
    """Calls `main` with the options of the command line, and ends the process as it ended.

    Exit codes: 0 done, 1 a mistake in the code, 2 a RunError, 75 stopped on request, 130 Ctrl-C. The process ends at
    once after an error, as other ranks may hold it in a collective operation.
    """
    chosen = options()
    stop.end_with_parent(int(os.environ.get("FTC_LAUNCHER", os.getppid())))
    stop.listen()
    try:
        main(chosen)
        distributed.barrier()  # nobody leaves while another still talks to it
    except stop.Stopped as stopped:
        _say(str(stopped))
        trackers.close(stop.EXIT_STOPPED)
        distributed.barrier()  # the first rank that ends with such a code takes the others down
        _end(stop.EXIT_STOPPED)
    except RunError as error:
        _fail(error)
    except (MemoryError, torch.OutOfMemoryError) as error:
        _fail(guards.out_of_memory(error))
    except KeyboardInterrupt:
        _say(f"To go on from the newest checkpoint: {stop.RESUME}")
        _end(128 + signal.SIGINT)
    except SystemExit:
        raise
    except BaseException as error:  # what a library in Rust panics with is no Exception
        if any(sign in str(error) for sign in NO_MEMORY):
            _fail(guards.out_of_memory(error))
        if isinstance(error, RuntimeError) and any(sign in str(error) for sign in PEER_LOST):
            _peer_lost(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail(_disk_full(error))
        if refused := _refused(error) or failed.loading(error):
            _fail(refused)
        traceback.print_exc()
        _end(1)
    _end(0)


def _end(code: int) -> NoReturn:
    """Ends the process. Python would first take down torch under threads that still run, which now and
    then aborts."""
    trackers.close(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


# How torch says these, where it raises a plain RuntimeError.
NO_MEMORY = ("can't allocate memory", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
PEER_LOST = (
    "gloo/transport",
    "Connection closed by peer",
    "Connection reset by peer",
    "ncclRemote",
)
LIBRARIES = ("transformers", "peft", "deepspeed", "bitsandbytes")
PATIENCE = 20.0  # seconds in which a process that ended with an error should have told its own


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _say(text: str) -> None:
    if _rank() == 0:
        print(f"\n{text}", flush=True)


def _fail(error: RunError) -> NoReturn:
    """Rank 0 says what all ranks found; another one speaks only if it is the only one to know."""
    if _rank() != 0:
        time.sleep(3)
    if _rank() == 0 or not stop.received():
        print(f"\n{error}", file=sys.stderr, flush=True)
    _end(EXIT_ERROR)


def _peer_lost(error: BaseException) -> NoReturn:
    """Another process is gone. Its launcher knows why and ends this one; on another node this one ends."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not stop.received():
        time.sleep(0.1)
    if not stop.received():
        said = str(error).split("\n")[0]
        _fail(
            RunError(
                "peer-lost",
                f"rank {_rank()} lost another process ({said})",
                "the output of the other nodes says why it ended",
                f"then go on: {stop.RESUME}",
            )
        )
    os._exit(128 + signal.SIGTERM)


def _refused(error: BaseException) -> RunError | None:
    """What a library says of the values that it is given: a ValueError that it raises itself."""
    if not isinstance(error, ValueError):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    library = next((n for n in LIBRARIES if n in Path(frames[-1].filename).parts), None)
    if library is None or any(frame.name == "from_pretrained" for frame in frames):
        return None  # a base may be damaged: see failed
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == "train.py"]
    return RunError(
        "refused",
        f"{library} refuses this: {error}",
        "change in the spec what it names, and compile again",
        where=f"train.py:{lines[0]}" if lines else "run",
    )


def _disk_full(error: OSError) -> RunError:
    """What failed may not say where it wrote: of all places, the fullest is named."""
    places = [
        Path(),
        Path("logs"),
        Path("checkpoints"),
        cache(),
        Path(tempfile.gettempdir()),
    ]
    free, fullest = min((shutil.disk_usage(p).free, p.absolute()) for p in places if p.exists())
    return RunError(
        "disk-full",
        f"{error.strerror}; {free / 1e6:,.1f} MB are free in {fullest}",
        f"make room, then go on from the newest checkpoint: {stop.RESUME}",
        where=str(error.filename or "run"),
    )
