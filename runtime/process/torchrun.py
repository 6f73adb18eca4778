"""torchrun as launch.sh needs it: `python -m ftc.runtime.torchrun` takes torchrun's arguments.

torchrun ends its processes at once on SIGTERM, and prints a traceback of its own below the message of a
process that failed. Here SIGTERM and SIGUSR1 ask the processes to finish their step and save (see
stop.py), Ctrl-C tells them to end, the message of the process that failed stands last, and its exit code
is the exit code. Both also hold while this process or one that it started still imports what it needs.
"""

import os
import signal
import sys
import time
from typing import Any

from ..errors import EXIT_ERROR, RunError
from . import rendezvous

EXIT_STOPPED = 75  # as in stop.py, which imports more than a launcher should wait for
SAME = 1.0  # seconds; a signal again within them is the same request, sent to a whole process group
PATIENCE = 10  # seconds that a process has to end after Ctrl-C, or when another one did
asked: list[tuple[float, signal.Signals]] = []


def children() -> list[Any]:
    """The processes that torchrun has started."""
    import psutil

    return psutil.Process().children()


def receive(number: int, frame: Any) -> None:
    """The first request to stop is passed on to the processes; the second ends them.

    What is passed on ends a process that does not listen yet, in silence: Python would answer SIGINT with
    a traceback.
    """
    if asked and time.monotonic() - asked[0][0] > SAME:
        end("Stopped at once.", 128 + number)
    if asked:
        return
    asked.append((time.monotonic(), signal.Signals(number)))
    request = number in (signal.SIGTERM, signal.SIGUSR1)
    if request:
        text = "a step under way will be finished and saved; a second signal stops at once"
        print(f"{signal.Signals(number).name}: {text}.", file=sys.stderr, flush=True)
    started = children()
    for process in started:
        process.send_signal(signal.SIGUSR1 if request else signal.SIGUSR2)
    if not started:
        end(*how(number))
    if not request:  # a process that is in the midst of a long computation does not hear it
        signal.signal(signal.SIGALRM, lambda *_: end(*how(number)))
        signal.alarm(PATIENCE)


def how(number: int) -> tuple[str, int]:
    """What to say of a run that ended as it was told to, and its exit code."""
    if number in (signal.SIGTERM, signal.SIGUSR1):
        return f"Stopped by {signal.Signals(number).name} (exit code {EXIT_STOPPED}).", EXIT_STOPPED
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    return f"Stopped by {name}.", 128 + number


def end(text: str, code: int) -> None:
    """Ends this process and those that it started."""
    for process in children():
        process.kill()
    print(text, file=sys.stderr, flush=True)
    os._exit(code)


def ended(rank: int, code: int) -> tuple[str, int]:
    """What to say of a process that ended, and the exit code."""
    code = code if code > 0 else 128 - code
    told = (EXIT_STOPPED, *(128 + n for n in (2, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)))
    if asked and code in told:
        return how(asked[0][1])
    if code == EXIT_STOPPED:
        return f"Stopped by a signal to rank {rank} (exit code {EXIT_STOPPED}).", EXIT_STOPPED
    text = f"train.py stopped: rank {rank} ended with code {code}"
    if code == 128 + signal.SIGKILL:
        text += ": it was killed, by somebody or by the system for want of memory (see dmesg)"
    return f"{text}.", code


def main() -> None:
    """Runs torchrun, and ends as its processes ended."""
    numbers = [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]
    # What is ignored stays so, as nohup wants it.
    heeded = [n for n in numbers if signal.getsignal(n) != signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, receive)
    os.environ["FTC_LAUNCHER"] = str(os.getpid())  # train.py ends when this process is gone
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else it warns of every address it tries

    import logging

    from torch.distributed.elastic.multiprocessing import api
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, run

    logging.disable()  # what the agent has to say is said here
    api._terminate_process_handler = receive  # torch installs it when the processes start
    arguments = get_args_parser().parse_args()
    arguments.shutdown_timeout = PATIENCE
    arguments.signals_to_handle = ",".join(number.name for number in heeded)
    nodes = int(arguments.nnodes.partition(":")[0])
    try:
        if nodes > 1:
            place = rendezvous.whereabouts(os.environ, nodes)
            arguments.node_rank, arguments.master_addr, arguments.master_port = place
            store = rendezvous.meet(nodes, *place)  # noqa: F841 - held while torchrun opens it again
        run(arguments)
    except RunError as error:
        end(str(error), EXIT_ERROR)
    except ChildFailedError as error:
        rank, first = error.get_first_failure()
        end(*ended(rank, first.exitcode))
