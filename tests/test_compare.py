"""`ftc diff` of specs, runs and revisions of git; what a change is about; its numbers."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner
from ftc.compiler import compile_document, load
from ftc.compiler.cli import main
from ftc.compiler.diff.sides import of_compiled, of_run
from ftc.compiler.spec.describe import METHODS, affects, field_at, tables
from ftc.compiler.spec.keys import Affects

from . import tiny

ROOT = Path(__file__).resolve().parent.parent
SPEC = (ROOT / "tests/errors/output/file/spec.toml").read_text()
GOLDEN = sorted((ROOT / "tests/golden").glob("*/spec.toml"))
NONE = "No changes: both specs compile to the same run.\n"


def ftc(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def diffed(old: str, new: str) -> dict[str, Any]:
    _, said, told = ftc("diff", "--format", "json", old, new)
    assert told == ""
    return json.loads(said)


def test_errors_of_a_diff_are_json_where_json_was_asked_for(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text('name = "x"\nsede = 1\n')
    exit_code, said, told = ftc("diff", "--format", "json", str(broken), str(GOLDEN[0]))
    assert (exit_code, told) == (2, "")
    assert "unknown-key" in {diagnostic["code"] for diagnostic in json.loads(said)}


def changed(difference: dict[str, Any]) -> dict[str, str]:
    return {change["path"]: change["class"] for change in difference["keys"]}


def git(*arguments: str) -> None:
    name = ("-c", "user.name=ftc", "-c", "user.email=ftc@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *name, *arguments], check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with spec.toml and rows.jsonl."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.toml").write_text(SPEC)
    tiny.write_rows(tmp_path / "rows.jsonl", 3)
    return tmp_path


@pytest.fixture
def repository(folder: Path) -> Path:
    """A repository with two commits: rank 8, then another rank and more rows. Specs in runs/."""
    (folder / "runs").mkdir()
    for name in ("spec.toml", "rows.jsonl"):
        (folder / name).rename(folder / "runs" / name)
    git("init", "-q", ".")
    git("add", ".")
    git("commit", "-qm", "one")
    edit(folder / "runs/spec.toml", 'kind = "lora"', 'kind = "lora"\nrank = 4')
    tiny.write_rows(folder / "runs/rows.jsonl", 5)
    git("commit", "-qam", "two")
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# -- What a change is about


def test_every_key_has_a_class() -> None:
    for table, keys in tables():
        for key in keys:
            path = (*table.split("."), key) if table else (key,)
            for kind in METHODS:
                if field_at(path, kind) is not None:
                    assert affects(path) in get_args(Affects), path


@pytest.mark.parametrize(
    ("key", "about"),
    {
        "method.rank": "numerics",
        "data.train[0].source": "data",
        "optim.warmup_ratio": "schedule",
        "train.micro_batch_size": "placement",
        "train.save_every": "cosmetic",
        "chat": "cosmetic",
        "samples": "cosmetic",
    }.items(),
)
def test_classes(key: str, about: str) -> None:
    path = tuple(part.split("[")[0] for part in key.split("."))
    assert affects(path) == about


def test_a_key_is_cosmetic_exactly_if_it_says_so() -> None:
    for table, keys in tables():
        for key in keys:
            path = (*table.split("."), key) if table else (key,)
            fields = (field_at(path, kind) for kind in METHODS)
            declared = [f.json_schema_extra for f in fields if f and f.json_schema_extra]
            for extra in declared:
                assert isinstance(extra, dict)
                assert (extra["changes"] == "cosmetic") == (affects(path) == "cosmetic")


# -- Numbers


def test_effects_in_numbers(folder: Path) -> None:
    (folder / "new.toml").write_text(SPEC)
    edit(folder / "new.toml", 'kind = "lora"', 'kind = "lora"\ntarget_modules = ["q_proj"]')
    with (folder / "new.toml").open("a") as file:
        file.write("[train]\nmax_steps = 7\nglobal_batch_size = 8\n")
    effects = {e["name"]: (e["old"], e["new"]) for e in diffed("spec.toml", "new.toml")["effects"]}
    assert effects == {
        "tokens per step, at most": (16 * 1024, 8 * 1024),
        "epochs": (1, None),
        "steps": (None, 7),
        # 30 blocks; the seven linear layers of one have 10,176 inputs and outputs, q_proj 1,152
        "trainable parameters": (16 * 30 * 10_176, 16 * 30 * 1_152),
    }
    assert "~ steps  - -> 7\n" in ftc("diff", "spec.toml", "new.toml")[1]


def test_full_trains_every_parameter(folder: Path) -> None:
    (folder / "new.toml").write_text(SPEC.replace('"lora"', '"full"'))
    found = {e["name"]: e["new"] for e in diffed("spec.toml", "new.toml")["effects"]}
    assert found["trainable parameters"] == 134_515_008


# -- Run directories


@pytest.mark.parametrize("spec", GOLDEN, ids=lambda path: path.parent.name)
def test_a_run_does_not_differ_from_the_spec_that_it_came_from(spec: Path, folder: Path) -> None:
    output = str(folder / "out")
    assert ftc("compile", str(spec), "-o", output)[0] == 0
    for sides in ((str(spec), output), (output, str(spec)), (output, output)):
        assert ftc("diff", *sides)[:2] == (0, NONE)
    compiled = compile_document(load(spec))
    recorded = of_run(folder / "out")
    assert recorded.plan.keys() == of_compiled(load(spec), compiled).plan.keys()
    for path, value in of_compiled(load(spec), compiled).plan.items():
        if path.rpartition(".")[2] not in ("file", "folder"):  # their way depends on the place
            assert recorded.plan[path] == value, path


def test_a_run_is_what_its_lock_recorded(folder: Path) -> None:
    ftc("compile", "spec.toml", "-o", "out")
    shutil.copytree("out", "moved")
    tiny.write_rows(folder / "rows.jsonl", 4)  # beside the spec; the runs keep their copies
    assert ftc("diff", "out", "moved")[:2] == (0, NONE)
    difference = diffed("out", "spec.toml")
    assert [(c["path"], c["class"]) for c in difference["contents"]] == [("data.train[0]", "data")]
    assert difference["contents"][0]["old"].startswith("3 rows")
    assert difference["resume"] == "new run"


def test_an_edited_file_of_a_run_is_named(folder: Path) -> None:
    ftc("compile", "spec.toml", "-o", "out")
    edit(folder / "out/train.py", "import", "import  ")
    code, said, _ = ftc("diff", "spec.toml", "out")
    assert code == 1 and "~ train.py  (edited)\n" in said


def test_a_lock_that_lacks_something_is_damaged(folder: Path) -> None:
    ftc("compile", "spec.toml", "-o", "out")
    (folder / "out/ftc.lock").write_text('{"files": {}, "plan": {"seed": 3}}')
    code, said, told = ftc("diff", "out", "spec.toml")
    assert (code, said) == (2, "") and told.startswith("out: error[no-lock]")


# -- Revisions


def test_a_revision_with_its_data(repository: Path) -> None:
    difference = diffed("HEAD~1:runs/spec.toml", "runs/spec.toml")
    assert changed(difference) == {"method.rank": "numerics"}
    (content,) = difference["contents"]
    assert content["old"].startswith("3 rows") and content["new"].startswith("5 rows")
    assert diffed("HEAD:runs/spec.toml", "runs/spec.toml")["differs"] is False


def test_paths_are_relative_as_with_git(repository: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(repository / "runs")
    for name in ("HEAD~1:runs/spec.toml", "HEAD~1:./spec.toml", "HEAD~1:../runs/spec.toml"):
        assert changed(diffed(name, "spec.toml")) == {"method.rank": "numerics"}
    code, _, told = ftc("diff", "HEAD~1:spec.toml", "spec.toml")
    assert code == 2 and "hint: did you mean `HEAD~1:./spec.toml`?" in told


def test_what_is_staged(repository: Path) -> None:
    edit(repository / "runs/spec.toml", "rank = 4", "rank = 5")
    git("add", "runs/spec.toml")
    edit(repository / "runs/spec.toml", "rank = 5", "rank = 6")
    (change,) = diffed(":runs/spec.toml", "runs/spec.toml")["keys"]
    assert (change["old"], change["new"]) == (5, 6)


def test_a_revision_may_hold_a_colon_and_a_file_comes_before_it(repository: Path) -> None:
    assert changed(diffed("HEAD^{/one}:runs/spec.toml", "runs/spec.toml"))
    (repository / "HEAD:x.toml").write_text("name = 1\n")
    assert "HEAD:x.toml:1:8: error[wrong-type]" in ftc("diff", "HEAD:x.toml", "runs/spec.toml")[2]


def test_a_committed_run(repository: Path) -> None:
    ftc("compile", "runs/spec.toml", "-o", "out")
    git("add", "out")
    git("commit", "-qm", "a run")
    assert ftc("diff", "HEAD:out", "out")[:2] == (0, NONE)
    assert ftc("diff", "HEAD:out", "runs/spec.toml")[:2] == (0, NONE)
    ftc("compile", "runs/spec.toml", "-o", "out", "--set", "method.rank=2")
    assert changed(diffed("HEAD:out", "out")) == {"method.rank": "numerics"}


def test_links_in_a_revision(repository: Path) -> None:
    data = repository / "runs/rows.jsonl"
    data.rename(repository / "kept.jsonl")
    data.symlink_to(os.path.relpath(repository / "kept.jsonl", data.parent))
    git("add", ".")
    git("commit", "-qm", "a link")
    assert diffed("HEAD:runs/spec.toml", "runs/spec.toml")["differs"] is False


def test_nothing_is_left_behind(repository: Path, tmp_path: Path, monkeypatch: Any) -> None:
    kept = tmp_path / "tmp"
    kept.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(kept))
    ftc("diff", "HEAD~1:runs/spec.toml", "HEAD:runs/none.toml")
    assert list(kept.iterdir()) == []
