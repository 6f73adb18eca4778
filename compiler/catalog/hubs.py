"""Where models and data come from: ids of hubs and their addresses, and names of files."""

from __future__ import annotations

import re

LINES = (".jsonl", ".bin")  # a row on each line; InternEvo calls such files .bin
DELIMITERS = {".csv": ",", ".tsv": "\t"}
TEXT = (".json", *LINES, *DELIMITERS)
COMPRESSED = tuple(kind + packed for kind in TEXT for packed in (".gz", ".zst"))
DATA_SUFFIXES = (*TEXT, ".parquet", ".arrow", *COMPRESSED)
MODELSCOPE = "modelscope:"
HUB = "https://huggingface.co"
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
OTHER_SUFFIXES = (".txt", ".gz", ".zst", ".zip", ".xlsx", ".yaml", ".yml", ".py")
FILE_SUFFIXES = (*DATA_SUFFIXES, *OTHER_SUFFIXES, ".gguf", ".safetensors", ".toml")


def is_file(source: str) -> bool:
    """Whether a data source names a file; otherwise it is a Hub id."""
    return source.endswith(DATA_SUFFIXES)


def modelscope_id(source: str) -> str | None:
    """`org/name` of a source or a base that is named as ModelScope's, None for any other."""
    name = source.removeprefix(MODELSCOPE)
    return name if name != source and is_hub_id(name) else None


def repository(name: str, data: bool = False) -> str:
    """The address for git of a model, or a data set, of the Hub or of ModelScope."""
    kind, other = "datasets/" if data else "", modelscope_id(name)
    return f"https://www.modelscope.cn/{kind}{other}.git" if other else f"{HUB}/{kind}{name}"


def is_hub_id(text: str) -> bool:
    """`org/name`, and nothing that is meant as a path."""
    return HUB_ID.fullmatch(text) is not None and not text.endswith(FILE_SUFFIXES)
