"""The JSON Schema of the spec language: what it takes and refuses, and what editors make of it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ftc.compiler.cli import main
from ftc.compiler.spec.describe import extra, field_at, tables
from ftc.compiler.spec.json_schema import DRAFT, schema
from ftc.compiler.spec.spec import Spec
from jsonschema import Draft7Validator
from pydantic import ValidationError

from .changes import CHANGES, put
from .conftest import ROOT

SHIPPED = [ROOT / "specs/quickstart.toml", *sorted(ROOT.glob("tests/golden/*/spec.toml"))]
FINE = SHIPPED[0].read_text("utf-8")
BROKEN = {
    "unknown key": ("seed = 42", "sede = 42"),
    "unknown key of [method]": ("rank = 16", "rnk = 16"),
    "unknown key of a source": ("format =", "formt ="),
    "unknown table": ("[optim]", "[optimizer]"),
    "key of another method": ('kind = "lora"\n', 'kind = "full"\n'),
    "text for a number": ("rank = 16", 'rank = "16"'),
    "number for a text": ('name = "quickstart"', "name = 3"),
    "float for a whole number": ("rank = 16", "rank = 16.5"),
    "unknown choice": ('device = "cpu"', 'device = "tpu"'),
    "out of range": ("learning_rate = 1.5e-3", "learning_rate = -1"),
    "bad name": ('name = "quickstart"', 'name = "a/b"'),
    "text of two lines": ('base = "', 'base = "a\\n'),
    "missing key": ('name = "quickstart"\n', ""),
    "missing table": ('[hardware]\ndevice = "cpu"\n', ""),
}


def broken(case: str) -> str:
    old, new = BROKEN[case]
    assert FINE.count(old) >= 1
    return FINE.replace(old, new, 1)


def problems(data: dict[str, Any]) -> list[str]:
    return [error.message for error in Draft7Validator(schema()).iter_errors(data)]


def test_it_is_a_schema_and_what_the_command_prints():
    Draft7Validator.check_schema(schema())
    assert schema()["$schema"] == DRAFT
    assert json.loads(CliRunner().invoke(main, ["schema"]).stdout) == schema()
    assert "$ref" not in json.dumps(schema()) and "null" not in json.dumps(schema())


@pytest.mark.parametrize("spec", SHIPPED, ids=lambda spec: spec.parent.name)
def test_it_takes_what_we_ship(spec):
    assert problems(tomllib.loads(spec.read_text("utf-8"))) == []


@pytest.mark.parametrize("case", BROKEN)
def test_it_refuses_what_the_compiler_refuses(case):
    data = tomllib.loads(broken(case))
    assert problems(data)
    with pytest.raises(ValidationError):
        Spec.model_validate(data)


@pytest.mark.parametrize("path", sorted(CHANGES))
def test_it_takes_every_value_that_the_compiler_takes(path):
    for value in CHANGES[path][:2]:
        data = put(CHANGES[path][2], path, value)
        Spec.model_validate(data)
        assert problems(data) == []


def nodes(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [inner for item in node for inner in nodes(item)]
    inner = [n for v in node.values() for n in nodes(v)] if isinstance(node, dict) else []
    return [node, *inner] if isinstance(node, dict) else []


def test_every_table_is_closed_and_every_key_says_what_it_is():
    tables = [node for node in nodes(schema()) if node.get("type") == "object"]
    assert len(tables) > 12
    for table in tables:
        assert table["additionalProperties"] is False
        for name, key in table["properties"].items():
            assert key["description"], name
            assert key.get("type") in ("object", "array") or "oneOf" in key or key["x-changes"]


def test_it_says_of_a_key_what_the_models_say():
    key = schema()["properties"]["model"]["properties"]["max_seq_length"]
    field = field_at(("model", "max_seq_length"), "full")
    assert field is not None
    assert key["default"] == field.default and key["x-unit"] == extra(field)["unit"]
    assert key["description"].startswith(f"{field.description}\n\nIn tokens. Default: 1024. ")
    assert key["x-changes"] == extra(field)["changes"]


def test_it_has_every_key():
    found = {name for node in nodes(schema()) for name in node.get("properties", ())}
    assert found == {key for _, keys in tables() for key in keys}


@pytest.fixture(scope="session")
def editors(tmp_path_factory) -> Path:
    """The folder of the command lines of taplo and tombi, from the package registry."""
    folder = tmp_path_factory.mktemp("editors")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
    subprocess.run([*install, "taplo==0.9.3", "tombi==1.9.6"], check=True)
    return folder / "bin"


def lint(editors: Path, folder: Path, tool: str, text: str, *options: str) -> tuple[int, str]:
    (folder / "ftc.schema.json").write_text(CliRunner().invoke(main, ["schema"]).stdout)
    (folder / "tombi.toml").write_text("[schema]\ncatalog = { paths = [] }\n")  # no network
    (folder / "spec.toml").write_text(text)
    command = [str(editors / tool), "lint", *options, "spec.toml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, re.sub(r"\x1b\[\d+m", "", done.stdout + done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("spec", SHIPPED, ids=lambda spec: spec.parent.name)
def test_editors_take_what_we_ship(spec, editors, tmp_path):
    text = spec.read_text("utf-8")
    option = f"--schema=file://{tmp_path}/ftc.schema.json"
    assert lint(editors, tmp_path, "taplo", text, option)[0] == 0
    for tool in ("taplo", "tombi"):
        code, said = lint(editors, tmp_path, tool, f"#:schema ./ftc.schema.json\n{text}")
        assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("case", BROKEN)
def test_editors_refuse_what_is_broken(case, editors, tmp_path):
    for tool in ("taplo", "tombi"):
        text = f"#:schema ./ftc.schema.json\n{broken(case)}"
        code, said = lint(editors, tmp_path, tool, text)
        assert code != 0, f"{tool}: {said}"
    option = f"--schema=file://{tmp_path}/ftc.schema.json"
    assert lint(editors, tmp_path, "taplo", broken(case), option)[0] != 0


@pytest.mark.parametrize(
    ("name", "fine"), [("auto", 1), ("oasst1", 1), ("my_formats.py:convert", 1), ("mesages", 0)]
)
def test_it_knows_the_row_formats(name, fine):
    data = tomllib.loads(FINE.replace('format = "messages"', f'format = "{name}"', 1))
    assert not problems(data) if fine else problems(data)
