"""`--format json` and `--format sarif`: what a machine reads, alone on stdout."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ftc.compiler import CompileError, Diagnostic, compile_document, load
from ftc.compiler.cli import main
from ftc.compiler.diagnostics.machine import as_json, as_sarif
from ftc.compiler.version import VERSION

from . import tiny

ROOT = Path(__file__).resolve().parent.parent
SPEC = (ROOT / "tests/errors/output/edited/spec.toml").read_text()
BROKEN = "docs/broken.toml"
COMMANDS = (["check"], ["compile"], ["compile", "-o", "out"])


def run(*arguments: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(main, list(arguments))
    assert (result.exit_code, result.stderr) == (exit_code, ""), result.output
    return json.loads(result.stdout)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> tuple[Diagnostic, ...]:
    monkeypatch.chdir(ROOT)
    with pytest.raises(CompileError) as caught:
        compile_document(load(BROKEN))
    assert len(caught.value.diagnostics) == 6
    return caught.value.diagnostics


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.toml").write_text(SPEC)
    tiny.write_rows(tmp_path / "rows.jsonl", 3)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_json_has_every_field_of_every_diagnostic(command, broken) -> None:
    found = run(*command, "--format", "json", BROKEN, exit_code=2)
    names = [field.name for field in fields(Diagnostic)]
    assert [list(one) for one in found] == [names] * len(broken)
    for one, diagnostic in zip(found, broken, strict=True):
        tuples = {name: tuple(one[name]) for name in ("notes", "hints")}
        assert Diagnostic(**{**one, **tuples}) == diagnostic
    assert {one["path"] for one in found} == {BROKEN}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_sarif_has_a_rule_and_a_place_for_every_diagnostic(command, broken) -> None:
    log = run(*command, "--format", "sarif", BROKEN, exit_code=2)
    assert log["version"] == "2.1.0" and "sarif-2.1.0" in log["$schema"]
    (only,) = log["runs"]
    driver = only["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("ftc", VERSION)
    codes = [rule["id"] for rule in driver["rules"]]
    assert len(codes) == len(set(codes))
    for one, diagnostic in zip(only["results"], broken, strict=True):
        assert one["ruleId"] == codes[one["ruleIndex"]] == diagnostic.code
        assert one["level"] == "error"
        assert one["message"]["text"].startswith(diagnostic.message)
        (place,) = (location["physicalLocation"] for location in one["locations"])
        assert place["artifactLocation"] == {"uri": BROKEN}
        region = place["region"]
        assert region.pop("snippet") == {"text": diagnostic.source}
        assert list(region.values()) == [
            diagnostic.line,
            diagnostic.column,
            diagnostic.end_column,
        ]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_fine_spec_has_nothing_to_tell(command, folder) -> None:
    assert run(*command, "--format", "json", "spec.toml") == []
    (only,) = run(*command, "--format", "sarif", "spec.toml")["runs"]
    assert only["results"] == only["tool"]["driver"]["rules"] == []


def test_warnings_are_told_once_and_files_are_written(folder) -> None:
    text = SPEC.replace('"smollm2-135m-instruct"', '"acme/model"')
    text = text.replace("[method]", 'chat_template = "chatml"\n[method]', 1)
    (folder / "spec.toml").write_text(text)
    found = run("compile", "--format", "json", "spec.toml", "-o", "out")
    assert found and {one["severity"] for one in found} == {"warning"}
    assert (folder / "out/train.py").is_file()
    (folder / "out/train.py").write_text("# mine\n")
    both = run(
        "compile", "--format", "json", "spec.toml", "-o", "out", "--set", "seed=3", exit_code=2
    )
    assert {one["severity"] for one in both} == {"warning", "error"}
    assert "edited" in {one["code"] for one in both}


def test_stale_is_an_exit_code(folder) -> None:
    command = ("compile", "--check", "--format", "json", "spec.toml", "-o", "out")
    assert run(*command, exit_code=1) == []
    run("compile", "--format", "json", "spec.toml", "-o", "out")
    assert run(*command) == []


def test_a_problem_without_a_line_has_no_region_and_one_of_an_argument_names_it(folder) -> None:
    (one,) = run("check", "--format", "sarif", "none.toml", exit_code=2)["runs"][0]["results"]
    (location,) = one["locations"]
    assert location == {"physicalLocation": {"artifactLocation": {"uri": "none.toml"}}}
    for setting in ("seed", "seed=x"):
        command = ("check", "--format", "{}", "spec.toml", "--set", setting)
        log = run(*(word.format("sarif") for word in command), exit_code=2)
        assert log["runs"][0]["results"][0]["locations"] == [
            {
                "physicalLocation": {"artifactLocation": {"uri": "spec.toml"}},
                "logicalLocations": [{"fullyQualifiedName": f"--set {setting}"}],
            }
        ]
        (one,) = run(*(word.format("json") for word in command), exit_code=2)
        assert (one["path"], one["line"], one["argument"]) == ("spec.toml", 0, f"--set {setting}")
    assert (one["source"], one["column"], one["end_column"]) == ("--set seed=x", 12, 13)


def test_paths_become_uris_and_secrets_stay_secret() -> None:
    token = "hf_" + "abcdefghij" * 3
    diagnostics = [
        Diagnostic("syntax", "x", "a b#ü.toml", 1, source=f'token = "{token}"', notes=(token,)),
        Diagnostic("syntax", "x", "/a b.toml", 1),
    ]
    uris = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for result in json.loads(as_sarif(diagnostics))["runs"][0]["results"]
    ]
    assert uris == ["a%20b%23%C3%BC.toml", "file:///a%20b.toml"]
    assert token not in as_sarif(diagnostics) + as_json(diagnostics)
