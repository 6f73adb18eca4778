"""Fills the README with real output: python docs/readme.py [--check]. What stands between the marks is generated."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARK = re.compile(
    r"<!-- (?P<kind>file|run|excerpt)(?:: (?P<what>[^\n]+?))? -->\n(?:\n```\w*\n.*?\n```\n)?", re.S
)


def block(text: str, language: str = "") -> str:
    return f"\n```{language}\n{text.rstrip()}\n```\n"


def run(command: str) -> str:
    """The command and what it printed, diagnostics last."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    done = subprocess.run(
        command.split(), cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    return f"$ {command}\n{done.stdout}{done.stderr}"


def excerpt() -> str:
    """The batch arithmetic and the loop of the README's own run."""
    text = (ROOT / "runs/readme/train.py").read_text("utf-8")
    constants = text[text.index("# Batch") : text.index("# What is written down")]
    loop = text[text.index("    for step in range") : text.index("        log.step(")]
    return f"{constants.rstrip()}\n\n...\n\n{loop}"


def filled(text: str) -> str:
    def fill(match: re.Match[str]) -> str:
        kind, what = match["kind"], match["what"]
        mark = match[0].split("\n", 1)[0] + "\n"
        if kind == "file":
            return mark + block((ROOT / what).read_text("utf-8"), "toml")
        if kind == "run":
            return mark + block(run(what), "console")
        return mark + block(excerpt(), "python")

    return MARK.sub(fill, text)


if __name__ == "__main__":
    shutil.rmtree(ROOT / "runs/readme", ignore_errors=True)
    readme = ROOT / "README.md"
    new = filled(readme.read_text("utf-8"))
    if "--check" in sys.argv:
        sys.exit("README.md is stale: make docs" if new != readme.read_text("utf-8") else 0)
    readme.write_text(new, "utf-8")
