"""Starting a script of a run: its options, and how it ends when something is wrong."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from .errors import RunError

EXIT_ERROR = 2  # the same as the compiler's


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
    if int(os.environ.get("RANK", "0")) != 0:
        return
    written = [path for path in (Path("checkpoints"), Path("logs")) if path.exists()]
    if chosen.start_over and written:
        number = 1 + sum(1 for _ in Path("previous").glob("*"))
        shelf = Path("previous", str(number))
        shelf.mkdir(parents=True)
        for path in written:
            path.rename(shelf / path.name)
        print(f"The earlier start was moved to previous/{number}/.", flush=True)
    elif not chosen.resume and any(Path("checkpoints").glob("step-*")):
        raise RunError(
            "already-started",
            "checkpoints/ holds checkpoints of an earlier start of this run",
            "to go on from the newest: bash launch.sh --resume latest",
            "to train anew and keep them in previous/: bash launch.sh --start-over",
        )


def run(main: Callable[[argparse.Namespace], None]) -> None:
    """Calls `main` with the options of the command line; a RunError ends it without a traceback.

    The process ends at once after an error, as other ranks may hold it in a collective operation.
    """
    chosen = options()
    try:
        main(chosen)
    except RunError as error:
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"\n{error}", file=sys.stderr, flush=True)
        os._exit(EXIT_ERROR)
    except KeyboardInterrupt:
        if int(os.environ.get("RANK", "0")) == 0:
            print(
                "\nTo go on from the newest checkpoint: bash launch.sh --resume latest", flush=True
            )
        os._exit(128 + signal.SIGINT)
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
