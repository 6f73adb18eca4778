"""What to say of a base that is no model: a folder or file of another form, or nothing at all."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..catalog.hubs import MODELSCOPE
from ..catalog.presets import model_families, model_presets
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..diagnostics.guess import guess
from ..diagnostics.tree import is_table
from ..document.at import at
from ..document.load import Document

BASE: KeyPath = ("model", "base")


def no_model(base: str, path: Path, document: Document) -> Diagnostic:
    """The diagnostic for `base`, which would be the file or folder `path` if it is one."""
    presets = list(model_presets())
    families = f"there are presets of {', '.join(model_families())}"
    hub = re.match(r"https?://(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)", base)
    other = re.match(
        r"(?:https?://(?:www\.)?modelscope\.(?:cn|ai)/models/|modelscope:/*)([\w.-]+/[\w.-]+)", base
    )
    hints = (
        [f'write "{MODELSCOPE}{other[1]}"']
        if other
        else ["name it with its owner, such as `modelscope:Qwen/Qwen3-4B`"]
        if base.startswith(MODELSCOPE)
        else [f'write "{hub[1]}"']
        if hub
        else guess(base[:200], presets) or ["name a preset, such as qwen2.5-7b-instruct", families]
    )
    if re.search(r"\$|\{\{", base):
        hints = [
            "a spec has no variables: write the base itself, or compile with `--set model.base=...`"
        ]
    if base.startswith("~"):
        hints = [_at_home(base)]
    hints.append("or name a Hub id (`org/name`), or a folder that holds config.json")
    message = f'"{base}" is no preset, no Hub id and no model folder'
    with suppress(OSError):
        if path.is_dir():
            message = f"the folder {base} holds no config.json, so no model in Hugging Face form"
            message, hints = _other_form(base, path) or (message, hints)
        elif path.is_file():
            message = f"{base} is a file; a model is a folder in Hugging Face form"
            if path.suffix == ".gguf":
                folder = base.removesuffix(".gguf")
                made = f"python -m ftc.runtime.models {shlex.quote(base)} {shlex.quote(folder)}"
                hints = [f"make one of it, in float32: {made}", f'then set base to "{folder}"']
    return at(document, BASE, "unknown-model", message, on="value", hints=hints)


def _at_home(base: str) -> str:
    """The folder that a shell would take it for, where there is one."""
    with suppress(OSError, RuntimeError):  # no home
        if (folder := Path(base).expanduser()).is_dir():
            return f'`~` is not replaced in a spec: write "{folder}"'
    return "`~` is not replaced in a spec: write the whole path"


def _other_form(base: str, folder: Path) -> tuple[str, list[str]] | None:
    """A message and hints for a folder that holds a model in a form that is not Hugging Face's."""
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        of = ""
        with suppress(OSError, ValueError, RecursionError):
            config: Any = json.loads(adapter.read_bytes())
            of = str(config.get("base_model_name_or_path") or "") if is_table(config) else ""
        message = f"the folder {base} holds an adapter (PEFT), and no model"
        return message, [
            f"set base to the model that it was trained on{f': {of}' if of else ''}",
            "or merge the adapter into that model, and set base to the merged folder",
        ]
    if any(folder.glob("consolidated*.pth")):
        message = f"the folder {base} holds weights in Meta's own form (consolidated.*.pth)"
        return message, [
            "download the same model in Hugging Face form: the folder with config.json and .safetensors",
            "or convert it: transformers/models/llama/convert_llama_weights_to_hf.py",
        ]
    if (folder / "params.json").is_file() or any(folder.glob("consolidated*.safetensors")):
        message = f"the folder {base} holds weights in Mistral's own form (params.json)"
        return message, [
            "download the same model in Hugging Face form: the folder with config.json",
        ]
    if (folder / "model_index.json").is_file():
        message = f"the folder {base} holds a pipeline of diffusers, which makes pictures"
        return message, ["choose a causal language model, such as qwen3-0.6b"]
    for file in sorted(folder.glob("*.gguf")):
        message = f"the folder {base} holds a GGUF file and no config.json"
        made = f"python -m ftc.runtime.models {shlex.quote(f'{base}/{file.name}')} FOLDER"
        return message, [
            f"make a folder in Hugging Face form of it: {made}",
            "then set base to FOLDER",
        ]
    inner = [path.parent.name for path in sorted(folder.glob("*/config.json"))]
    if inner:
        message = f"the folder {base} holds no config.json, but {base}/{inner[0]} does"
        return message, [f'set base to "{base}/{inner[0]}"']
    return None
