"""README.md of an exported folder: what it is, how it was made, how to load it."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from ..process import lock

# What of the plan's keys says how the model was trained.
TRAINED = ("model.", "method.", "batch.", "optim.", "train.", "data.", "seed")
UNTOLD = (
    "model.folder", "model.package", "model.hub_id", "model.modelscope", "model.base", "model.fused",
    "model.liger", "model.trust_remote_code", "train.log_every", "train.save_every", "train.keep_checkpoints",
    "data.train", "data.validation[",
)  # fmt: skip
LOAD = {
    "adapter": """\
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

model = AutoPeftModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")""",
    "merged": """\
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")""",
}


def write(folder: Path, checkpoint: str, base: str, notes: Sequence[str] = ()) -> None:
    """Writes README.md into an adapter/ or merged/ folder, from the plan in ftc.lock.

    `base`: what the base model is loaded by. `notes`: sentences on what to know when it is loaded.
    """
    plan = lock.plan() if Path(lock.LOCK).is_file() else {}
    kind, name = folder.name, plan.get("name", "model")
    what = "LoRA adapter" if kind == "adapter" else "merged model"
    if kind == "merged" and plan.get("method.kind") == "full":
        what = "fine-tuned model"
    text = [_front(kind, plan), f"# {name}: {what}\n"]
    if summary := plan.get("summary"):
        named = plan["model.base"]
        text.append(f"{summary.replace(named, PurePath(named).name)}\n")
    text.append(
        "Made by ftc (fine-tune compiler); the logits were compared with those in training.\n"
    )
    text.append("\n".join(["| | |", "|---|---|", *_rows(plan, checkpoint)]) + "\n")
    text.append(f"## Loading it\n\n```python\n{LOAD[kind]}\n```\n\nFOLDER is this folder.\n")
    if kind == "adapter":
        text.append(_base(plan, base))
    text += [f"{note}\n" for note in notes]
    text.append(
        "## Licence\n\nThe run does not say under which licence this may be used. Those of the base model and of"
        " the data apply.\n"
    )
    (folder / "README.md").write_text("\n".join(text), "utf-8")


def _front(kind: str, plan: dict[str, Any]) -> str:
    """The card's metadata (huggingface.co/docs/hub/model-cards), YAML: JSON strings are YAML."""
    lora = "method.lora.rank" in plan
    lines = ["---", f"library_name: {'peft' if kind == 'adapter' else 'transformers'}"]
    if hub := plan.get("model.hub_id"):
        relation = "adapter" if kind == "adapter" else "finetune"
        lines += [f"base_model: {json.dumps(hub)}", f"base_model_relation: {relation}"]
    lines += ["pipeline_tag: text-generation", "tags:", "- ftc", "- sft"]
    return "\n".join([*lines, *(["- lora"] if lora else []), "---", ""])


def _rows(plan: dict[str, Any], checkpoint: str) -> list[str]:
    base = plan.get("model.hub_id") or plan.get("model.modelscope")
    base = base or PurePath(plan.get("model.base", "")).name
    rows = {"base model": base, "checkpoint": checkpoint, "data": ", ".join(_data(plan))}
    for key, value in plan.items():
        if key.startswith(TRAINED) and not key.startswith(UNTOLD):
            rows[key] = PurePath(value).name if key == "model.chat_template" else value
    return [f"| {key} | {_cell(value)} |" for key, value in rows.items() if value not in (None, "")]


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _data(plan: dict[str, Any]) -> list[str]:
    """The names of the sources of training rows: a file's without its folder."""
    found: dict[str, list[str]] = {}
    for key, value in plan.items():
        source, _, part = key.rpartition(".")
        if not source.startswith("data.train["):
            continue
        if part in ("file", "files"):
            paths = [value] if isinstance(value, str) else value
            found.setdefault(source, []).extend(PurePath(path).name for path in paths)
        elif part in ("hub", "modelscope", "subset", "split"):
            found.setdefault(source, []).append(value)
    return [" ".join(words) for words in found.values()]


def _base(plan: dict[str, Any], base: str) -> str:
    """Where PEFT finds the base model."""
    if plan.get("model.hub_id"):
        return f"PEFT loads the base, {base}, from the Hub.\n"
    name, revision = plan.get("model.modelscope"), plan.get("model.revision")
    call = f"{name!r}, revision={revision!r}" if revision else repr(name)
    fetched = f"It comes from ModelScope: `modelscope.snapshot_download({call})`.\n"
    return (fetched if name else "") + (
        "The base model is a folder of the machine that made this adapter: `base_model_name_or_path` in"
        " adapter_config.json names it.\nElsewhere, load the base yourself, and the adapter by"
        " `PeftModel.from_pretrained(base, FOLDER)`.\n"
    )
