"""The one exception that a person is meant to read, and how a command ends with it."""

import signal
import sys
from collections.abc import Callable

EXIT_ERROR = 2  # the same as the compiler's


class RunError(Exception):
    """A run that can't start or go on, said in the form of a compiler's diagnostic.

    `code` names the kind of error, `hints` say how to mend it, one way out each.
    """

    def __init__(self, code: str, message: str, *hints: str, where: str = "run") -> None:
        super().__init__(code, message, *hints)  # as given, so that it travels between processes
        self.code, self.where = code, where

    def __str__(self) -> str:
        code, message, *hints = self.args
        lines = [f"{self.where}: error[{code}]: {message}", *(f"  hint: {hint}" for hint in hints)]
        return "\n".join(lines)


def run(main: Callable[[], None]) -> None:
    """Calls `main`; an error or Ctrl-C ends the process in one sentence."""
    try:
        main()
    except RunError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        print("\nInterrupted. The same command starts again.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
