"""The page of diagnostics: what each code means, and what one looks like, from tests/errors."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ftc.compiler.diagnostics.codes import COMPILER, RUN
from ftc.compiler.diagnostics.secrets import mask

ROOT = Path(__file__).resolve().parent.parent
ERRORS = ROOT / "tests/errors"
CODE = re.compile(r"^[^\n]*?: (?P<severity>error|warning)\[(?P<code>[a-z0-9-]+)\]: ")
PLACE = re.compile(r"^spec\.toml:(\d+):", re.M)
NOTED = re.compile(r"\bline (\d+)")
LONGEST = 100  # characters in a line of a spec that is shown
GENERATED = "<!-- Written by `make docs`. Change what it is made from, not this page. -->"

INTRODUCTION = """\
When something is wrong with a spec, ftc says so all at once, sorted by place, and writes nothing:

    spec.toml:10:1: error[unknown-key]: [optim] has no key `warmup_stpes`
      10 | warmup_stpes = 10
         | ^^^^^^^^^^^^
      hint: did you mean `warmup_steps`?

That is: file, line and column; how bad it is and its code; what is wrong. Then the line, with carets under the place.
`note` says why it matters and what else takes part; each `hint` is a way out, and any of them will do. What `--set`
brought in is shown as it stands on the command line.

The code in brackets is stable, so that scripts may rely on it. `--format json` and `--format sarif` give the same to
editors and CI. The exit code is 0 if all is fine or there are only warnings, and 2 on errors.

Each code is below with a spec that brings it about and what ftc says of it. The specs and the messages are cases of the
test suite. What the [scripts of a run](#what-the-scripts-of-a-run-say) say comes last.
"""


def diagnostics_page() -> str:
    messages = examples()
    parts = ["# Diagnostics", GENERATED, INTRODUCTION, *contents()]
    for group, codes in COMPILER.items():
        parts.append(f"## {group}")
        parts += [f"### {code}\n\n{text}\n{messages.get(code, '')}" for code, text in codes.items()]
    parts += ["## What the scripts of a run say", RUNTIME, *map(run_code, RUN)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def contents() -> Iterator[str]:
    """The codes by what they are about."""
    lines = [
        f"- {group}: {', '.join(f'[{code}](#{code})' for code in codes)}"
        for group, codes in COMPILER.items()
    ]
    yield "\n".join(lines)


def examples() -> dict[str, str]:
    """For each code the plainest case: alone if possible, of the default command, and short."""
    found: dict[str, list[tuple[tuple[int, ...], str, str]]] = {}
    for path in sorted(ERRORS.rglob("stderr.txt")):
        blocks = [b for b in path.read_text("utf-8").split("\n\n") if CODE.match(b)]
        for block in blocks:
            match = CODE.match(block)
            assert match
            special = (path.parent / "args.txt").exists()
            plain = block.isascii(), "\ufffd" not in block, len(blocks) <= 3, not special
            rank = (*(not good for good in plain), len(blocks), len(block))
            name = path.parent.relative_to(ERRORS).as_posix()
            found.setdefault(match["code"], []).append((rank, name, block))
    return {code: shown(*min(all_of_it)[1:]) for code, all_of_it in found.items()}


def shown(name: str, block: str) -> str:
    """The lines of the case's spec that matter, and what is said of them."""
    folder = ERRORS / name
    arguments = folder / "args.txt"
    command = arguments.read_text("utf-8").strip() if arguments.exists() else "check spec.toml"
    text = f"```console\n$ ftc {command}\n{block.rstrip()}\n```\n"
    spec = folder / "spec.toml"
    numbers = [int(number) for number in (*PLACE.findall(block), *NOTED.findall(block))]
    if spec.exists() and numbers:
        source = spec.read_bytes().decode("utf-8", "replace").splitlines()
        if all(line.isprintable() and len(line) < LONGEST for line in source):
            text = f"```toml\n{mask(excerpt(source, numbers))}\n```\n\n{text}"
    return f"\n{text}"


def excerpt(source: list[str], numbers: list[int]) -> str:
    """The lines with these numbers (from 1), and the header of the table that each is in."""
    wanted = {number - 1 for number in numbers if number <= len(source)}
    for index in list(wanted):
        headers = [i for i in range(index + 1) if source[i].startswith("[")]
        wanted |= set(headers[-1:])
    lines: list[str] = []
    last = min(wanted)
    for index in sorted(wanted):
        if index > last + 1:
            lines += [""] if source[index].startswith("[") else ["# ..."]
        lines.append(source[index])
        last = index
    return "\n".join(lines)


RUNTIME = """\
`launch.sh`, `convert.sh` and the other scripts speak in the same form. What is in braces is filled in."""


def run_code(code: str) -> str:
    """A code of the runtime, with every message that the source has for it."""
    said = "\n\n".join(dict.fromkeys(text for found, text in run_messages() if found == code))
    return f"### {code} (run)\n\n{RUN[code]}\n\n```console\n{said}\n```"


def run_messages() -> Iterator[tuple[str, str]]:
    """Code and message of each RunError in the runtime's source, with its ways out."""
    for path in sorted((ROOT / "runtime").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RunError":
                code, message, *hints = (words(argument) for argument in node.args)
                yield (
                    code,
                    "\n".join([f"error[{code}]: {message}", *(f"  hint: {h}" for h in hints)]),
                )


def words(node: ast.expr) -> str:
    """The text that an expression of the source makes, its variable parts in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(words(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return words(node.value) if isinstance(node.value, ast.Name) else "{...}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return words(node.left) + words(node.right)
    if isinstance(node, ast.Name):
        return f"{{{node.id}}}"
    return "{...}"
