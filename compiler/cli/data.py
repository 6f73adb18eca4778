"""`ftc data`: what is done with rows without a run. The runtime does it, in a process of its own."""

from __future__ import annotations

import datetime
import json
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import fill

import click

from ..check.validate import validate
from ..diagnostics.diagnostic import Diagnostic
from ..pipeline.compile import load
from ..pipeline.set_values import override
from ..rows.formats import FORMATS, unknown
from .options import SETTINGS, SPEC
from .output import attempt, columns, fail, report, without_advice
from .row_sources import row_sources


@click.group("data")
def data() -> None:
    """List row formats, convert data."""


def _named(_context: click.Context, _parameter: click.Parameter, start: str) -> list[str]:
    return [name for name in FORMATS if name.startswith(start)]


@data.command("formats")
@click.argument("name", required=False, shell_complete=_named)
def formats(name: str | None) -> None:
    """List the row formats, or show a row of one.

    The list has the columns that each format needs.
    """
    if name is not None and name not in FORMATS:
        problem = unknown(name)
        fail([Diagnostic(problem.code, problem.message, name, hints=tuple(problem.hints))])
    if name is not None:
        click.echo(f"{FORMATS[name].help}\n{FORMATS[name].example_row}")
        return
    width = max(map(len, FORMATS)) + 2
    for each, format in FORMATS.items():
        text = f"{each:<{width}}{', '.join(format.columns)}: {format.help}"
        wide = columns() or len(text) + 1
        click.echo(fill(text, wide, subsequent_indent=" " * width, break_on_hyphens=False))


OUTPUT = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The file to write."
)
FORCE = click.option("--force", is_flag=True, help="Overwrite OUTPUT.")


@data.command("export")
@SPEC
@OUTPUT
@click.option("--validation", is_flag=True, help="The rows of [[data.validation]] instead.")
@click.option("--source", type=click.IntRange(1), help="One of the sources: 1 is the first.")
@SETTINGS
@FORCE
def export(
    spec: Path,
    output: Path,
    validation: bool,
    source: int | None,
    settings: tuple[str, ...],
    force: bool,
) -> None:
    """Write the rows that SPEC trains on in one form, as JSON Lines.

    Whatever format they are in, conversations become chat messages, with tools and with
    `loss` where an answer is not learnt; text stays text, tokens stay tokens, and pairs
    get the columns chosen and rejected. A run on the file sees the same tokens.
    """
    document = attempt(lambda: override(load(spec), settings))
    checked = attempt(lambda: validate(document, but=("pairs-not-trained",)))
    report(without_advice(checked.warnings))
    group = "validation" if validation else "train"
    sources, rows = row_sources(checked, spec.parent, group, source)
    if not sources:
        wanted = f"[[data.{group}]]" + (f" number {source}" if source else "")
        known = checked.spec.data
        hint = (
            f"it has {len(known.train)} [[data.train]], {len(known.validation)} [[data.validation]]"
        )
        fail((Diagnostic("no-source", f"there is no {wanted}", str(spec), hints=(hint,)),))
    _run("export_data", output, force, str(output), given={"sources": sources, "rows": rows})


@data.command("arxiv")
@click.argument("snapshot", type=click.Path(path_type=Path))
@OUTPUT
@click.option("--categories", default="cs.AI,cs.CL,cs.CV", show_default=True, metavar="LIST")
@click.option(
    "--start-date",
    type=click.DateTime(["%Y-%m-%d"]),
    default="2020-01-01",
    show_default=True,
    help="Leave out papers that were not updated since.",
)
@FORCE
def arxiv(
    snapshot: Path, output: Path, categories: str, start_date: datetime.datetime, force: bool
) -> None:
    """Choose papers of arXiv's SNAPSHOT, for the format arxiv.

    SNAPSHOT is arxiv-metadata-oai-snapshot.json of Kaggle's Cornell-University/arxiv.
    """
    day = start_date.date().isoformat()
    names = ",".join(name.strip() for name in categories.split(",") if name.strip())
    _run("arxiv", output, force, str(snapshot), str(output), names, day)


def _run(module: str, output: Path, force: bool, *arguments: str, given: object = None) -> None:
    """Runs a module of the runtime, which writes `output`, and ends as it ended."""
    if output.exists() and not force:
        hint = "choose another name with -o, or overwrite it with --force"
        fail((Diagnostic("exists", "this file is there already", str(output), hints=(hint,)),))
    from .installing import not_installed  # it asks for what is installed, which takes a while

    if lacking := not_installed("train", "reading rows", "ftc data"):
        fail([lacking])
    command = [sys.executable, "-m", f"ftc.runtime.tools.{module}", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process, which tidies up
        process.communicate(json.dumps(given))
    sys.exit(process.returncode)
