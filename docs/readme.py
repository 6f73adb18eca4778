"""Fills README and guide with real output: python docs/readme.py [--check]. What follows a mark is generated."""

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


def run(command: str, folder: Path) -> str:
    """The command and what it printed, diagnostics last."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    shell = ["bash", "-c", command]
    done = subprocess.run(shell, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return f"$ {command}\n{done.stdout}{done.stderr}"


def excerpt() -> str:
    """The batch arithmetic and the loop of the README's own run."""
    text = (ROOT / "runs/readme/train.py").read_text("utf-8")
    constants = text[text.index("# Hardware and batch") : text.index("# What is written down")]
    loop = text[text.index("    for step in range") : text.index("        log.step(")]
    return f"{constants.rstrip()}\n\n...\n\n{loop}"


def filled(text: str, folder: Path) -> str:
    """The page, its commands run in `folder`, in their order."""

    def fill(match: re.Match[str]) -> str:
        kind, what = match["kind"], match["what"]
        mark = match[0].split("\n", 1)[0] + "\n"
        if kind == "file":
            return mark + block((folder / what).read_text("utf-8"), "toml")
        if kind == "run":
            return mark + block(run(what, folder), "console")
        return mark + block(excerpt(), "python")

    return MARK.sub(fill, text)


def folders() -> dict[str, Path]:
    """The pages, and where their commands run. The guide starts with nothing but rows."""
    guide = ROOT / "runs/guide"
    for old in (guide, ROOT / "runs/readme"):
        shutil.rmtree(old, ignore_errors=True)
    guide.mkdir(parents=True)
    shutil.copy(ROOT / "specs/data/quickstart.jsonl", guide / "rows.jsonl")
    return {"README.md": ROOT, "docs/guide.md": guide}


if __name__ == "__main__":
    stale: list[str] = []
    for name, folder in folders().items():
        page = ROOT / name
        old = page.read_text("utf-8")
        new = filled(old, folder)
        stale += [name] if new != old else []
        if "--check" not in sys.argv:
            page.write_text(new, "utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"stale: {', '.join(stale)}. Write them again: make docs")
