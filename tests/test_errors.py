"""What a user is told, word for word: each case is a spec, and all of stderr.

    UPDATE=1 pytest tests/test_errors.py      writes every stderr.txt anew; review that diff

A case is a folder with spec.toml and stderr.txt, and perhaps: further files; `setup.sh` for what
git can't hold; `args.txt` with another command line than `check spec.toml`; `env.txt` with variables
of the environment. It runs in a copy of its folder, with rows.jsonl beside the spec.
"""

import ast
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from ftc.compiler.cli import main
from ftc.compiler.spec.describe import tables
from ftc.compiler.spec.other_tools import RENAMED

ERRORS = Path(__file__).parent / "errors"
COMPILER = Path(__file__).parent.parent / "compiler"
RUNTIME = COMPILER.parent / "runtime"
AT_LEAST = 341  # cases: discovery that finds none would pass all of them
CODE = re.compile(r"^[^\n]*?: (?:error|warning)\[([a-z0-9-]+)\]: ", re.MULTILINE)
MAKERS = {
    "at",
    "on_span",
    "_error",
    "Diagnostic",
    "Unusable",
    "_problem",
    "Fault",
    "RunError",
}
CODE_ITSELF = re.compile(r"[a-z]+(-[a-z0-9]+)*$")
# A fault of ftc's own, which no spec can bring about: tests/test_write.py makes one.
NO_CASE = {
    "internal",
    "no-runtime",
    "too-many",
}  # tests/test_export.py, tests/test_bounds.py (it is in JSON alone)


def cases() -> list[Path]:
    return sorted(path.parent for path in ERRORS.rglob("stderr.txt"))


def folders() -> list[Path]:
    """What should be cases: folders that hold a spec, or make one."""
    found = {path.parent for name in ("spec.toml", "setup.sh") for path in ERRORS.rglob(name)}
    return sorted(found)


def run(case: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, int]:
    shutil.copytree(case, folder, dirs_exist_ok=True)
    shutil.copy(ERRORS / "rows.jsonl", folder)
    (folder / "stderr.txt").unlink(missing_ok=True)
    if (folder / "setup.sh").exists():
        subprocess.run(["bash", "-e", "setup.sh"], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    if (folder / "env.txt").exists():
        for line in (folder / "env.txt").read_text().splitlines():
            monkeypatch.setenv(*line.split("=", 1))
    arguments = "check spec.toml"
    if (folder / "args.txt").exists():
        arguments = (folder / "args.txt").read_text().strip()
    result = CliRunner().invoke(main, arguments.split())
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.stdout, result.stderr, result.exit_code


@pytest.mark.parametrize("case", folders(), ids=lambda case: str(case.relative_to(ERRORS)))
def test_message(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name for path in case.rglob("*")}
    stdout, stderr, exit_code = run(case, tmp_path, monkeypatch)
    if os.environ.get("UPDATE"):
        (case / "stderr.txt").write_text(stderr, "utf-8")
    assert stderr == (case / "stderr.txt").read_text("utf-8")
    only_warnings = "warning[" in stderr and "error[" not in stderr
    assert exit_code == (0 if only_warnings else 2)
    assert bool(stdout) == only_warnings
    assert {path.name for path in case.rglob("*")} - {"stderr.txt"} == before - {"stderr.txt"}


@pytest.mark.parametrize("case", cases(), ids=lambda case: str(case.relative_to(ERRORS)))
def test_a_message_is_fit_to_be_read(case: Path) -> None:
    text = (case / "stderr.txt").read_text("utf-8")
    assert "Traceback" not in text
    for jargon in (
        "Input should",
        "pydantic",
        "literal_error",
        "NoneType",
        "dict",
        "<class",
        "\\p{",
    ):
        assert jargon not in text
    assert all(len(line) < 240 for line in text.splitlines())
    assert all(char.isprintable() or char == "\n" for char in text)
    for block in text.split("\n\n")[:-1]:
        lines = block.split("\n")
        assert CODE.match(lines[0]), lines[0]
        hinted = any(line.startswith("  hint: ") for line in lines)
        assert hinted or CODE.findall(lines[0]) == ["unreadable"], f"no way out: {lines[0]}"
        assert not lines[0].endswith("."), lines[0]
        for source, carets in pairwise(lines):
            if set(carets.partition("|")[2].strip()) == {"^"}:
                assert len(carets) <= len(source) + 1, "carets beyond the line"


def test_every_case_is_found() -> None:
    assert len(cases()) == len(folders()) >= AT_LEAST


def codes_in_source() -> set[str]:
    """Every code of a diagnostic: what stands as one in a call that makes one."""
    found: set[str] = set()
    readers = [*RUNTIME.glob("rows/*.py"), *RUNTIME.glob("formats/*.py")]
    for path in sorted([*COMPILER.rglob("*.py"), *readers]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            candidates: list[ast.AST] = []
            if isinstance(node, ast.Call) and name_of(node.func) in MAKERS:
                candidates = [*node.args, *(k.value for k in node.keywords if k.arg == "kind")]
            elif isinstance(node, ast.Assign) and name_of(node.targets[0]) == "code":
                candidates = list(ast.walk(node.value))
            elif isinstance(node, ast.AnnAssign) and name_of(node.target) == "kind" and node.value:
                candidates = [node.value]
            found |= {
                candidate.value
                for candidate in candidates
                if isinstance(candidate, ast.Constant) and CODE_ITSELF.match(str(candidate.value))
            }
    return found


def name_of(node: ast.AST) -> str:
    return getattr(node, "id", None) or getattr(node, "attr", "")


def test_a_word_of_another_tool_leads_to_a_key() -> None:
    names = {f"{table}.{key}" if table else key for table, keys in tables() for key in keys}
    for word, path in RENAMED.items():
        assert path in names, path
        table, _, key = path.rpartition(".")
        assert word != key
        assert f"{table}.{word}" not in names, "it is a key there itself"


def test_every_code_has_a_case() -> None:
    shown = {code for case in cases() for code in CODE.findall((case / "stderr.txt").read_text())}
    assert codes_in_source() - shown - NO_CASE == set()
    assert shown - codes_in_source() == set(), "the scan of the source misses a code"
