"""Odd names of specs, files, folders and runs: each is refused with a diagnostic, or survives unharmed."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ftc.compiler import compile_file, write
from ftc.compiler.cli import main

from .changes import HELD, put
from .specs import BASE, furnish, merged, snapshot, toml
from .test_hostile import OTHER, compiled, literals, only_compared_texts, words


@pytest.mark.parametrize(
    "name",
    [
        "$(touch pwned).toml",
        "`touch pwned`.toml",
        'it\'s "mine".toml',
        '""" + exit(1) + """.toml',
        "a\nimport os.toml",
        "--help.toml",
        "{{ 7 }} {% x %}.toml",
        "\u202e.toml",
        " .toml",
        "é🙂.toml",
        "\\.toml",
        "x" * 200 + ".toml",
    ],
)
def test_names_of_specs_and_data_files(name: str, tmp_path: Path) -> None:
    furnish(tmp_path)
    rows = name.replace("\n", " ").replace("\u202e", "z").removesuffix(".toml") + ".jsonl"
    (tmp_path / rows).write_bytes((tmp_path / "rows.jsonl").read_bytes())
    data = put(BASE, "data.train.source", rows)
    (tmp_path / name).write_text(toml(data), "utf-8")
    out = tmp_path / f"out {name.removesuffix('.toml')}"
    files = compile_file(tmp_path / name, out).files
    write(files, out)
    assert f"data/{rows}" in literals(files["train.py"].content)
    assert snapshot(out) == {path: file.content for path, file in files.items()}
    plain = compiled(BASE, tmp_path)
    assert isinstance(plain, dict)
    assert only_compared_texts(files) == only_compared_texts(plain)
    assert not list(tmp_path.rglob("pwned"))


def test_local_models_in_folders_with_odd_names(tmp_path: Path) -> None:
    for name in ("it's $(touch pwned)", '"; exit', "-rf", "a {{ b }}", "sub/../x y"):
        weights = tmp_path / name
        (tmp_path / "sub").mkdir(exist_ok=True)
        weights.mkdir(parents=True)
        (weights / "config.json").write_text('{"model_type": "llama"}')
        furnished = tmp_path / "rows.jsonl"
        furnished.write_text('{"messages": [{"role": "assistant", "content": "a"}]}\n')
        files = compiled(merged(BASE, OTHER, {"model": {"base": name}}), tmp_path)
        assert isinstance(files, dict), files
        folder = f"../{name}"
        assert folder in literals(files["train.py"].content)
        assert f"base={folder}" in words(files["convert.sh"].content)


SCRIPTS = [
    "微调",
    "модель-1",
    "εκπαίδευση",
    "हिन्दी_2",
    "ไทย.v3",
    "עברית",
    "عربي",
    "가나다",
    "Ünïcode",
    "２０",
]
NAMES = [*SCRIPTS, "微" * 85, "x" * 100]
REFUSED = [
    "a\u202eb", "\u200fa", "a\u200db", "a\u200bb", "a\ufeff", "a\u2066b", "\u3164", "a\u115f", "a\ufe0f", "a\u034fb",
    "e\u0301", "\u0301a", "微" * 86, "x" * 101, ".微", "-微", "_微", "微/调", "微\\调", "微 调", "微\u3000调",
    "a／b", "．．",
    "微\n", "微\0", "\x1b微", "微\x85", "🙂", "微:调", "$微", "`微`", "",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_named_in_any_script(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    """From the folder to what trackers, clients and readers are shown."""
    monkeypatch.chdir(tmp_path)
    furnish(tmp_path)
    data = merged(HELD, {"name": name, "tracking": {"trackers": ["tensorboard"]}})
    Path("spec.toml").write_text(toml(data), "utf-8")
    for _ in range(2):  # anew, and beside what is there
        result = CliRunner().invoke(main, ["compile", "spec.toml"])
        assert result.exit_code == 0, result.output
    run = Path("runs") / name
    assert [path.name for path in Path("runs").iterdir()] == [name]
    assert name in literals((run / "train.py").read_bytes())
    assert name in words((run / "deploy.sh").read_bytes())
    assert (run / "README.md").read_text("utf-8").startswith(f"# {name}\n")
    done = subprocess.run(["bash", "-n", run / "deploy.sh"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert CliRunner().invoke(main, ["verify", str(run)]).exit_code == 0


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_with_what_nobody_sees_is_refused(name: str, folder: Path) -> None:
    found = compiled(merged(BASE, {"name": name}), folder)
    assert isinstance(found, list)
    assert [problem.code for problem in found] in (["bad-form"], ["out-of-range"])
    assert all(hint.isprintable() for problem in found for hint in problem.hints)
