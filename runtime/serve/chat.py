"""A conversation with a model in the terminal; chat.py of a run directory calls `run`."""

import sys
from collections.abc import Callable
from typing import Any

from ..errors import EXIT_ERROR, RunError
from ..model.generate import Messages, generate, load

__all__ = ["load", "run"]  # what chat.py calls

HELP = """\
/reset forgets the conversation, /exit (or Ctrl-C, Ctrl-D) ends it. End a line with \\ to go on in the next one."""


def read(prompt: str) -> str | None:
    """One message, of several lines where they end with a backslash; None at the end of the input."""
    lines = []
    while True:
        try:
            line = input("" if not prompt else prompt if not lines else "... ")
        except EOFError:
            return "\n".join(lines) if lines else None
        except KeyboardInterrupt:  # drops the lines before, as a shell does, or is the end
            print()
            if not lines:
                return None
            lines = []
            continue
        if not line.endswith("\\"):
            return "\n".join([*lines, line])
        lines.append(line[:-1])


def run(
    model: Any,
    tokenizer: Any,
    *,
    system: str | None,
    settings: dict[str, Any],
    prompt: str | None = None,
    ask: Callable[[str], str | None] = read,
) -> None:
    """Answers `prompt` and returns; or piped standard input, as one prompt; or chats until /exit.

    `settings` go to `model.generate`. The history grows by every turn until /reset.
    """
    start: Messages = [{"role": "system", "content": system}] if system else []
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
    if prompt is not None:
        if prompt:
            question = [*start, {"role": "user", "content": prompt}]
            try:
                generate(model, tokenizer, question, settings, stream=True)
            except RunError as error:
                print(error, file=sys.stderr)
                sys.exit(EXIT_ERROR)
        return
    print(HELP)
    history = list(start)
    while (text := ask("\n> ")) is not None and text.strip() != "/exit":
        if text.strip() == "/reset":
            history = list(start)
            print("Forgotten.")
        elif text.strip().startswith("/"):
            print(HELP)
        elif text.strip():
            history.append({"role": "user", "content": text})
            try:
                answer = generate(model, tokenizer, history, settings, stream=True)
                history.append({"role": "assistant", "content": answer})
            except (KeyboardInterrupt, RunError) as error:
                history.pop()
                print(f"\n{str(error) or 'Stopped'}; this turn is forgotten.")
