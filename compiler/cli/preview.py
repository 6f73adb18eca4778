"""`ftc check --data`, `ftc preview`: the run's own reader, in a run directory that is thrown away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ..document.load import Document
from ..pipeline.compile import Compiled, compile_for
from ..plan.data import copied_names
from ..run_dir.write import write


def check_data(document: Document, spec: Path, to_stderr: bool = False) -> int:
    """Starts the runtime on the rows of a spec that compiles; its exit code.

    `to_stderr`: where its report goes, if stdout is for machines.
    """
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="ftc-") as folder:
        run = Path(folder, "run")
        compiled = compile_for(document, spec, run)
        write(compiled.files, run)
        command = [sys.executable, "-m", "ftc.runtime.tools.check_data"]
        return _start(command, _originals(compiled), cwd=run, to_stderr=to_stderr)


def preview_spec(document: Document, spec: Path, number: int, html: Path | None) -> int:
    """Shows rows of a spec that compiles; the exit code."""
    with tempfile.TemporaryDirectory(prefix="ftc-") as folder:
        run = Path(folder, "run")
        compiled = compile_for(document, spec, run)
        write(compiled.files, run)
        return preview_run(run, number, html, _originals(compiled))


def _originals(compiled: Compiled) -> dict[str, str]:
    """What the run calls a file of the user's -> its path as the user knows it."""
    facts, data = compiled.facts, compiled.plan.data
    copies = copied_names(facts)
    names = {copies[key]: str(path) for key, path, _ in facts.copied()}
    for group, sources in (("train", data.train), ("validation", data.validation)):
        for index, source in enumerate(sources):
            fact = facts.files.get((group, index))
            if fact and source.file:
                names[source.file.value] = str(fact.path)
            elif fact and source.files:
                parts = zip(source.files.value, fact.parts, strict=True)
                names |= {name: str(part.path) for name, part in parts}
    return names


def _start(
    command: list[str], names: dict[str, str], cwd: Path | None = None, to_stderr: bool = False
) -> int:
    """Runs a tool of the runtime, whose errors are to name the user's own files; its exit code."""
    environment = {**os.environ, "FTC_NAMES": json.dumps(names)}
    output = sys.stderr if to_stderr else None
    return subprocess.run(command, cwd=cwd, stdout=output, env=environment, check=False).returncode


def preview_run(
    run: Path, number: int, html: Path | None, names: dict[str, str] | None = None
) -> int:
    """Shows the first samples of a run directory's data; the exit code. `html` is the page to write."""
    command = [sys.executable, "-m", "ftc.runtime.tools.preview", str(run), "-n", str(number)]
    page = ["--html", str(html)] if html else []
    return _start([*command, *page], names or {})
