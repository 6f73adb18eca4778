"""`ftc report`."""

from __future__ import annotations

from pathlib import Path

import click

from ..diagnostics.diagnostic import CompileError, Diagnostic
from .output import fail


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUNS", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    help="The page.  [default: report.html]",
)
@click.option(
    "--png", type=click.Path(dir_okay=False, path_type=Path), help="The curves as a picture, too."
)
@click.option("--force", is_flag=True, help="Overwrite a page that is none of ftc report.")
def report_command(runs: tuple[Path, ...], output: Path, png: Path | None, force: bool) -> None:
    """Write a page on RUNS, which are run directories, side by side.

    It has the curves (loss, learning rate, gradient norm, throughput), the samples, the
    plan that was trained, and what differs between the specs. A run may be training, have stopped, or not
    have been started. The page is one file, without scripts.
    """
    from ..diff.sides import of_run, of_trained
    from ..report.log import read_log
    from ..report.page import MARK, Reported, page
    from .installing import not_installed

    found: list[Reported] = []
    problems: list[Diagnostic] = []
    for run, name in zip(runs, _names(runs), strict=True):
        try:
            compiled, log = of_run(run), read_log(run)
            trained = of_trained(run, compiled) if log.starts else compiled
            found.append(Reported(name, trained, log, compiled))
        except CompileError as error:
            problems += error.diagnostics
    if png is not None and (lacking := not_installed("report", "--png", str(png))):
        problems.append(lacking)
    if output.exists() and not force and MARK.encode() not in output.read_bytes()[:1000]:
        hint = "choose another name with -o, or overwrite it with --force"
        message = "this file is there already, and ftc report did not write it"
        problems.append(Diagnostic("exists", message, str(output), hints=(hint,)))
    if problems:
        fail(problems)
    try:
        output.write_bytes(page(found).encode("utf-8", "replace"))
        click.echo(output)
        if png is not None:
            from ..report.picture import picture

            picture(found, png)
            click.echo(png)
    except OSError as error:
        hint = "choose another name with -o or --png"
        where = str(error.filename or output)
        fail([Diagnostic("not-written", f"{error.strerror or error}", where, hints=(hint,))])


def _names(runs: tuple[Path, ...]) -> list[str]:
    """The runs' folders by their last name, or by their whole path where that is not enough."""
    short = [run.resolve().name for run in runs]
    return [
        name if short.count(name) == 1 else str(run) for run, name in zip(runs, short, strict=True)
    ]
