"""Spec -> Facts: what the compiler looks up outside the spec. The only I/O between load and write.

Facts come from files that the spec names and from presets; never from the network, and never from the
state of the machine, so that the same spec and files give the same run anywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .diagnostics import Diagnostic, at
from .load import Document
from .presets import Architecture, ModelPreset, chat_templates, find_model
from .spec import Source, Spec

COPY_LIMIT = 10_000_000  # bytes; larger files are referred to, not copied into the run
DATA_SUFFIXES = (".json", ".jsonl", ".parquet")
COLUMNS = {"messages": ("messages",), "alpaca": ("instruction", "output"), "pretrain": ("text",)}


@dataclass(frozen=True)
class DataFile:
    """A local data file. `path`: where it is; `rows` and `columns` are None where ftc can't read
    them (parquet). `content` is set for files that are copied into the run."""

    path: Path
    sha256: str
    size: int
    rows: int | None
    columns: tuple[str, ...] | None
    content: bytes | None


@dataclass(frozen=True)
class LocalModel:
    """A model folder on disk. `sha256` covers config.json and its weight files' names and sizes."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Facts:
    """`files`: by key path, as in ("train", 0). `problems`: what was wrong with what was looked up."""

    preset: ModelPreset | None
    local_model: LocalModel | None
    architecture: Architecture | None
    template_name: str | None
    template: str | None
    files: dict[tuple[str, int], DataFile]
    problems: tuple[Diagnostic, ...]


def gather(spec: Spec, document: Document) -> Facts:
    """Looks up everything that `spec` refers to; relative paths are relative to the spec's folder."""
    folder = Path(document.path).parent
    problems: list[Diagnostic] = []
    preset = find_model(spec.model.base)
    local, architecture = None, preset.architecture if preset else None
    if preset is None:
        local, architecture = _local_model(spec, document, folder, problems)
    name, template = _template(spec, document, folder, preset, local, problems)
    files: dict[tuple[str, int], DataFile] = {}
    groups: tuple[tuple[Literal["train", "validation"], list[Source]], ...] = (
        ("train", spec.data.train),
        ("validation", spec.data.validation),
    )
    for group, sources in groups:
        for index, source in enumerate(sources):
            file = _data_file(source, ("data", group, index), document, folder, problems)
            if file is not None:
                files[group, index] = file
    return Facts(preset, local, architecture, name, template, files, tuple(problems))


def is_file(source: str) -> bool:
    """Whether a data source names a file; otherwise it is a Hub id."""
    return source.endswith(DATA_SUFFIXES)


def is_hub_id(text: str) -> bool:
    """`org/name`, and nothing that is meant as a path."""
    parts = text.split("/")
    return len(parts) == 2 and all(parts) and not text.startswith((".", "~", "/"))


def _local_model(
    spec: Spec, document: Document, folder: Path, problems: list[Diagnostic]
) -> tuple[LocalModel | None, Architecture | None]:
    path = folder / spec.model.base
    config = path / "config.json"
    if config.is_file():
        try:
            data = json.loads(config.read_bytes())
        except ValueError as error:
            problems.append(
                at(
                    document,
                    ("model", "base"),
                    "bad-model",
                    f"{config} is not JSON: {error}",
                    on="value",
                )
            )
            return None, None
        weights = sorted(p for p in path.iterdir() if p.suffix in (".safetensors", ".bin", ".gguf"))
        sizes = "".join(f"{p.name}\0{p.stat().st_size}\n" for p in weights)
        digest = hashlib.sha256(config.read_bytes()).hexdigest()
        digest = hashlib.sha256(f"{digest}\n{sizes}".encode()).hexdigest()
        return LocalModel(path, digest), Architecture(
            model_type=str(data.get("model_type")),
            max_position=data.get("max_position_embeddings"),
            num_layers=data.get("num_hidden_layers"),
            hidden_size=data.get("hidden_size"),
        )
    if not is_hub_id(spec.model.base):
        problems.append(_unknown_model(spec.model.base, path, document))
    return None, None


def _unknown_model(base: str, path: Path, document: Document) -> Diagnostic:
    from .diagnostics import nearest
    from .presets import model_presets

    presets = list(model_presets())
    guess = nearest(base.lower(), presets)
    hints = [f'did you mean "{guess}"?'] if guess else [f"presets: {', '.join(presets)}"]
    hints.append("a Hub id has the form `org/name`; a local folder must hold config.json")
    message = f'no preset, no Hub id and no model folder is called "{base}"'
    if path.is_dir():
        message = f"the folder {base} holds no config.json"
    return at(document, ("model", "base"), "unknown-model", message, on="value", hints=hints)


def _template(
    spec: Spec,
    document: Document,
    folder: Path,
    preset: ModelPreset | None,
    local: LocalModel | None,
    problems: list[Diagnostic],
) -> tuple[str | None, str | None]:
    """The chat template's name and text."""
    from .diagnostics import nearest

    wanted, shipped = spec.model.chat_template, chat_templates()
    path = ("model", "chat_template")
    if wanted == "model" and preset:
        wanted = preset.chat_template
    elif wanted == "model":
        own = _own_template(local.path) if local else None
        if own is not None:
            return "model", own
        missing = f"it is not known which chat template {spec.model.base} has"
        names = ", ".join(shipped)
        hints = [f"name one that ftc ships: {names}", "or give the path of a .jinja file"]
        problems.append(at(document, path, "no-chat-template", missing, on="value", hints=hints))
        return None, None
    if wanted in shipped:
        return wanted, shipped[wanted].read_text("utf-8")
    if (folder / wanted).is_file():
        return wanted, (folder / wanted).read_text("utf-8")
    guess = nearest(wanted, shipped)
    problems.append(
        at(
            document,
            path,
            "unknown-chat-template",
            f'ftc ships no chat template "{wanted}" and there is no such file',
            on="value",
            hints=[f'did you mean "{guess}"?']
            if guess
            else [f"known: {', '.join(shipped)}, model"],
        )
    )
    return None, None


def _own_template(folder: Path) -> str | None:
    """The chat template in a model folder: chat_template.jinja, or in tokenizer_config.json."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text("utf-8")
    config = folder / "tokenizer_config.json"
    found = json.loads(config.read_bytes()).get("chat_template") if config.is_file() else None
    return found if isinstance(found, str) else None


def _data_file(
    source: Source,
    path: tuple[str | int, ...],
    document: Document,
    folder: Path,
    problems: list[Diagnostic],
) -> DataFile | None:
    """The facts of a file source; problems with it are added to the list."""
    from .diagnostics import nearest

    def problem(code: str, message: str, *hints: str, key: str = "source") -> None:
        problems.append(at(document, (*path, key), code, message, on="value", hints=hints))

    if not is_file(source.source):
        if not is_hub_id(source.source):
            kinds = ", ".join(DATA_SUFFIXES)
            problem(
                "bad-source",
                f'"{source.source}" is neither a data file ({kinds}) nor a Hub id (`org/name`)',
            )
        return None
    file = folder / source.source
    if not file.is_file():
        beside = [p.name for p in file.parent.glob("*") if p.suffix in DATA_SUFFIXES]
        guess = nearest(file.name, beside)
        hints = (
            [f'did you mean "{(Path(source.source).parent / guess).as_posix()}"?'] if guess else []
        )
        problem(
            "missing-file",
            f"there is no file {source.source}",
            *hints,
            "paths are relative to the spec",
        )
        return None
    size = file.stat().st_size
    with file.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    content = file.read_bytes() if size <= COPY_LIMIT else None
    rows, columns = None, None
    if content is not None and file.suffix != ".parquet":
        try:
            table = list(_rows(content, file.suffix))
        except BadRow as error:
            problem("bad-data", f"{source.source}{error}", "each row must be a JSON object")
            return None
        if not table:
            problem("empty-data", f"{source.source} has no rows")
            return None
        rows, columns = len(table), tuple(table[0])
        lacking = [column for column in COLUMNS[source.format] if column not in columns]
        if lacking:
            fits = [f for f, wanted in COLUMNS.items() if set(wanted) <= set(columns)]
            hints = [f'the columns fit format = "{name}"' for name in fits]
            have = ", ".join(columns)
            message = f"the format {source.format} needs the column `{lacking[0]}`; {source.source} has {have}"
            problem("missing-column", message, *hints, key="format")
    return DataFile(file, digest, size, rows, columns, content)


class BadRow(Exception):
    """`:line:column: what`, to stand behind the file's name."""


def _rows(content: bytes, suffix: str) -> Iterator[dict[str, Any]]:
    """The rows of a .json or .jsonl file. Raises BadRow."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadRow(f":{line}: not UTF-8") from None
    if suffix == ".json":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            place = (
                f":{error.lineno}:{error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            )
            raise BadRow(f"{place}: not JSON: {error}") from None
        if not isinstance(found, list):
            raise BadRow(": a .json file must hold one list of rows")
        numbered = enumerate(found, 1)
        for number, row in numbered:
            if not isinstance(row, dict):
                raise BadRow(f": row {number} is not an object")
            yield row
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadRow(f":{number}:{error.colno}: not JSON: {error.msg}") from None
        except RecursionError:
            raise BadRow(f":{number}: nested too deeply") from None
        if not isinstance(row, dict):
            raise BadRow(f":{number}:1: not an object")
        yield row
