"""What the folder of a base model holds, in digests: the compiler writes them to the lock, a launch compares.

Needs the standard library only.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WEIGHTS = (".safetensors", ".bin", ".gguf")
INDEXES = (".safetensors.index.json", ".bin.index.json")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tekken.json",
)
VOCABULARIES = (".model", ".tiktoken")
WHOLE = (
    1 << 20
)  # bytes up to which all of a weight file is read; of a larger one so much of its head
BLOCK, BLOCKS = 4096, 32  # what is read of the rest, evenly spread to its very end


def digests(folder: Path) -> dict[str, str]:
    """Of a model folder: digests of its `config`, `tokenizer`, `weights` and `code`, where it has them.

    They take milliseconds, whatever the size: a weight file counts with its name, its size, its head (in
    safetensors what it holds, and where) and a sample of its blocks. Chat templates
    are left out, as a run carries its own. Raises OSError for what can't be read.
    """
    found: dict[str, Any] = {}
    for path in _files(folder):
        name = path.name
        if name == "config.json":
            found.setdefault("config", []).append(whole_sha256(path))
        elif name in TOKENIZER or path.suffix in VOCABULARIES:
            found.setdefault("tokenizer", []).append(f"{name}\0{_without_template(path)}")
        elif path.suffix in WEIGHTS or name.endswith(INDEXES):
            found.setdefault("weights", []).append(f"{name}\0{_sampled(path)}")
        elif path.suffix == ".py":
            found.setdefault("code", []).append(f"{name}\0{whole_sha256(path)}")
    return {part: _sha256("\n".join(lines).encode()) for part, lines in found.items()}


def other_parts(then: Any, now: Any) -> list[str]:
    """The parts whose digests differ; none where one of two locks is of an earlier version, without them."""
    if not then or not now or not isinstance(then, dict):
        return []
    return [
        part
        for part in ("config", "tokenizer", "weights", "code")
        if then.get(part) != now.get(part)
    ]


def by_size(folder: Path) -> str | None:
    """The one digest of locks of earlier versions: of config.json, and of the weight files' names and sizes."""
    config = folder / "config.json"
    if not config.is_file():
        return None
    weights = [path for path in _files(folder) if path.suffix in WEIGHTS]
    sizes = "".join(f"{path.name}\0{path.stat().st_size}\n" for path in weights)
    return _sha256(f"{whole_sha256(config)}\n{sizes}".encode())


def weight_files(folder: Path) -> Iterator[Path]:
    """The files of a model folder that may hold its weights, by name."""
    return (path for path in _files(folder) if path.suffix in WEIGHTS)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def whole_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _without_template(path: Path) -> str:
    if path.name == "tokenizer_config.json":
        try:
            settings = json.loads(path.read_bytes())
            settings.pop("chat_template", None)
            return _sha256(json.dumps(settings, sort_keys=True).encode())
        except (ValueError, AttributeError, TypeError, RecursionError):
            pass  # it is damaged: its bytes count
    return whole_sha256(path)


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(WHOLE))
        rest = max(0, size - WHOLE - BLOCK)
        for number in range(BLOCKS if size > WHOLE else 0):
            file.seek(WHOLE + rest * number // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()
