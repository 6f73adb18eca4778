"""`ftc new`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ..diagnostics.diagnostic import Diagnostic
from ..facts.gather import is_file
from ..rows.formats import AUTO
from .options import SETTINGS
from .output import attempt, fail, report

ON_CPU = """\
It trains on the CPU, as no --accelerator was named. For a GPU, set in [hardware]
device = "cuda", and accelerator, as in "A100-80G"."""


@click.command()
@click.argument("base")
@click.option("--data", "source", required=True, help="A data file, or a data set of the Hub.")
@click.option(
    "--format",
    "data_format",
    help="Its row format.  [default: told by a file's columns; messages for the Hub]",
)
@click.option(
    "--method",
    type=click.Choice(["full", "lora", "qlora"]),
    default="lora",
    help="What is trained: every weight, adapters, or adapters on a 4-bit base.  [default: lora]",
)
@click.option(
    "--chat-template",
    help="One that ftc ships, or a .jinja file.  [default: the model's, or by its name]",
)
@click.option("--accelerator", help="The GPU, as in A100-80G.  [default: train on the CPU]")
@SETTINGS
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("spec.toml"),
    help="Where it is written.  [default: spec.toml]",
)
def new(
    base: str,
    source: str,
    data_format: str | None,
    method: str,
    chat_template: str | None,
    accelerator: str | None,
    settings: tuple[str, ...],
    output: Path,
) -> None:
    """Write a first spec that tunes BASE.

    BASE is a preset, a Hub id, or a folder with a model. Length, batch and epochs are
    chosen by the rows. The chat template of a Hub id is guessed from its name; where
    the name does not tell it, the spec says that it is still to be chosen.
    """
    from ..pipeline.new import Choices, beside, draft

    if output.exists():
        hint = "choose another name with -o"
        fail([Diagnostic("exists", "this file is there already", str(output), hints=(hint,))])
    if not output.parent.is_dir():
        hint = f"make it: mkdir -p {shlex.quote(str(output.parent))}"
        message = f"there is no folder {output.parent}"
        fail([Diagnostic("not-written", message, str(output), hints=(hint,))])
    data_format = data_format or (AUTO if is_file(source) else "messages")
    choices = Choices(
        *(output, beside(base, output), method, beside(source, output), data_format, accelerator),
        template=beside(chat_template, output) if chat_template else None,
    )
    found = attempt(lambda: draft(choices, settings))
    report(found.warnings)
    try:
        output.write_text(found.text, "utf-8")
    except OSError as error:
        hint = "choose another name with -o"
        fail([Diagnostic("not-written", str(error.strerror), str(output), hints=(hint,))])
    click.echo(f"{output}\n{found.compiled.plan.summary.value}")
    if found.compiled.plan.hardware.device.value == "cpu":
        click.echo(ON_CPU)
