"""`ftc check --data`, `ftc preview`: the run's own reader, in a run directory that is thrown away."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from . import compile_for
from .load import Document
from .write import write


def check_data(document: Document, spec: Path, to_stderr: bool = False) -> int:
    """Starts the runtime on the rows of a spec that compiles; its exit code.

    `to_stderr`: where its report goes, if stdout is for machines.
    """
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="ftc-") as folder:
        run = Path(folder, "run")
        write(compile_for(document, spec, run).files, run)
        command = [sys.executable, "-m", "ftc.runtime.tools.check_data"]
        output = sys.stderr if to_stderr else None
        return subprocess.run(command, cwd=run, stdout=output, check=False).returncode


def preview_spec(document: Document, spec: Path, number: int, html: Path | None) -> int:
    """Shows rows of a spec that compiles; the exit code."""
    with tempfile.TemporaryDirectory(prefix="ftc-") as folder:
        run = Path(folder, "run")
        write(compile_for(document, spec, run).files, run)
        return preview_run(run, number, html)


def preview_run(run: Path, number: int, html: Path | None) -> int:
    """Shows the first samples of a run directory's data; the exit code. `html` is the page to write."""
    if find_spec("transformers") is None:
        print(
            "preview: error[no-runtime]: transformers, which holds the tokenizers, is not installed\n"
            "  hint: pip install 'ftc[train]'",
            file=sys.stderr,
        )
        return 2
    command = [sys.executable, "-m", "ftc.runtime.tools.preview", str(run), "-n", str(number)]
    page = ["--html", str(html)] if html else []
    return subprocess.run([*command, *page], check=False).returncode
