"""torchrun as launch.sh needs it: `python -m ftc.runtime.torchrun` takes torchrun's arguments.

torchrun ends its processes at once on SIGTERM, and prints a traceback of its own below the message of a
process that failed. Here SIGTERM and SIGUSR1 ask the processes to finish their step and save (see
stop.py), the message of the process that failed stands last, and its exit code is the exit code.
"""

import logging
import os
import signal
import sys
import time
from typing import Any

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else it warns of every address it tries

import psutil
from torch.distributed.elastic.multiprocessing import api
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import get_args_parser, run

EXIT_STOPPED = 75  # as in stop.py, which imports more than a launcher should wait for
SAME = 1.0  # seconds; a signal again within them is the same request, sent to a whole process group
asked: list[tuple[float, signal.Signals]] = []
terminate = api._terminate_process_handler


def receive(number: int, frame: Any) -> None:
    """The first request to stop is passed on to the processes; the second ends them."""
    if number not in (signal.SIGTERM, signal.SIGUSR1):
        terminate(number, frame)
    processes = psutil.Process().children()
    if asked and time.monotonic() - asked[0][0] > SAME:
        print("Stopped at once.", file=sys.stderr, flush=True)
        for process in processes:
            process.kill()
        os._exit(128 + number)
    if not asked:
        asked.append((time.monotonic(), signal.Signals(number)))
        for process in processes:
            process.send_signal(signal.SIGUSR1)
        text = "a step under way will be finished and saved; a second signal stops at once"
        print(f"{signal.Signals(number).name}: {text}.", file=sys.stderr, flush=True)
        if not processes:
            os._exit(EXIT_STOPPED)


def ended(rank: int, code: int) -> int:
    """Says how the run ended; returns the exit code."""
    code = code if code > 0 else 128 - code
    requests = (128 + signal.SIGUSR1, 128 + signal.SIGTERM)
    if code == EXIT_STOPPED or (asked and code in requests):
        by = asked[0][1].name if asked else f"a signal to rank {rank}"
        print(f"Stopped by {by} (exit code {EXIT_STOPPED}).", file=sys.stderr)
        return EXIT_STOPPED
    text = f"train.py stopped: rank {rank} ended with code {code}"
    if code == 128 + signal.SIGKILL:
        text += ": it was killed, by somebody or by the system for want of memory (see dmesg)"
    print(f"{text}.", file=sys.stderr)
    return code


if __name__ == "__main__":
    logging.disable()  # what the agent has to say is said here
    api._terminate_process_handler = receive  # torch installs it when the processes start
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, receive)
    try:
        run(get_args_parser().parse_args())
    except ChildFailedError as error:
        rank, first = error.get_first_failure()
        sys.exit(ended(rank, first.exitcode))
    except api.SignalException as error:
        print(f"Stopped by {error.sigval.name}.", file=sys.stderr)
        sys.exit(128 + error.sigval)
    except KeyboardInterrupt:
        print("Stopped by Ctrl-C.", file=sys.stderr)
        sys.exit(130)
