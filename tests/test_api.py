"""`import ftc`: the same answers as the command line, as values, with nothing printed."""

import doctest
import inspect
import json
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import ftc
import pytest
from click.testing import CliRunner
from ftc import library
from ftc.compiler.cli import main

from .conftest import ROOT
from .test_commands import SPEC
from .tiny import write_rows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.toml").write_text(SPEC.read_text())
    write_rows(tmp_path / "rows.jsonl", 3)
    return tmp_path


def cli(*arguments: str) -> str:
    return CliRunner().invoke(main, list(arguments)).stdout


def test_the_example_in_the_docs_is_what_happens(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(ROOT / "docs/api.md"), module_relative=False)
    assert tried > 12 and not failed


def test_the_docs_have_every_function():
    text = (ROOT / "docs/api.md").read_text("utf-8")
    for name, function in inspect.getmembers(library, inspect.isfunction):
        if name in ftc.__all__:
            parameters = [
                p.name if p.default is p.empty else f"{p.name}={p.default}"
                for p in inspect.signature(function).parameters.values()
            ]
            assert f"| `ftc.{name}({', '.join(parameters)})` |" in text


def test_importing_ftc_or_its_runtime_loads_no_compiler():
    code = """
import sys, ftc
from ftc import runtime
heavy = {"pydantic", "jinja2", "click", "ftc.compiler"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert "compile" in dir(ftc) and "check" in ftc.__all__
ftc.check
assert "ftc.compiler" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_is_there_and_no_other():
    assert ftc.__all__ == library.__all__ == sorted(ftc.__all__, key=lambda n: (n[0].islower(), n))
    for name in ftc.__all__:
        assert getattr(ftc, name) is getattr(library, name)
    with pytest.raises(AttributeError, match="module 'ftc' has no attribute 'compil'"):
        ftc.compil  # noqa: B018 - looking it up is the test
    assert (Path(ftc.__file__).parent / "py.typed").is_file()


def test_every_function_is_typed_and_documented():
    for name, function in inspect.getmembers(library, inspect.isfunction):
        if name in ftc.__all__:
            hints = typing.get_type_hints(function)
            assert set(hints) == {*inspect.signature(function).parameters, "return"}
            assert function.__doc__


def test_the_files_are_those_of_the_command_line(folder, capfd):
    run = ftc.compile("spec.toml", folder / "here", settings={"chat.system": 'a "b" $c\n'})
    assert ftc.write(run) == list(run)
    assert ftc.write(ftc.compile(folder / "spec.toml")) and Path("runs/case/train.py").is_file()
    assert capfd.readouterr() == ("", "")
    cli("compile", "spec.toml", "-o", "there", "--set", r'chat.system="a \"b\" $c\n"')
    for name in run:
        assert Path("here", name).read_bytes() == Path("there", name).read_bytes()
    assert not ftc.diff("here", "there")
    with pytest.raises(TypeError):
        run["train.py"] = run["launch.sh"]  # type: ignore[index] - is refused


def test_a_warning_is_no_error(folder):
    text = SPEC.read_text().replace('"smollm2-135m-instruct"', '"acme/model"')
    Path("spec.toml").write_text(text.replace("[method]", 'chat_template = "chatml"\n[method]'))
    run = ftc.compile("spec.toml")
    assert [problem.code for problem in run.warnings] == ["unpinned"]
    assert ftc.check("spec.toml") == run.warnings


@pytest.mark.parametrize("call", ["compile", "explain"])
def test_an_error_carries_every_problem(call, monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ftc.CompileError) as caught:
        getattr(ftc, call)("docs/broken.toml")
    found = caught.value.diagnostics
    assert found == ftc.check("docs/broken.toml") and len(found) == 6
    told = json.loads(cli("check", "docs/broken.toml", "--format", "json"))
    assert [(d.code, d.path, d.line, d.column, d.message, list(d.hints)) for d in found] == [
        tuple(one[name] for name in ("code", "path", "line", "column", "message", "hints"))
        for one in told
    ]
    assert str(found[0]) in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_missing_or_edited_is_such_an_error_too(folder):
    for attempt in (
        lambda: ftc.compile("none.toml"),
        lambda: ftc.explain("spec.toml", "optim.learning_rat"),
        lambda: ftc.diff("spec.toml", "none"),
        lambda: ftc.verify("none"),
        lambda: ftc.compile("spec.toml", settings={"method": 3}),
    ):
        with pytest.raises(ftc.CompileError):
            attempt()
    run = ftc.compile("spec.toml", "out")
    ftc.write(run)
    Path("out/train.py").write_text("# mine\n")
    with pytest.raises(ftc.CompileError) as caught:
        ftc.write(run)
    assert [problem.code for problem in caught.value.diagnostics] == ["edited"]
    assert ftc.write(run, force=True) == ["train.py"]


def test_diff_says_what_the_command_line_does(monkeypatch):
    monkeypatch.chdir(ROOT)
    difference = ftc.diff("docs/before.toml", "docs/after.toml")
    assert str(difference) == cli("diff", "docs/before.toml", "docs/after.toml")
    assert difference.text(files=True) == cli(
        "diff", "docs/before.toml", "docs/after.toml", "--files"
    )
    assert difference and difference.resume == "new run"
    same = ftc.diff("docs/before.toml", "docs/before.toml")
    assert not same and same.resume == "same"
