"""Arguments and options that several commands have."""

from pathlib import Path

import click

from .completion import settable
from .output import FORMATS

SPEC = click.argument("spec", type=click.Path(path_type=Path))
SPECS = click.argument(
    "specs", nargs=-1, required=True, metavar="SPECS", type=click.Path(path_type=Path)
)
SETTINGS = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=settable,
    help="Change a value of the spec, as in optim.learning_rate=1e-4. Repeatable.",
)


FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    help="How problems are told: json and sarif go to stdout, and nothing else does.",
)


JSON = click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json")),
    default="text",
    help="For people, or for programs.  [default: text]",
)
