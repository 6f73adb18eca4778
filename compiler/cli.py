"""The command line. Exit codes: 0 fine, 1 differs, 2 error.

Results go to stdout, diagnostics to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from . import Compiled, compile_document, compile_file, load
from .diagnostics import CompileError, Diagnostic
from .load import Document
from .write import tool_version, write


def report(diagnostics: tuple[Diagnostic, ...]) -> None:
    """Diagnostics on stderr, apart by a blank line; severity in colour on a terminal."""
    for diagnostic in diagnostics:
        text = str(diagnostic)
        colour = "red" if diagnostic.severity == "error" else "yellow"
        marker = f"{diagnostic.severity}[{diagnostic.code}]"
        click.echo(text.replace(marker, click.style(marker, fg=colour, bold=True), 1), err=True)
        click.echo(err=True)


def fail(diagnostics: tuple[Diagnostic, ...]) -> NoReturn:
    """Every diagnostic, how many there are, and the end of the process."""
    report(diagnostics)
    counts: list[str] = []
    for severity in ("error", "warning"):
        number = sum(d.severity == severity for d in diagnostics)
        counts += [f"{number} {severity}{'' if number == 1 else 's'}"] if number else []
    click.echo(f"{', '.join(counts)}. Nothing was written.", err=True)
    sys.exit(2)


def attempt(action: Callable[[], Compiled]) -> Compiled:
    """The action's result, its warnings reported; or the end of the process with every error."""
    try:
        compiled = action()
    except CompileError as error:
        fail(error.diagnostics)
    report(compiled.warnings)
    return compiled


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tool_version(), prog_name="ftc")
def main() -> None:
    """Compile the spec of a fine-tuning run into a directory of readable scripts.

    \b
      ftc check spec.toml            what is wrong with it, all at once
      ftc compile spec.toml -o out   write the run; next: bash out/launch.sh
      ftc diff old.toml new.toml     what changes, and what follows from it

    Exits with 0 if all is fine, 1 if something differs, 2 on errors. Results go to
    stdout, diagnostics to stderr.
    """


SPEC = click.argument("spec", type=click.Path(path_type=Path))


@main.command("compile")
@SPEC
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The run directory.  [default: runs/NAME]",
)
@click.option("--force", is_flag=True, help="Overwrite generated files that were edited.")
def compile_command(spec: Path, output: Path | None, force: bool) -> None:
    """Write the run directory of SPEC.

    Nothing is written unless SPEC has no errors. What a run has produced in the
    directory (checkpoints, logs, exports) stays; a generated file that was edited
    is not overwritten.
    """

    def action() -> Compiled:
        nonlocal output
        if output is None:
            name = compile_document(load(spec)).plan.name.value
            output = Path("runs") / name
        compiled = compile_file(spec, output)
        changed.extend(write(compiled.files, output, force=force))
        return compiled

    changed: list[str] = []
    compiled = attempt(action)
    click.echo(f"{compiled.plan.summary.value}\n")
    for path, file in compiled.files.items():
        mark = "" if path in changed else "  (unchanged)"
        click.echo(f"  {output}/{path}{mark}" if file.content else f"  {output}/{path}")


@main.command()
@SPEC
def check(spec: Path) -> None:
    """Report every problem of SPEC; write nothing.

    Warnings are no errors: they go to stderr, and the exit code stays 0.
    """
    compiled = attempt(lambda: compile_document(load(spec)))
    click.echo(f"{spec}: fine.\n{compiled.plan.summary.value}")


@main.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--files", is_flag=True, help="Show what changes in each file, too.")
def diff(old: Path, new: Path, files: bool) -> None:
    """Show what changes from OLD to NEW.

    That is: keys, values that follow from them, files, and whether the checkpoints
    of OLD can be resumed. Exits with 0 if both compile to the same run, 1 if not.
    """
    from .diff import diff as compare
    from .diff_show import show

    sides: list[tuple[Document, Compiled]] = []
    problems: list[Diagnostic] = []
    for path in (old, new):
        try:
            document = load(path)
            sides.append((document, compile_document(document)))
        except CompileError as error:
            problems += error.diagnostics
    if problems:
        fail(tuple(problems))
    difference = compare(*sides)
    text = show(difference, sides[0][1], sides[1][1], files=files)
    colours = {"+": "green", "-": "red", "~": "yellow"}
    for line in text.splitlines():
        click.echo(click.style(line, fg=colours.get(line[:1])) if line[1:2] == " " else line)
    sys.exit(1 if difference else 0)


if __name__ == "__main__":
    main()
