"""Hostile values: each is refused with a diagnostic, or survives unharmed where it lands.

Nothing may crash, run, or be written outside the run directory.
"""

import ast
import json
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ftc.compiler import CompileError, compile_document, load
from ftc.compiler.cli import main
from ftc.compiler.diagnostics.diagnostic import Diagnostic
from ftc.compiler.document.load import Document
from ftc.compiler.emit.files import Files
from ftc.compiler.run_dir.write import LOCK
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .changes import HELD, HUB_HELD, HUB_ROWS, QLORA, leaves, put
from .specs import BASE, GPU, furnish, merged, snapshot, toml

HOSTILE = [
    "'",
    '"',
    "'''",
    '"""',
    '"); import os; os._exit(1) #',
    "' && touch pwned && '",
    "$(touch pwned)",
    "`touch pwned`",
    "${HOME}",
    "!!",
    "\\",
    "a\\",
    "\\n",
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "{# comment #}",
    "a\nb",
    "a\r\nb",
    "a\n#!/bin/sh\ntouch pwned\n",
    "\0",
    "a\0b",
    "\x1b[31mred",
    "\x7f",
    "\ufeffbom",
    "abc\u202edcba",
    "\u2028\u2029\x85",
    "  # spec",
    "x  # default  # spec",
    "-rf",
    "--help",
    "~",
    "~root/x",
    "*",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    ".",
    " ",
    "é ü 你好 🙂",
    "a" * 300,
    "long words " * 50,
    "x" * 20_000,
    "%s %d {0} {plan}",
    "| pipe | table |",
    "<script>",
    "None",
    "true",
]
TEXTS = st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8"), max_size=40)
MIXED = st.lists(TEXTS, min_size=1, max_size=3).map("".join)
FEW = settings(
    max_examples=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

SAMPLES = merged(BASE, {"samples": {"prompts": ["Hi"], "system": "Hi"}})
SERVED = merged(QLORA, {"deploy": {"engine": "lmdeploy"}})
OTHER = {"model": {"base": "acme/model", "chat_template": "chatml"}}
# Key -> a spec in which it has a say, and the files that must hold the value.
PLACES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "name": (BASE, ("deploy.sh",)),
    "model.base": (merged(BASE, OTHER), ("train.py", "chat.py", "convert.sh")),
    "model.revision": (QLORA, ("train.py", "chat.py", "convert.sh")),
    "model.chat_template": (BASE, ()),
    "method.target_modules": (QLORA, ("train.py",)),
    "data.train.source": (HUB_ROWS, ("train.py",)),
    "data.train.revision": (HUB_ROWS, ("train.py",)),
    "data.train.subset": (HUB_ROWS, ("train.py",)),
    "data.train.split": (HUB_ROWS, ("train.py",)),
    "data.validation.source": (HUB_HELD, ("train.py",)),
    "hardware.accelerator": (QLORA, ()),
    "samples.prompts": (SAMPLES, ("train.py",)),
    "samples.system": (SAMPLES, ("train.py",)),
    "export.max_shard_size": (BASE, ("convert.sh",)),
    "chat.system": (BASE, ("chat.py",)),
    "deploy.host": (BASE, ("deploy.sh",)),
    "deploy.model_name": (SERVED, ("deploy.sh",)),
    "deploy.api_key_env": (SERVED, ()),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile")
    furnish(path)
    return path


def compiled(data: dict[str, Any], folder: Path) -> Files | list[Diagnostic]:
    """The files, or the diagnostics, each of which can be shown."""
    text = toml(data)
    assert tomllib.loads(text) == data
    try:
        return compile_document(Document(str(folder / "spec.toml"), text, data)).files
    except CompileError as error:
        check(error)
        return list(error.diagnostics)


def check(error: CompileError) -> None:
    for diagnostic in error.diagnostics:
        check_text(str(diagnostic))
        assert diagnostic.code != "internal", diagnostic.message


def check_text(text: str) -> None:
    """Fit for a terminal: no control characters, and not a screenful."""
    assert all(char.isprintable() for line in text.split("\n") for char in line)
    assert all(len(line) <= 500 for line in text.split("\n"))


def literals(source: bytes) -> set[str]:
    """The string constants of Python source."""
    constants = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return {node.value for node in constants if isinstance(node.value, str)}


def words(script: bytes) -> set[str]:
    """The words of a shell script, as bash takes them."""
    return set(shlex.split(script.decode(), comments=True))


def only_compared_texts(files: Files) -> dict[str, str]:
    """Python without its strings, and shell without its words: what a value must not change."""
    shapes: dict[str, str] = {}
    for path, file in files.items():
        if path.endswith(".py"):
            tree = ast.parse(file.content)
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    node.value = ""
            shapes[path] = ast.dump(tree)
        elif path.endswith(".sh"):
            shapes[path] = str(len(shlex.split(file.content.decode(), comments=True)))
    return shapes


@pytest.mark.parametrize("path", PLACES)
@FEW
@given(value=MIXED)
@example(value="$(touch pwned)")
@example(value="\0")
@example(value='it\'s "mine"  # spec ' * 10)
def test_a_text_is_refused_or_survives(path: str, value: str, folder: Path) -> None:
    data, places = PLACES[path]
    many = path in ("samples.prompts", "method.target_modules")
    files = compiled(put(data, path, [value, "b"] if many else value), folder)
    if isinstance(files, list):
        return
    for place in places:
        found = words if place.endswith(".sh") else literals
        assert value in found(files[place].content), place
    lock = json.dumps(json.loads(files[LOCK].content)["plan"])
    assert json.dumps(value)[1:-1] in lock
    plain = compiled(put(data, path, ["a", "b"] if many else harmless(path, data)), folder)
    if isinstance(plain, dict):
        assert only_compared_texts(files) == only_compared_texts(plain)


def harmless(path: str, data: dict[str, Any]) -> Any:
    table: Any = data
    for part in path.split("."):
        table = table[0] if isinstance(table, list) else table
        table = table.get(part, "harmless") if isinstance(table, dict) else table
    return table if isinstance(table, str) else "harmless"


@FEW
@given(values=st.lists(MIXED.filter(bool), min_size=5, max_size=5))
def test_all_texts_at_once(values: list[str], folder: Path) -> None:
    """What may hold anything holds it, all at once, and reads back from what is written."""
    data = merged(
        BASE,
        {
            "samples": {"prompts": values[:3], "system": values[3]},
            "chat": {"system": values[4]},
            "method": {"kind": "lora"},
        },
    )
    files = compiled(data, folder)
    assert isinstance(files, dict)
    assert set(values[:4]) <= literals(files["train.py"].content)
    assert values[4] in literals(files["chat.py"].content)
    assert tomllib.loads(files["spec.toml"].content.decode()) == data


@pytest.mark.parametrize("value", HOSTILE)
def test_nothing_is_written_outside(value: str, tmp_path: Path) -> None:
    """The whole way through the command line, in every key at once that takes the value."""
    furnish(tmp_path)
    data = merged(HELD, SAMPLES)
    for path in PLACES:
        many = path in ("samples.prompts", "method.target_modules")
        attempt = put(data, path, [value] if many else value)
        if not isinstance(compiled(attempt, tmp_path), list):
            data = attempt
    spec = tmp_path / "spec.toml"
    spec.write_text(toml(data), "utf-8", newline="")
    before = snapshot(tmp_path)
    result = CliRunner().invoke(main, ["compile", str(spec), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    after = snapshot(tmp_path)
    assert {p: c for p, c in after.items() if not p.startswith("out/")} == before
    assert not list(tmp_path.rglob("pwned"))
    for script in (tmp_path / "out").glob("*.sh"):
        done = subprocess.run(["bash", "-n", script], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


HUGE = [0, -1, 2**31, 2**63, 2**64, 10**30, 10**400, -(10**400), 1e-320, 1.8e308, float("nan")]


@pytest.mark.parametrize("path", sorted(set(leaves())))
def test_no_number_crashes_it(path: str, folder: Path) -> None:
    data, _ = PLACES.get(path, (merged(QLORA, {"samples": {"prompts": ["Hi"]}}), ()))
    data = merged(HELD, data) if path.startswith("data.validation") else data
    for value in [*HUGE, True, [], [1], {}, {"x": {}}, [[]], [{}]]:
        text = toml(put(data, path, value))
        try:
            compile_document(Document(str(folder / "spec.toml"), text, tomllib.loads(text)))
        except CompileError as error:
            check(error)


DEEP = {
    "dotted": "name" + ".a" * 3000 + " = 1\n",
    "header": "[" + "a." * 3000 + "b]\n",
    "known-table": "[optim." + "a." * 2000 + "b]\n",
    "list": "[samples]\nprompts = " + "[" * 150 + "]" * 150 + "\n",
    "inline": "optim = " + "{ a = " * 100 + "1" + " }" * 100 + "\n",
    "too-deep": "optim = " + "[" * 20_000 + "]" * 20_000 + "\n",
    "wide": "".join(f"key{number} = 1\n" for number in range(500)),
    "tables": "[[data.train]]\nsource = 'x.jsonl'\n" * 300,
    "long-key": "k" * 100_000 + " = 1\n",
    "long-text": "name = '" + "n" * 1_000_000 + "'\n",
    "long-number": "seed = " + "9" * 4000 + "\n",
    "longer-number": "seed = " + "9" * 5000 + "\n",
    "long-line": "optim = { learning_rate = 'x', " + "eps = 1" + " " * 100_000 + "}\n",
    "no-break": "name = 'a\u00a0b'\nse\u00a0ed = 1\n",
    "nul": "name = 'a\0b'\n",
    "carriage-return": "name = 'a'\rseed = 1\n",
    "only-a-mark": "\ufeff",
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_and_long_specs(name: str, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(DEEP[name], "utf-8", newline="")
    result = CliRunner().invoke(main, ["check", str(tmp_path / "spec.toml")])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert not result.stdout
    check_text(result.stderr)
    assert "hint: " in result.stderr


@FEW
@given(data=st.data())
def test_any_damage_to_a_spec_is_told(data: st.DataObject, tmp_path: Path) -> None:
    text = toml(merged(BASE, GPU, {"samples": {"prompts": ["Hi"]}, "optim": {"eps": 1e-8}}))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        patch = data.draw(st.sampled_from(["", '"', "=", "[", "]", "\n", "1", "x", ".", "#", "''"]))
        text = text[:start] + patch + text[start + length :]
    furnish_once(tmp_path)
    spec = tmp_path / "spec.toml"
    spec.write_text(text, "utf-8", newline="")
    try:
        compile_document(load(spec))
    except CompileError as error:
        check(error)


def furnish_once(folder: Path) -> None:
    if not (folder / "rows.jsonl").exists():
        furnish(folder)
