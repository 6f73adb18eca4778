"""A conversation with a model in the terminal; chat.py of a run directory calls `run`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import EXIT_ERROR, RunError
from ..model.generate import Messages, generate, load

__all__ = ["choose", "load", "run"]  # what chat.py calls

HELP = """\
/reset forgets the conversation, /exit (or Ctrl-C, Ctrl-D) ends it. End a line with \\ to go on in the next one."""


OF = {"base": "the model before training", "adapter": "the base with export/adapter"}


class Chosen(NamedTuple):
    """The folder of a merged model, or of an adapter; neither is the base. `prompt`: what to answer, once."""

    merged: str | None
    adapter: str | None
    prompt: str | None


def choose(folder: Path, *made: str) -> Chosen:
    """What the command line asks for. `made`: what convert.sh makes of the run, "adapter" and "merged".

    Without a choice it is the last of them that is there. Ends the process where a choice is not there.
    """
    parser = argparse.ArgumentParser(prog="chat.py", allow_abbrev=False)
    group = parser.add_mutually_exclusive_group()
    for name in ("base", *made) if len(made) > 1 else ("base",):
        words = OF.get(name, f"export/{name}")
        group.add_argument(f"--{name}", dest="choice", action="store_const", const=name, help=words)
    parser.add_argument("--prompt", help="answer this and exit")
    options = parser.parse_args()
    paths = {name: folder / "export" / name for name in made}
    there = [name for name in reversed(made) if paths[name].is_dir()]
    name = options.choice or (there or made)[0]
    if name != "base" and name not in there:
        parser.error(f"there is no export/{name}/ yet: run bash convert.sh first")
    merged, adapter = (str(paths[one]) if one == name else None for one in ("merged", "adapter"))
    return Chosen(merged, adapter, options.prompt)


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
    system: str | None = None,
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
