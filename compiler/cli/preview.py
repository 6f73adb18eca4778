"""`ftc check --data`, `ftc preview`: the run's own reader, in a run directory that is thrown away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from ..document.load import Document
from ..pipeline.compile import Compiled, compile_for
from ..plan.data import copied_names
from ..run_dir.lock import read_lock
from ..run_dir.write import write
from .reach import hub_is_away


def check_data(document: Document, spec: Path, to_stderr: bool = False) -> tuple[int, int]:
    """Starts the runtime on the rows of a spec that compiles: its exit code, and how many warnings it gave.

    `to_stderr`: where its report goes, if stdout is for machines.
    """
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="ftc-") as folder:
        run = Path(folder, "run")
        compiled = compile_for(document, spec, run)
        write(compiled.files, run)
        command = [sys.executable, "-m", "ftc.runtime.tools.check_data"]
        piped = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        environment = {**_environment(run, _names(compiled, folder)), **piped}
        warnings = 0
        with subprocess.Popen(
            command, cwd=run, stdout=subprocess.PIPE, env=environment, encoding="utf-8"
        ) as process:
            for line in process.stdout or ():
                warnings += line.startswith("warning[")
                click.echo(line, nl=False, err=to_stderr)
        return process.returncode, warnings


def preview_spec(document: Document, spec: Path, number: int, html: Path | None) -> int:
    """Shows rows of a spec that compiles; the exit code."""
    with tempfile.TemporaryDirectory(prefix="ftc-") as folder:
        run = Path(folder, "run")
        compiled = compile_for(document, spec, run)
        write(compiled.files, run)
        return preview_run(run, number, html, _names(compiled, folder))


def _names(compiled: Compiled, folder: str) -> Path:
    """The file of `_originals`, in the folder of the run: the environment has no room for thousands of names."""
    file = Path(folder, "names.json")
    file.write_text(json.dumps(_originals(compiled)), "utf-8")
    return file


def _originals(compiled: Compiled) -> dict[str, str]:
    """What the run calls a file of the user's -> its path as the user knows it."""
    facts, data = compiled.facts, compiled.plan.data
    copies = copied_names(facts)
    names = {copies[key]: str(path) for key, path, _ in facts.copied()}
    if compiled.plan.model.folder and facts.local_model:
        names[compiled.plan.model.folder.value] = str(facts.local_model.path)
    for group, sources in (("train", data.train), ("validation", data.validation)):
        for index, source in enumerate(sources):
            fact = facts.files.get((group, index))
            if fact and source.file:
                names[source.file.value] = str(fact.path)
            elif fact and source.files:
                parts = zip(source.files.value, fact.parts, strict=True)
                names |= {name: str(part.path) for name, part in parts}
    return names


def _environment(run: Path, names: Path | None) -> dict[str, str]:
    """That of a tool of the runtime, whose errors are to name the user's own files.

    Where the Hub is away, it takes what is in the cache, or says at once that nothing is there.
    """
    plan = (read_lock(run) or {}).get("plan", {})
    of_hub = any(key.rpartition(".")[2] in ("hub_id", "hub") for key in plan)
    offline = {"HF_HUB_OFFLINE": "1"} if of_hub and hub_is_away() else {}
    own = {"FTC_NAMES": str(names.absolute())} if names else {}
    return {**os.environ, **own, **offline}


def preview_run(run: Path, number: int, html: Path | None, names: Path | None = None) -> int:
    """Shows the first samples of a run's data; the exit code. `html`: the page to write; `names`: see `_names`."""
    command = [sys.executable, "-m", "ftc.runtime.tools.preview", str(run), "-n", str(number)]
    page = ["--html", str(html)] if html else []
    environment = _environment(run, names)
    return subprocess.run([*command, *page], env=environment, check=False).returncode
