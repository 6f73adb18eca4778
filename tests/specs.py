"""Specs that the tests of the compiler share, and what they do with them."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ftc.compiler import compile_document
from ftc.compiler.cli import main
from ftc.compiler.diagnostics.diagnostic import CompileError, Diagnostic
from ftc.compiler.document.load import Document, parse
from ftc.compiler.emit.files import Files

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates" / "run"
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


STABLE = {"lr_scheduler": "warmup_stable_decay"}

# Together they use every template and every branch of each.
SPECS: dict[str, dict[str, Any]] = {
    "cpu-lora": BASE,
    "cpu-full": merged(
        BASE,
        {
            "method": {"kind": "full", "freeze": ["lm_head", "*.norm"], "neftune_noise_alpha": 5.0},
            "data": {"packing": False, "validation_fraction": 0.1, "loss_on": "all"},
            "optim": {"lr_scheduler": "linear", "min_lr_ratio": 0.1, "warmup_steps": 3},
            "train": {
                "max_steps": 10,
                "eval_every": 2,
                "save_every": 4,
                "keep_best": True,
                "early_stopping_patience": 2,
            },
            "samples": {
                "prompts": ["Who are you?"],
                "system": "Be brief.",
                "at_checkpoints": True,
            },
            "tracking": {"trackers": ["tensorboard", "wandb", "mlflow", "swanlab", "trackio"]},
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
            "model": {
                "trust_remote_code": True,
                "gradient_checkpointing": False,
                "max_seq_length": 65536,
                "rope_scaling": {"type": "yarn", "factor": 4.0},
            },
            "optim": {"lr_scheduler": "constant", "warmup_ratio": 0.0},
            "samples": {"prompts": ["Who are you?", 'Say "hi".'], "every": 5},
            "export": {"merge": False},
        },
    ),
    "cpu-8bit": merged(
        BASE,
        {
            "model": {"rope_scaling": {"type": "llama3", "factor": 2.0}},
            "method": {"kind": "qlora", "loraplus_lr_ratio": 16.0, "quantization": {"bits": 8}},
        },
    ),
    "cpu-pissa": merged(
        BASE,
        {
            "method": {
                "init_lora_weights": "pissa_niter_16",
                "layers_to_transform": list(range(24)),
                "exclude_modules": ["layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj"],
                "rank_pattern": [
                    {"module": f"layers.{block}.mlp.down_proj", "rank": 8, "alpha": 16}
                    for block in range(4)
                ],
            }
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
    "gpu8-shared": merged(
        BASE,
        GPU,
        HUB,
        {"hardware": {"devices_per_node": 8}, "parallel": {"sequence_parallel_size": 4}},
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
            "method": {"modules_to_save": ["lm_head"], "bias": "all", "use_dora": True},
            "chat": {"system": "A long message, word after word. " * 12},
            "optim": {"lr_scheduler": "linear"},
        },
    ),
    "lion-wsd": merged(BASE, {"optim": {"optimizer": "lion", **STABLE, "warmup_ratio": 0.0}}),
    "adafactor-wsd": merged(
        BASE, {"optim": {"optimizer": "adafactor", **STABLE, "min_lr_ratio": 0.1}}
    ),
    "muon-inverse": merged(BASE, {"optim": {"optimizer": "muon", "lr_scheduler": "inverse_sqrt"}}),
    "paged-8bit": merged(BASE, GPU, {"optim": {"optimizer": "paged_adamw_8bit", **STABLE}}),
}


def furnish(folder: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hey"}]}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "held_out.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    (folder / "dated.jinja").write_text("{{ strftime_now('%d %b %Y') }}{{ messages[0].content }}")
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


def lock_text(**parts: Any) -> str:
    """A lock as a run reads it, with `parts` of it as given."""
    whole: dict[str, Any] = {
        "runtime": {"version": "1", "sha256": "0"},
        "spec": {"path": "../spec.toml", "sha256": "0"},
        "plan_id": "0",
        "plan": {"seed": {"value": 1, "changes": ""}},
        "facts": {"data": [], "model": {}},
        "files": {"train.py": "0"},
    }
    whole |= parts
    whole["plan"] = {key: {"origin": "default", **each} for key, each in whole["plan"].items()}
    data = [{"size": 1, "rows": None, **each} for each in whole["facts"]["data"]]
    return json.dumps(whole | {"facts": {**whole["facts"], "data": data}})


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


def told(problem: Diagnostic) -> str:
    place = f"{problem.line}:{problem.column}-{problem.end_column}"
    hint = problem.hints[0] if problem.hints else None
    return f"    {place} {problem.code}: {problem.message}\n    hint: {hint}"


def refused(text: str, path: str = "spec.toml") -> Diagnostic:
    """The first syntax error of a text."""
    with pytest.raises(CompileError) as caught:
        parse(text, path)
    return caught.value.diagnostics[0]
