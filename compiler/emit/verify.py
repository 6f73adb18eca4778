"""Files -> diagnostics: is what was rendered sound in its own language, is its arithmetic right?

Nothing is written unless this finds nothing. A finding is a fault of ftc, never of the user.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess

from ..diagnostics.diagnostic import Diagnostic
from ..plan.plan import Plan
from .files import File, Files


def verify(files: Files, plan: Plan) -> list[Diagnostic]:
    """Compiles the Python, parses the shell and reads the JSON of a run directory."""
    shell = _shell({path: file for path, file in files.items() if path.endswith(".sh")})
    found: list[Diagnostic] = []
    for path, file in files.items():
        message = shell.get(path)
        if path.endswith(".py") and not path.startswith("data/"):
            message = _python(file)
        elif path == "ds_config.json":
            message = _ds_config(file, plan)
        if message:
            hint = "this is a fault of ftc: please report it with the spec"
            found.append(Diagnostic("internal", message, path, hints=(hint,)))
    return found


def _python(file: File) -> str | None:
    try:
        ast.parse(file.content)
    except (SyntaxError, ValueError) as error:
        return f"the generated Python is not valid: {error}"
    return None


def _shell(scripts: Files) -> dict[str, str]:
    """What bash finds wrong, by path. It reads all scripts at the same time: most of that is its start."""
    bash = shutil.which("bash")
    if bash is None:
        return {}
    pipe = subprocess.PIPE
    started = {path: subprocess.Popen([bash, "-n"], stdin=pipe, stderr=pipe) for path in scripts}
    found: dict[str, str] = {}
    for path, process in started.items():
        _, errors = process.communicate(scripts[path].content)
        if process.returncode:
            found[path] = f"the generated shell script is not valid: {errors.decode()}"
    return found


def _ds_config(file: File, plan: Plan) -> str | None:
    config = json.loads(file.content)
    product = (
        config["train_micro_batch_size_per_gpu"]
        * config["gradient_accumulation_steps"]
        * (plan.batch.data_parallel_size or plan.batch.world_size).value
    )
    if config["train_batch_size"] != product:
        return f"train_batch_size is {config['train_batch_size']}, the factors make {product}"
    return "a value is left open" if '"auto"' in file.content.decode() else None
