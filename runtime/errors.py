"""The one exception that a person is meant to read, and how a command ends with it."""

import re
import signal
import sys
from collections.abc import Callable

EXIT_ERROR = 2  # the same as the compiler's
LOGIN = re.compile(r"(?<=://)[^\s/?#@]+:[^\s/?#@]+(?=@)")  # in an address


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
        return shown("\n".join(lines))


def shown(text: str) -> str:
    """The text as it can be printed: names that come from files command no terminal, logins stay hidden."""
    text = LOGIN.sub("***", text)
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


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
