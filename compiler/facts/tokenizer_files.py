"""The tokenizer's files in a model folder: are they JSON of the form that transformers reads, and whole?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..diagnostics.tree import is_array, is_table
from .weights import AGAIN, Fault

TOKENIZER = "tokenizer.json"
READ = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
LARGEST = 1_000_000  # bytes that are parsed; of more, which takes a while, the ends and the parts are looked at
PARTS = re.compile(rb'"(model|vocab|added_tokens)"\s*:\s*[\[{]')
POINTER = b"version https://git-lfs"


def tokenizer_fault(folder: Path) -> Fault | None:
    """The first of the files that transformers could not make a tokenizer of, and why.

    Raises OSError for what can't be read.
    """
    for name in READ:
        file = folder / name
        if file.is_file() and (found := _fault(file, file.read_bytes())):
            return found
    return None


def _fault(file: Path, content: bytes) -> Fault | None:
    if content.startswith(POINTER):
        return Fault(
            "bad-model", file, "it is a pointer of Git LFS, not the file", ("git lfs pull",)
        )
    whole = _large(content) if len(content) > LARGEST else _parsed(content)
    if not is_table(whole):
        found = "not JSON" if whole is None else "not a JSON object"
        return Fault("bad-model", file, f"it is {found}" if content.strip() else "it is empty")
    if file.name != TOKENIZER:
        return None
    model: Any = whole.get("model")
    lacks = [] if is_array(whole.get("added_tokens")) else ["added_tokens"]
    lacks += [] if is_table(model) and "vocab" in model else ["model with a vocab"]
    names = " and no ".join(lacks)
    hint = "add the tokenizer.json that belongs to the model"
    return Fault("bad-model", file, f"it has no {names}", (AGAIN, f"or {hint}")) if names else None


def _parsed(content: bytes) -> Any:
    """None where it is not JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _large(content: bytes) -> dict[str, Any] | None:
    """What of a large object's parts is there, each empty; None if it does not end as it began."""
    bare = content.strip()
    if not bare.startswith(b"{") or not re.search(rb"[}\]\"\del]\s*\}$", bare[-1000:]):
        return None
    found = {part.decode() for part in PARTS.findall(content)}
    model = {"model": dict.fromkeys(found & {"vocab"})} if "model" in found else {}
    return model | ({"added_tokens": []} if "added_tokens" in found else {})
