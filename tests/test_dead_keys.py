"""No dead key: a change of any key changes what is emitted, and every value of the plan is read."""

import ast
import re
from pathlib import Path

import pytest
from ftc.compiler.emit.files import Files
from ftc.compiler.run_dir.write import LOCK

from .changes import CHANGES, leaves, put
from .specs import ROOT, TEMPLATES, render


def test_the_table_of_changes_has_every_key() -> None:
    assert set(CHANGES) == set(leaves())


@pytest.mark.parametrize("path", sorted(CHANGES))
def test_no_key_is_dead(path: str, folder: Path) -> None:
    one, other, data = CHANGES[path]
    sides = [emitted(render(put(data, path, value), folder)) for value in (one, other)]
    assert sides[0] != sides[1]


def emitted(files: Files) -> dict[str, str]:
    """What a run does: its code without docstrings and comments, its data; no words for people."""
    told = ("spec.toml", "README.md", LOCK)
    texts = {p: f.content.decode("utf-8", "replace") for p, f in files.items() if p not in told}
    return {path: bare(path, text) for path, text in texts.items()}


def bare(path: str, text: str) -> str:
    if path.endswith(".py"):
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(
                node
            ):
                del node.body[0]
        return ast.dump(tree)
    if path.endswith((".sh", ".txt")):
        return "".join(line for line in text.splitlines(True) if not line.startswith("#"))
    return text


def test_every_value_of_the_plan_is_read() -> None:
    from ftc.compiler.plan import plan

    places = [*TEMPLATES.rglob("*.jinja"), *(ROOT / "compiler/emit").glob("*.py")]
    text = "".join(path.read_text("utf-8") for path in places)
    for table in vars(plan).values():
        if isinstance(table, type) and table.__module__ == plan.__name__ and "Plan" in str(table):
            for name in table.__annotations__:
                assert re.search(rf"\.{name}\b|\"{name}\"", text), f"{table.__name__}.{name}"
