"""`ftc new`: a first spec to go on from, with what a user most often changes spelled out."""

from __future__ import annotations

import shlex
from pathlib import Path

from .diagnostics import visible
from .quote import toml

HEAD = """\
# {name}: compile it with `ftc compile {file}`; `ftc explain {file}` shows every default.
name = {quoted_name}
seed = 42

[model]
base = {base}
max_seq_length = 1024

[method]
kind = {method}
"""
LORA = "rank = 16\nalpha = 32\n"
TAIL = """
[[data.train]]
source = {source}
format = {format}

[train]
num_epochs = 3
global_batch_size = 16
micro_batch_size = 1

[hardware]
{hardware}
"""


def first_spec(
    file: Path,
    base: str,
    method: str,
    source: str,
    data_format: str,
    accelerator: str | None,
) -> str:
    """The text of a spec that is to be written to `file`."""
    device = (
        f'device = "cuda"\naccelerator = {toml(accelerator)}' if accelerator else 'device = "cpu"'
    )
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in file.stem)
    name = name.lstrip("._-") or "run"
    values = {
        "name": name,
        "file": visible(shlex.quote(file.name)),
        "quoted_name": toml(name),
        "base": toml(base),
        "method": toml(method),
        "source": toml(source),
        "format": toml(data_format),
        "hardware": device,
    }
    lora = LORA if method != "full" else ""
    return HEAD.format(**values) + lora + TAIL.format(**values)
