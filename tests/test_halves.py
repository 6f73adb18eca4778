"""The compiler and the runtime stay apart, light and small."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ftc import compiler

from .specs import ROOT

HEAVY = ("torch", "transformers", "datasets", "deepspeed", "peft", "numpy", "rich", "ftc.runtime")


def test_compiling_loads_nothing_heavy(spec: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from ftc.compiler.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        f"print(sorted(m for m in {HEAVY} if m in sys.modules))"
    )
    command = [sys.executable, "-c", code, "compile", str(spec), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def imports(path: Path) -> Iterator[str]:
    """The modules that a file of ours imports, with relative names resolved."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ["ftc", path.parent.name][: 3 - node.level] if node.level else []
            module = ".".join([*package, *([node.module] if node.module else [])])
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


def test_the_two_halves_do_not_import_each_other() -> None:
    for half, others in (
        ("compiler", (*HEAVY, "ftc.runtime")),
        ("runtime", ("ftc.compiler", "ftc.templates", "ftc.specs")),
    ):
        files = sorted((ROOT / half).rglob("*.py"))
        assert files
        for path in files:
            for module in imports(path):
                assert not any(f"{module}.".startswith(f"{other}.") for other in others), (
                    f"{path.name} imports {module}"
                )


def test_stages_can_be_imported() -> None:
    for stage in ("load", "validate", "resolve", "render", "verify", "write"):
        assert callable(getattr(compiler, stage))


@pytest.mark.parametrize("half", ["compiler", "runtime"])
def test_files_stay_small(half: str) -> None:
    sizes = {p.name: len(p.read_text("utf-8").splitlines()) for p in (ROOT / half).rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 350} == {}


def test_no_run_imports_the_tools() -> None:
    """They are no part of its lock."""
    for path in (ROOT / "runtime").rglob("*.py"):
        if path.parent.name not in ("tools", "formats"):
            names = [name for module in imports(path) for name in module.split(".")]
            assert "tools" not in names, path.name
