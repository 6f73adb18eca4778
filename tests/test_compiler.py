"""The compiler as a whole: same bytes everywhere, safe writes, clean output, no dead key.

Messages have their cases in tests/errors, whole runs in tests/golden.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ftc import compiler
from ftc.compiler import compile_document, compile_file, write
from ftc.compiler.cli import main
from ftc.compiler.language import models_in
from ftc.compiler.load import Document
from ftc.compiler.render import Files, environment
from ftc.compiler.spec import Spec
from ftc.compiler.write import LOCK, PENDING
from jinja2 import nodes

ROOT = Path(__file__).resolve().parent.parent
BASE: dict[str, Any] = {
    "name": "case",
    "model": {"base": "smollm2-135m-instruct"},
    "method": {"kind": "lora"},
    "data": {"train": [{"source": "rows.jsonl", "format": "messages"}]},
    "hardware": {"device": "cpu"},
}
GPU = {"hardware": {"device": "cuda", "accelerator": "A100-80G"}}
HUB = {
    "model": {"base": "qwen2.5-7b-instruct", "revision": "a09a35458c702b33eeacc393d103063234e8bc28"}
}
HELD_OUT = {"data": {"validation": [{"source": "held_out.jsonl", "format": "messages"}]}}


def merged(one: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    """The tables laid over each other; a value of None takes the key away."""
    result = dict(one)
    for other in others:
        for key, value in other.items():
            if isinstance(value, dict):
                inner = result.get(key)
                value = merged(inner if isinstance(inner, dict) else {}, value)
            result[key] = value
    return {key: value for key, value in result.items() if value is not None}


def toml(data: dict[str, Any], header: str = "") -> str:
    """The data as TOML. JSON's strings are TOML's, but for one character."""
    lines, tables = [f"[{header}]"] if header else [], []
    for key, value in data.items():
        path = f"{header}.{key}" if header else key
        if isinstance(value, dict):
            tables.append(toml(value, path))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tables += [toml(item, path).replace(f"[{path}]", f"[[{path}]]", 1) for item in value]
        else:
            text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
            lines.append(f"{key} = {value if isinstance(value, float) else text}")
    return "\n".join(lines) + "\n" + "\n".join(tables)


# Together they use every template and every branch of each.
SPECS: dict[str, dict[str, Any]] = {
    "cpu-lora": BASE,
    "cpu-full": merged(
        BASE,
        {
            "method": {"kind": "full"},
            "data": {"packing": False, "validation_fraction": 0.1, "loss_on": "all"},
            "optim": {"lr_scheduler": "linear", "min_lr_ratio": 0.1, "warmup_steps": 3},
            "train": {"max_steps": 10},
            "samples": {"prompts": ["Who are you?"], "system": "Be brief."},
            "chat": {"temperature": 0.7, "top_p": 0.9, "system": "Be brief."},
            "deploy": {"api_key_env": "API_KEY", "host": "0.0.0.0"},
        },
    ),
    "gpu-qlora": merged(
        BASE,
        GPU,
        HUB,
        HELD_OUT,
        {
            "method": {
                "kind": "qlora",
                "target_modules": ["q_proj", "v_proj"],
                "quantization": {"double_quant": False},
            },
            "model": {"trust_remote_code": True, "gradient_checkpointing": False},
            "optim": {"lr_scheduler": "constant", "warmup_ratio": 0.0},
            "samples": {"prompts": ["Who are you?", 'Say "hi".'], "every": 5},
            "export": {"merge": False},
        },
    ),
    "gpu8-zero3-offload": merged(
        BASE,
        GPU,
        HUB,
        {
            "method": {"kind": "full"},
            "hardware": {"devices_per_node": 8},
            "parallel": {"zero_stage": 3, "offload_optimizer": True, "offload_params": True},
            "optim": {"lr_scheduler": "cosine", "min_lr_ratio": 0.1, "warmup_ratio": 0.0},
            "deploy": {"api_key_env": "API_KEY", "model_name": 'it\'s "mine"'},
        },
    ),
    "nodes2-hub": merged(
        BASE,
        {
            "model": {"base": "acme/" + "long-name-" * 9, "chat_template": "chatml"},
            "hardware": {"device": "cuda", "accelerator": "V100-32G", "nodes": 2},
            "optim": {"lr_scheduler": "constant", "warmup_steps": 3},
            "deploy": {"engine": "transformers"},
        },
    ),
    "local-folder": merged(
        BASE,
        {
            "model": {"base": "my weights/it's", "chat_template": "chatml", "attention": "eager"},
            "chat": {"system": "A long message, word after word. " * 12},
            "optim": {"lr_scheduler": "linear"},
        },
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the specs above refer to."""
    furnish(tmp_path)
    return tmp_path


def furnish(folder: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hey"}]}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "held_out.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    (folder / "more.jsonl").write_text(3 * (json.dumps(row | {"text": "x"}) + "\n"))
    weights = folder / "my weights" / "it's"
    weights.mkdir(parents=True)
    (weights / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 2048}')


def render(data: dict[str, Any], folder: Path) -> Files:
    text = toml(data)
    path = str(folder / "spec.toml")
    return compile_document(Document(path, text, tomllib.loads(text))).files


def written(files: Files, folder: Path) -> None:
    """The files on disk, for tools that read them there."""
    for name, file in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(file.content)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def ftc(*arguments: object, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="ftc")
    assert result.exit_code == exit_code, (result.output, result.exception)
    return result


# -- The same bytes everywhere

DIGESTS = """
import hashlib, json, sys
from pathlib import Path
from ftc.compiler import compile_file
for spec in sys.argv[1:]:
    files = compile_file(spec, Path(spec).parent / "out").files
    for name, file in files.items():
        print(Path(spec).name, name, hashlib.sha256(file.content).hexdigest())
"""


def test_the_same_bytes_under_another_hash_seed_time_zone_locale_and_folder(folder: Path) -> None:
    specs = []
    for name, data in SPECS.items():
        (folder / f"{name}.toml").write_text(toml(data), "utf-8")
        specs.append(f"{name}.toml")
    seen = []
    for seed, zone, locale, where in (
        ("1", "UTC", "C.UTF-8", folder),
        ("2", "Asia/Tokyo", "C", ROOT),
        ("3", "America/New_York", "tr_TR.UTF-8", folder / "my weights"),
    ):
        env = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale}
        env.pop("PYTHONUTF8", None)
        paths = [os.path.relpath(folder / spec, where) for spec in specs]
        command = [sys.executable, "-c", DIGESTS, *paths]
        seen.append(subprocess.run(command, cwd=where, env=env, capture_output=True, check=True))
    assert len(seen[0].stdout.splitlines()) > 12 * len(SPECS)
    assert seen[0].stdout == seen[1].stdout == seen[2].stdout


@pytest.mark.parametrize("name", SPECS)
def test_the_order_of_keys_and_tables_does_not_matter(name: str, folder: Path) -> None:
    def backwards(data: Any) -> Any:
        if isinstance(data, dict):
            return {key: backwards(value) for key, value in reversed(data.items())}
        return [backwards(item) for item in data] if isinstance(data, list) else data

    there, back = render(SPECS[name], folder), render(backwards(SPECS[name]), folder)
    assert there["spec.toml"] != back["spec.toml"]
    for path in there.keys() - {"spec.toml", LOCK}:
        assert there[path] == back[path], path


# -- Writing


@pytest.fixture
def spec(folder: Path) -> Path:
    (folder / "spec.toml").write_text(toml(BASE))
    return folder / "spec.toml"


def test_compiling_twice_changes_nothing(spec: Path, tmp_path: Path) -> None:
    ftc("compile", spec, "-o", tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = ftc("compile", spec, "-o", tmp_path / "out").stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times
    lines = [line for line in again.splitlines() if line.startswith("  ")]
    assert len(lines) == len(snapshot(tmp_path / "out"))
    assert all(line.endswith("(unchanged)") for line in lines)
    assert os.access(tmp_path / "out" / "launch.sh", os.X_OK)


def test_the_default_output_is_runs_and_the_name(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ftc("compile", "spec.toml")
    assert (tmp_path / "runs" / "case" / LOCK).is_file()


def test_an_edited_file_is_kept_unless_forced(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    generated = (out / "train.py").read_bytes()
    (out / "train.py").write_bytes(generated + b"# mine\n")
    spec.write_text(toml(merged(BASE, {"seed": 7})))
    before = snapshot(out)
    refusal = ftc("compile", spec, "-o", out, exit_code=2)
    assert "error[edited]" in refusal.stderr
    assert "train.py" in refusal.stderr
    assert snapshot(out) == before
    ftc("compile", spec, "-o", out, "--force")
    assert b"# mine" not in (out / "train.py").read_bytes()
    assert b"SEED = 7" in (out / "train.py").read_bytes()


def test_an_edit_that_the_spec_has_caught_up_with_is_no_edit(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    spec.write_text(toml(merged(BASE, {"seed": 7})))
    (out / "train.py").write_bytes(compile_file(spec, out).files["train.py"].content)
    ftc("compile", spec, "-o", out)


def test_a_file_that_somebody_else_put_there_is_kept(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    (out / "data" / "held_out.jsonl").write_text("my own\n")
    spec.write_text(toml(merged(BASE, HELD_OUT)))
    refusal = ftc("compile", spec, "-o", out, exit_code=2)
    assert "data/held_out.jsonl" in refusal.stderr
    assert (out / "data" / "held_out.jsonl").read_text() == "my own\n"


def test_what_is_no_longer_generated_goes_and_what_the_run_made_stays(
    spec: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    spec.write_text(toml(merged(BASE, HELD_OUT)))
    ftc("compile", spec, "-o", out)
    (out / "checkpoints").mkdir()
    (out / "checkpoints" / "step-1").write_text("weights")
    spec.write_text(toml(BASE))
    ftc("compile", spec, "-o", out)
    assert not (out / "data" / "held_out.jsonl").exists()
    assert (out / "checkpoints" / "step-1").read_text() == "weights"
    assert set(snapshot(out)) - {"checkpoints/step-1"} == set(compile_file(spec, out).files)


def test_a_foreign_directory_is_refused(spec: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("Buy milk.")
    ftc("compile", spec, "-o", tmp_path / "notes", exit_code=2)
    assert snapshot(tmp_path / "notes") == {"todo.txt": b"Buy milk."}
    ftc("compile", spec, "-o", tmp_path / "notes", "--force")
    assert (tmp_path / "notes" / "todo.txt").read_text() == "Buy milk."


def test_nothing_is_written_through_a_link(spec: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    ftc("compile", spec, "-o", tmp_path / "link", exit_code=2)
    ftc("compile", spec, "-o", tmp_path / "link", "--force", exit_code=2)
    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    shutil.rmtree(out / "data")
    (out / "data").symlink_to(elsewhere)
    ftc("compile", spec, "-o", out, "--force", exit_code=2)
    (out / "data").unlink()
    (elsewhere / "train.py").write_text("mine")
    (out / "train.py").unlink()
    (out / "train.py").symlink_to(elsewhere / "train.py")
    ftc("compile", spec, "-o", out, "--force", exit_code=2)
    assert snapshot(elsewhere) == {"train.py": b"mine"}


def test_a_lock_can_not_reach_out_of_its_directory(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ftc("compile", spec, "-o", out)
    (tmp_path / "mine.txt").write_text("mine")
    lock = json.loads((out / LOCK).read_text())
    lock["files"] |= {"../mine.txt": "0" * 64, str(tmp_path / "spec.toml"): "0" * 64}
    (out / LOCK).write_text(json.dumps(lock))
    ftc("compile", spec, "-o", out, "--force")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert spec.is_file()


def test_a_directory_that_can_not_be_written_is_an_error(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device", "train.py")

    monkeypatch.setattr(Path, "write_bytes", full)
    refusal = ftc("compile", spec, "-o", tmp_path / "out", exit_code=2)
    assert "error[bad-output]: can't be written (No space left on device" in refusal.stderr
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out.*"))


class Killed(BaseException):
    pass


def test_a_write_that_is_killed_leaves_old_or_new_and_the_next_one_mends_it(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    old = compile_file(spec, out).files
    spec.write_text(toml(merged(BASE, HELD_OUT, {"seed": 7, "chat": {"system": "Be brief."}})))
    new = compile_file(spec, out).files
    replace, rename = os.replace, os.rename
    for moves in range(20):
        shutil.rmtree(out, ignore_errors=True)
        write(old, out)
        left = moves

        def killed(*arguments: Any, **keywords: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            replace(*arguments, **keywords)

        monkeypatch.setattr(os, "replace", killed)
        try:
            write(new, out)
            finished = True
        except Killed:
            finished = False
        monkeypatch.setattr(os, "replace", replace)
        for name, content in snapshot(out).items():
            sides = [files[name].content for files in (old, new) if name in files]
            assert content in sides or name == PENDING
        assert (out / LOCK).read_bytes() == (new if finished else old)[LOCK].content
        write(old if moves % 2 else new, out)  # forwards or backwards, and nothing is "edited"
        mended = {name: file.content for name, file in (old if moves % 2 else new).items()}
        assert snapshot(out) == mended
        if finished:
            break
    assert finished
    assert moves > 4
    assert os.rename is rename
    assert not list(tmp_path.glob(".out.*"))


def test_a_first_write_that_is_killed_leaves_nothing(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object, **keywords: object) -> None:
        raise Killed

    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(Killed):
        write(compile_file(spec, tmp_path / "out").files, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out.*"))


def test_nothing_is_written_unless_it_verifies(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendering = sys.modules["ftc.compiler.render"]  # the package has a function of that name
    monkeypatch.setattr(rendering, "tidy", lambda text: text + "def\n")
    result = ftc("compile", spec, "-o", tmp_path / "out", exit_code=2)
    assert "error[internal]: the generated Python is not valid" in result.stderr
    assert "please report it" in result.stderr
    assert not (tmp_path / "out").exists()


# -- The two halves

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


# -- Templates and their output

TEMPLATES = ROOT / "templates" / "run"
PLAIN = (nodes.Name, nodes.Getattr)


def names_of_templates() -> list[str]:
    return sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.jinja"))


@pytest.mark.parametrize("name", names_of_templates())
def test_templates_hold_no_logic(name: str) -> None:
    assert list(logic(environment().parse((TEMPLATES / name).read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "text",
    [
        "{{ a + 1 }}",
        "{{ a() }}",
        "{{ a[0] }}",
        "{{ 'text' }}",
        "{{ a | upper }}",
        "{{ a | py | sh }}",
        "{{ a if b else c }}",
        "{% if a == b %}{% endif %}",
        "{% if not a %}{% endif %}",
        "{% if a and b %}{% endif %}",
        "{% for a in b if a.c %}{% endfor %}",
        "{% for a in b.c() %}{% endfor %}",
        "{% set a = b %}",
        "{% macro a() %}{% endmacro %}",
        "{% include 'a' %}",
        "{% extends 'a' %}",
        "{% raw %}{% endraw %}{% block a %}{% endblock %}",
    ],
)
def test_logic_is_recognised(text: str) -> None:
    assert list(logic(environment().parse(text)))


def logic(node: nodes.Node) -> Iterator[str]:
    """What a template does beyond placing values and asking whether a section is there."""
    match node:
        case nodes.If():
            plain = isinstance(node.test, PLAIN)
        case nodes.For():
            plain = isinstance(node.iter, nodes.Getattr) and isinstance(node.target, nodes.Name)
            plain = plain and not (node.test or node.else_ or node.recursive)
        case nodes.Filter():
            plain = node.name in KNOWN_FILTERS and isinstance(node.node, PLAIN)
            plain = plain and not (node.args or node.kwargs or node.dyn_args or node.dyn_kwargs)
        case _:
            plain = type(node) in ALLOWED
    if not plain:
        yield f"line {node.lineno}: {type(node).__name__}"
    for child in node.iter_child_nodes():
        yield from logic(child)


ALLOWED = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.Getattr, nodes.Name)
KNOWN_FILTERS = {"py", "sh", "name", "comment", "comment_lines", "origin", "source"}


def test_every_template_and_filter_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = environment().loader
    assert loader is not None
    load, used = loader.get_source, set()

    def get_source(env: Any, name: str) -> Any:
        used.add(name)
        return load(env, name)

    monkeypatch.setattr(environment(), "cache", None)
    monkeypatch.setattr(loader, "get_source", get_source)
    for data in SPECS.values():
        render(data, folder)
    assert used == set(names_of_templates())
    texts = "".join((TEMPLATES / name).read_text("utf-8") for name in used)
    assert set(re.findall(r"\| (\w+)", texts)) == set(environment().filters) == KNOWN_FILTERS


def test_the_output_passes_the_usual_tools(folder: Path) -> None:
    out = folder / "out"
    for name, data in SPECS.items():
        written(render(data, folder), out / name)
    scripts = sorted(str(path) for path in out.rglob("*.sh"))
    assert len(scripts) == 3 * len(SPECS)
    for command in (
        ["ruff", "format", "--check", "--line-length", "100", "--isolated", str(out)],
        ["ruff", "check", "--isolated", str(out)],
        ["shellcheck", *scripts],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_value_of_the_plan_is_read() -> None:
    from ftc.compiler import plan

    places = [*TEMPLATES.rglob("*.jinja")]
    places += [ROOT / "compiler" / f"{name}.py" for name in ("render", "quote", "ds_config")]
    text = "".join(path.read_text("utf-8") for path in places)
    for table in vars(plan).values():
        if isinstance(table, type) and table.__module__ == plan.__name__ and "Plan" in str(table):
            for name in table.__annotations__:
                assert re.search(rf"\.{name}\b|\"{name}\"", text), f"{table.__name__}.{name}"


# -- No dead key: a change of any key changes what is emitted

Q8 = {"train": {"global_batch_size": 32}, "hardware": {"devices_per_node": 8}}
QLORA = merged(BASE, GPU, HUB, {"method": {"kind": "qlora"}})
FULL8 = merged(BASE, GPU, HUB, {"method": {"kind": "full"}}, Q8)
ASKS = merged(BASE, {"samples": {"prompts": ["Hi"]}})
HUB_ROWS = merged(BASE, {"data": {"train": [{"source": "acme/rows", "format": "messages"}]}})
HUB_HELD = merged(BASE, {"data": {"validation": [{"source": "acme/rows", "format": "messages"}]}})
HELD = merged(BASE, HELD_OUT)
DRAWS = merged(BASE, {"chat": {"temperature": 0.5}})

# Key -> two values (None: unset), and a spec in which it has a say.
CHANGES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "name": ("case", "other", BASE),
    "seed": (1, 2, BASE),
    "model.base": ("acme/one", "acme/two", merged(BASE, {"model": {"chat_template": "chatml"}})),
    "model.source": ("package", "hub", BASE),
    "model.revision": ("a", "b", QLORA),
    "model.dtype": ("float16", "bfloat16", QLORA),
    "model.attention": ("sdpa", "eager", BASE),
    "model.chat_template": ("chatml", "llama3", BASE),
    "model.max_seq_length": (64, 128, BASE),
    "model.trust_remote_code": (False, True, QLORA),
    "model.gradient_checkpointing": (False, True, BASE),
    "method.kind": ("full", "lora", BASE),
    "method.rank": (4, 8, BASE),
    "method.alpha": (4, 8, BASE),
    "method.dropout": (0.0, 0.1, BASE),
    "method.target_modules": ("all-linear", ["q_proj"], BASE),
    "method.quantization.type": ("nf4", "fp4", QLORA),
    "method.quantization.double_quant": (True, False, QLORA),
    "data.train.source": ("rows.jsonl", "more.jsonl", BASE),
    "data.train.format": (
        "messages",
        "pretrain",
        merged(BASE, {"data": {"train": [{"source": "more.jsonl", "format": "messages"}]}}),
    ),
    "data.train.revision": ("a", "b", HUB_ROWS),
    "data.train.subset": ("a", "b", HUB_ROWS),
    "data.train.split": (None, "validation", HUB_ROWS),
    "data.train.max_samples": (None, 1, BASE),
    "data.validation.source": ("held_out.jsonl", "more.jsonl", HELD),
    "data.validation.format": (
        "messages",
        "pretrain",
        merged(BASE, {"data": {"validation": [{"source": "more.jsonl", "format": "messages"}]}}),
    ),
    "data.validation.revision": ("a", "b", HUB_HELD),
    "data.validation.subset": ("a", "b", HUB_HELD),
    "data.validation.split": (None, "validation", HUB_HELD),
    "data.validation.max_samples": (None, 1, HELD),
    "data.validation_fraction": (0.1, 0.2, BASE),
    "data.packing": (True, False, BASE),
    "data.on_overlong": ("drop", "error", BASE),
    "data.loss_on": ("assistant", "all", BASE),
    "optim.optimizer": ("adamw", None, BASE),  # the only one so far
    "optim.learning_rate": (1e-4, 2e-4, BASE),
    "optim.betas": ([0.9, 0.95], [0.9, 0.999], BASE),
    "optim.eps": (1e-8, 1e-6, BASE),
    "optim.weight_decay": (0.0, 0.1, BASE),
    "optim.max_grad_norm": (1.0, 0.5, BASE),
    "optim.lr_scheduler": ("cosine", "linear", BASE),
    "optim.warmup_ratio": (0.1, 0.2, BASE),
    "optim.warmup_steps": (5, 10, BASE),
    "optim.min_lr_ratio": (0.1, 0.2, BASE),
    "train.num_epochs": (1, 2, BASE),
    "train.max_steps": (10, 20, BASE),
    "train.global_batch_size": (8, 16, BASE),
    "train.micro_batch_size": (1, 2, BASE),
    "train.log_every": (1, 2, BASE),
    "train.save_every": (10, 20, BASE),
    "train.keep_checkpoints": (1, 2, BASE),
    "train.eval_every": (10, 20, HELD),
    "hardware.device": ("cpu", "cuda", BASE),
    "hardware.accelerator": ("A100-80G", "H100-80G", QLORA),
    "hardware.nodes": (1, 2, QLORA),
    "hardware.devices_per_node": (1, 2, QLORA),
    "parallel.zero_stage": (1, 2, FULL8),
    "parallel.offload_optimizer": (False, True, FULL8),
    "parallel.offload_params": (False, True, merged(FULL8, {"parallel": {"zero_stage": 3}})),
    "samples.prompts": (["Hi"], ["Ho"], ASKS),
    "samples.every": (None, 10, ASKS),
    "samples.system": (None, "Be brief.", ASKS),
    "samples.max_new_tokens": (8, 16, ASKS),
    "export.merge": (True, False, BASE),
    "export.max_shard_size": ("1GB", "2GB", BASE),
    "chat.system": (None, "Be brief.", BASE),
    "chat.max_new_tokens": (8, 16, BASE),
    "chat.temperature": (0.0, 0.5, BASE),
    "chat.top_p": (1.0, 0.9, DRAWS),
    "chat.repetition_penalty": (1.0, 1.1, BASE),
    "deploy.engine": ("transformers", "lmdeploy", QLORA),
    "deploy.host": ("127.0.0.1", "0.0.0.0", BASE),
    "deploy.port": (1000, 2000, BASE),
    "deploy.model_name": (None, "other", BASE),
    "deploy.api_key_env": (None, "API_KEY", BASE),
}
NEEDS = {"hardware.device": {"cuda": {"hardware": {"accelerator": "A100-80G"}}}}
ONE_VALUE = {"optim.optimizer"}


def leaves(model: Any = Spec, path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = list(models_in(field.annotation))
        for table in inner:
            yield from leaves(table, f"{path}{name}.")
        if not inner:
            yield f"{path}{name}"


def put(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *tables, key = path.split(".")
    patch: dict[str, Any] = {key: value}
    if tables[:1] == ["data"] and len(tables) == 2:  # the first of a list
        patch = {k: v for k, v in {**data["data"][tables[1]][0], **patch}.items() if v is not None}
        return merged(data, {"data": {tables[1]: [patch]}})
    for table in reversed(tables):
        patch = {table: patch}
    return merged(data, patch, NEEDS.get(path, {}).get(value, {}) if isinstance(value, str) else {})


def test_the_table_of_changes_has_every_key() -> None:
    assert set(CHANGES) == set(leaves())


@pytest.mark.parametrize("path", sorted(set(CHANGES) - ONE_VALUE))
def test_no_key_is_dead(path: str, folder: Path) -> None:
    one, other, data = CHANGES[path]
    sides = [emitted(render(put(data, path, value), folder)) for value in (one, other)]
    assert sides[0] != sides[1]


def emitted(files: Files) -> dict[str, bytes]:
    """What a run does: no headers, no spec, no lock."""
    header = re.compile(rb"Generated by ftc from .+ \(plan [0-9a-f]{8}\)\.")
    kept = {path: file.content for path, file in files.items() if path not in ("spec.toml", LOCK)}
    return {path: header.sub(b"", content) for path, content in kept.items()}


# -- The command line

SHIPPED = [ROOT / "specs" / "quickstart.toml", *sorted((ROOT / "tests/golden").glob("*/spec.toml"))]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_specs_that_we_ship_are_fine(path: Path) -> None:
    result = ftc("check", path)
    assert result.stdout.startswith(f"{path}: fine.\n")
    assert result.stderr == ""


COMMANDS = ([], ["check"], ["compile"], ["diff"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_fits_a_terminal(command: list[str]) -> None:
    text = ftc(*command, "--help").stdout
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "..." not in text.replace("COMMAND [ARGS]...", "")


def test_no_arguments_show_the_help() -> None:
    result = ftc(exit_code=2)
    assert "Usage: ftc" in result.output
    assert "compile" in result.output
