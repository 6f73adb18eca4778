"""torchrun, with its last word left out: `python -m ftc.runtime.torchrun` takes torchrun's arguments.

When a process fails, torchrun prints a traceback of its own below the message of the process that failed.
Here the message of the process stands last, and its exit code is the exit code.
"""

import logging
import os
import sys

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else it warns of every address it tries


from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import get_args_parser, run

if __name__ == "__main__":
    logging.disable()  # what the agent has to say is said below
    try:
        run(get_args_parser().parse_args())
    except ChildFailedError as error:
        rank, first = error.get_first_failure()
        print(f"train.py stopped: rank {rank} ended with code {first.exitcode}.", file=sys.stderr)
        sys.exit(first.exitcode if first.exitcode > 0 else 128 - first.exitcode)
    except SignalException as error:
        print(f"Stopped by {error.sigval.name}.", file=sys.stderr)
        sys.exit(128 + error.sigval)
    except KeyboardInterrupt:
        print("Stopped by Ctrl-C.", file=sys.stderr)
        sys.exit(130)
