"""The rooms of the house: which may import which, and that both halves stay light and small."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from ftc import compiler

from .specs import ROOT

HEAVY = ("torch", "transformers", "datasets", "deepspeed", "peft", "numpy", "rich")

# Lines of each half. A number falls with what is removed, and grows for a new capability alone, whose commit
# says so.
BUDGET = {"compiler": 16_550, "runtime": 13_650}

# The floors of each half, the lowest first: a room imports from itself and from the floors below.
FLOORS = {
    "compiler": (
        ("catalog", "version"),  # facts of the world, which know nothing of a spec
        ("diagnostics",),  # what is wrong, whatever it is about
        ("document", "rows"),  # a text with places; rows in files: neither knows the language
        ("spec",),  # the language, which names formats of rows
        ("facts",),  # what a spec refers to
        ("plan", "rules"),  # what is decided, what is judged: neither asks the other
        ("check", "emit", "estimate"),  # stages: each takes what is below, and none another
        ("run_dir",),  # what was emitted, on disk
        ("pipeline",),  # the stages, one after the other
        ("diff",),  # compares what the pipeline gives
        ("report",),  # shows runs, and how they differ
        ("cli", "api"),  # for people, for programs
    ),
    "runtime": (
        ("errors",),
        ("process", "rows"),  # the system; rows in files
        ("formats",),  # what a row says
        ("data",),  # rows become batches, whatever the model
        ("model",),
        ("checkpoint",),  # of a model and its place in the data
        ("train",),  # the loop of all these
        ("export",),  # what is made of a checkpoint
        ("serve",),  # what is done with an export
        ("tools", "convert", "lock", "models", "torchrun"),  # commands: nothing imports them
    ),
}

# What the compiler may import from the runtime: it needs the standard library alone.
SHARED = {
    "ftc.runtime.train.duration": "how long a run is, in words",
    "ftc.runtime.errors": "the error that a reader raises",
    "ftc.runtime.formats": "what a row says: functions, and the faults of a row in words",
    "ftc.runtime.formats.conversations": "the same",
    "ftc.runtime.rows.files": "rows of text files",
    "ftc.runtime.process.digests": "digests of a model folder, which a launch compares with the lock's",
    "ftc.runtime.process.lock": "the shape of ftc.lock, and the digest of the runtime",
}


def name_of(path: Path) -> str:
    """The module that a file of ours is."""
    half, *rooms = path.relative_to(ROOT).with_suffix("").parts
    parts = [part for part in (half, *rooms) if part != "__init__"]
    return ".".join(["ftc", *(parts[2:] if parts[:2] == ["compiler", "api"] else parts)])


MODULES = {name_of(path): path for half in FLOORS for path in sorted((ROOT / half).rglob("*.py"))}


def imports(name: str) -> Iterator[str]:
    """The modules that one of ours imports: anywhere in it, and by `import_module`, too."""
    path = MODULES[name]
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            module = ".".join(filter(None, [above if node.level else "", node.module]))
            for alias in node.names:
                full = f"{module}.{alias.name}"
                yield full if full in MODULES else module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant))


def floor(half: str, module: str) -> int:
    """Of a module of that half; the package itself is above all, as it gives what is in the rooms."""
    room = module.removeprefix(f"ftc.{half}").lstrip(".").partition(".")[0]
    floors = [number for number, rooms in enumerate(FLOORS[half]) if room in rooms]
    assert floors or not room, f"{module}: give its room a floor"
    return floors[0] if room else len(FLOORS[half])


@pytest.mark.parametrize("half", FLOORS)
def test_imports_go_down(half: str) -> None:
    ours = [name for name in MODULES if f"{name}.".startswith(f"ftc.{half}.")]
    assert len(ours) > 60
    for name in ours:
        room = name.split(".")[2:3]
        for module in imports(name):
            if not f"{module}.".startswith(f"ftc.{half}.") or module.split(".")[2:3] == room:
                continue
            assert floor(half, module) < floor(half, name), f"{name} imports {module}"


def test_no_imports_go_in_circles() -> None:
    """Those inside of functions and for type checkers count."""
    graph = {name: {m for m in imports(name) if m in MODULES and m != name} for name in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_halves_stay_apart() -> None:
    for name in MODULES:
        for module in imports(name):
            below = name.startswith("ftc.runtime")
            others = ("ftc.compiler",) if below else (*HEAVY, "ftc.runtime")
            forbidden = any(f"{module}.".startswith(f"{other}.") for other in others)
            assert not forbidden or (module in SHARED and not below), f"{name} imports {module}"


def test_what_the_halves_share_needs_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        f"import {', '.join(SHARED)}\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ftc" in done.stdout.split()
    assert set(done.stdout.split()) - sys.stdlib_module_names == {"ftc"}
    used = {module for name in MODULES for module in imports(name) if "ftc.compiler" in name}
    assert SHARED.keys() <= used, "a name that nobody imports stands in the table"


def test_no_run_imports_the_tools() -> None:
    """They are no part of its lock."""
    for name in MODULES:
        if not name.startswith("ftc.runtime.tools"):
            assert not [m for m in imports(name) if m.startswith("ftc.runtime.tools")], name


def test_compiling_loads_nothing_heavy(spec: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from ftc.compiler.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        f"print(sorted(m for m in {HEAVY} if m in sys.modules))"
    )
    command = [sys.executable, "-c", code, "compile", str(spec), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_stages_can_be_imported() -> None:
    for stage in ("load", "validate", "resolve", "render", "verify", "write"):
        assert callable(getattr(compiler, stage))


def test_the_wheel_has_every_folder() -> None:
    """An editable install finds a folder that pyproject.toml does not name; a wheel leaves it out."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    packages = {name for name, path in MODULES.items() if path.stem == "__init__"}
    assert packages | {"ftc.specs", "ftc.templates"} == set(setuptools["packages"])
    for package, folder in setuptools["package-dir"].items():
        if package in packages:
            assert MODULES[package] == ROOT / folder / "__init__.py"
    assert set(setuptools["package-dir"]) == set(setuptools["packages"])


@pytest.mark.parametrize("half", FLOORS)
def test_files_and_folders_stay_small(half: str) -> None:
    paths = [path for name, path in MODULES.items() if path.is_relative_to(ROOT / half)]
    lines = {str(path): len(path.read_text("utf-8").splitlines()) for path in paths}
    assert {path: number for path, number in lines.items() if number > 350} == {}
    folders = [str(path.parent) for path in paths]
    assert {folder for folder in folders if folders.count(folder) > 22} == set()


@pytest.mark.parametrize("half", BUDGET)
def test_a_half_keeps_to_its_budget_of_lines(half: str) -> None:
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in (ROOT / half).rglob("*.py"))
    assert BUDGET[half] - 150 < lines <= BUDGET[half], "set it to what is left, or say what is new"
