"""The command line. Exit codes: 0 fine, 1 differs, 2 error.

Results go to stdout, diagnostics to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Literal

import click

from ..diagnostics.diagnostic import CompileError
from ..pipeline.compile import Compiled, compile_document, load
from ..pipeline.set_values import override
from ..pipeline.several import check_each, compile_each
from ..plan.summary import plural, summary
from ..run_dir.write import outdated, write
from ..version import VERSION
from .completion import explainable
from .data import data
from .new import new
from .options import FORMAT, JSON, SETTINGS, SPEC, SPECS
from .other_commands import Commands
from .output import ESTIMATES, Format, attempt, columns, fail, report, short_pins, without_advice
from .report import report_command

# No other package has a say in what a spec compiles to; to look for those that would takes a while, too.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="ftc")
def main() -> None:
    """Compile the spec of a fine-tuning run into a directory of readable scripts.

    \b
      ftc new BASE --data FILE       a first spec
      ftc check spec.toml            what is wrong with it, all at once
      ftc preview spec.toml          its data as the model will see it
      ftc explain spec.toml          every value, and where it comes from
      ftc compile spec.toml -o out   write the run; next: bash out/launch.sh
      ftc diff old.toml new.toml     what changes, and what follows from it
      ftc verify out                 is the run still what was compiled
      ftc report out                 a page on what it did: curves, samples, plan

    Exits with 0 if all is fine, 1 if something differs, 2 on errors. Results go to
    stdout, diagnostics to stderr.
    """


@main.command("compile")
@SPECS
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The run directory; for several specs, their parent.  [default: runs/NAME]",
)
@SETTINGS
@FORMAT
@click.option("--force", is_flag=True, help="Overwrite generated files that were edited.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if the directory is stale.")
def compile_command(
    specs: tuple[Path, ...],
    output: Path | None,
    settings: tuple[str, ...],
    form: Format,
    force: bool,
    check: bool,
) -> None:
    """Write the run directory of each of SPECS.

    Nothing is written unless no spec has errors. What a run has produced in its
    directory (checkpoints, logs, exports) stays; a generated file that was edited
    is not overwritten. The changed values of --set stand in the run's spec.toml.
    """
    compiled = attempt(lambda: compile_each(specs, output, settings), form)
    warnings = tuple(warning for _, result in compiled for warning in result.warnings)
    if form == "text":
        report(short_pins(warnings))
    differs = False
    try:
        for folder, result in compiled:
            differs |= (
                _stale(folder, result, form) if check else _written(folder, result, force, form)
            )
    except CompileError as error:
        fail(error.diagnostics if form == "text" else (*warnings, *error.diagnostics), form)
    if form != "text":
        report(warnings, form)
    if check and differs:
        sys.exit(1)


def _written(folder: Path, compiled: Compiled, force: bool, form: Format) -> bool:
    """Writes a run directory and lists it; whether anything changed."""
    changed = write(compiled.files, folder, force=force)
    if form == "text":
        click.echo(f"{compiled.plan.summary.value}\n")
        for path in compiled.files:
            click.echo(f"  {folder}/{path}" + ("" if path in changed else "  (unchanged)"))
    return bool(changed)


def _stale(folder: Path, compiled: Compiled, form: Format) -> bool:
    """Says which files of a run directory are not what the spec compiles to now."""
    stale = outdated(compiled.files, folder)
    if form == "text":
        for path, why in stale.items():
            click.echo(f"{folder}/{path}: {why}")
        click.echo(f"{folder}: {'stale' if stale else 'up to date'}")
    return bool(stale)


@main.command()
@SPEC
@click.argument("key", required=False, shell_complete=explainable)
@SETTINGS
@JSON
def explain(
    spec: Path, key: str | None, settings: tuple[str, ...], form: Literal["text", "json"]
) -> None:
    """Show every decided value of SPEC and where it comes from.

    KEY (as in optim.learning_rate, or a table such as optim) shows those values with
    their help, and what a change of them means for checkpoints.
    """
    from ..plan.explain import as_json, show
    from ..plan.explain import explain as explained

    document = attempt(lambda: override(load(spec), settings), form)
    compiled = attempt(lambda: compile_document(document), form)
    found = attempt(lambda: explained(document, compiled.plan, key), form)
    if form == "json":
        click.echo(as_json(found, compiled.warnings), nl=False)
        return
    report(without_advice(compiled.warnings))
    click.echo(show(found, details=key is not None, width=columns()), nl=False)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--deep", is_flag=True, help="Read every byte of a local base's weights, too.")
def verify(run: Path, deep: bool) -> None:
    """Tell what of a RUN directory is no longer what was compiled.

    By its lock, that is: files edited or missing, data that the run reads and that
    changed, another base or runtime, a spec that changed since. Exits with 0 if
    nothing is, 1 if something is.

    Of the weights of a base in a local folder, names, sizes, headers and samples are
    compared. With --deep every byte is, with what the newest checkpoint was trained on.

    A small data file is copied into the run, so a change of the original changes no
    run: whether a spec and its data compile to something else now, `ftc compile SPEC
    -o RUN --check` tells.
    """
    from ..run_dir.verify import verify_run

    try:
        findings = verify_run(run, deep)
    except CompileError as error:
        fail(error.diagnostics)
    for finding in findings:
        click.echo(f"{finding.kind:<8} {finding.what}: {finding.why}")
    click.echo(f"{run}: " + ("differs" if findings else "as compiled"))
    sys.exit(1 if findings else 0)


@main.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a spec, for editors.

    Editors with taplo or tombi complete and check a spec that begins with the line
    `#:schema ./ftc.schema.json`, or that their configuration names:

    \b
      ftc schema > ftc.schema.json
    """
    from ..spec.json_schema import schema

    click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))


@main.command()
@SPECS
@SETTINGS
@FORMAT
@click.option("--data", "with_data", is_flag=True, help="Tokenize all rows, too, and count them.")
def check(
    specs: tuple[Path, ...], settings: tuple[str, ...], form: Format, with_data: bool
) -> None:
    """Report every problem of SPECS; write nothing.

    Warnings are no errors: they go to stderr, and the exit code stays 0. With --data,
    the rows are read as the run will read them, and a table shows what becomes of
    them; the tokens stay in the cache, and the run finds them there.
    """
    compiled, problems = check_each(specs, settings)
    measured = with_data and not problems
    warnings = [
        warning
        for each in compiled
        for warning in each.compiled.warnings
        if not (measured and warning.code in ESTIMATES)
    ]
    if not problems:
        report(warnings, form)
    elif form == "text":
        report(warnings)
    exit_code = 0
    for spec, document, result in compiled:
        count = sum(warning in warnings for warning in result.warnings)
        if measured:
            from .installing import not_installed
            from .preview import check_data

            if lacking := not_installed("train", "ftc check --data", str(spec)):
                fail([lacking], form)

            code, more = check_data(document, spec, to_stderr=form != "text")
            exit_code, count = max(exit_code, code), count + more
        if form == "text" and not exit_code:
            verdict = f"compiles, with {plural(count, 'warning')}" if count else "fine"
            text = summary(result.plan, result.facts, estimated=not measured)
            click.echo(f"{spec}: {verdict}.\n{text}")
    if problems:
        fail(problems if form == "text" else [*warnings, *problems], form)
    sys.exit(exit_code)


@main.command()
@click.argument("old")
@click.argument("new")
@click.option("--files", is_flag=True, help="Show what changes in each file, too.")
@JSON
def diff(old: str, new: str, files: bool, form: Literal["text", "json"]) -> None:
    """Show what changes from OLD to NEW.

    Each is a spec, a run directory (what its lock recorded), or either of them in
    git: REV:PATH, where PATH is relative to the repository's root, or to this folder
    if it begins with ./ (:PATH is what is staged).

    That is: keys, values that follow from them, files, and whether the checkpoints
    of OLD can be resumed. Exits with 0 if both compile to the same run, 1 if not.
    """
    from ..diff.compare import compare
    from ..diff.show import as_json

    difference = attempt(lambda: compare(old, new), form)
    if form == "json":
        click.echo(as_json(difference), nl=False)
        sys.exit(1 if difference else 0)
    text = difference.text(files=files)
    colours = {"+": "green", "-": "red", "~": "yellow"}
    for line in text.splitlines():
        click.echo(click.style(line, fg=colours.get(line[:1])) if line[1:2] == " " else line)
    sys.exit(1 if difference else 0)


@main.command()
@SPEC
@SETTINGS
@click.option("-n", "--number", default=3, show_default=True, help="How many samples to show.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to FILE, too."
)
def preview(spec: Path, settings: tuple[str, ...], number: int, html: Path | None) -> None:
    """Show rows of SPEC's data as the model will see them.

    That is: tokens, with those marked that are learnt; the borders in a packed
    sequence; what was dropped, and why; how long the samples are. SPEC may also be a
    run directory. The training packages must be installed.
    """
    from ..run_dir.lock import LOCK, PENDING, run_lock
    from .installing import not_installed
    from .preview import preview_run, preview_spec

    if lacking := not_installed("train", "ftc preview", str(spec)):
        fail([lacking])
    if (spec / LOCK).exists() or (spec / PENDING).exists():
        attempt(lambda: run_lock(spec, "name a spec, or a run directory"))
        sys.exit(preview_run(spec, number, html))
    document = attempt(lambda: override(load(spec), settings))
    report(without_advice(attempt(lambda: compile_document(document)).warnings))
    sys.exit(preview_spec(document, spec, number, html))


main.add_command(data)
main.add_command(new)
main.add_command(report_command)
