"""Spec -> Facts: what the compiler looks up outside the spec. The only I/O between load and write.

Facts come from files that the spec names and from presets; never from the network, and never from
the state of the machine, so that the same spec and files give the same run anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, TemplateSyntaxError

from .data_files import DataFile, RowFormat, is_file, is_hub_id, look_up, modelscope_id
from .diagnostics import Diagnostic, at, guess
from .keys import Refused
from .load import Document
from .presets import (
    Architecture,
    ModelPreset,
    chat_templates,
    find_model,
    model_families,
    model_presets,
    modules_of,
    shipped_templates,
)
from .spec import Spec
from .spec_data import Source
from .tree import is_array, is_table

__all__ = ["DataFile", "Facts", "LocalModel", "gather", "is_file", "is_hub_id", "modelscope_id"]

BASE, TEMPLATE = ("model", "base"), ("model", "chat_template")


class LocalModel(NamedTuple):
    """A model folder on disk. `sha256` covers config.json and its weight files' names and sizes.

    `embeddings`: how many the model has. `beyond`: tokens of its tokenizer that have none, by id.
    `tokenizer`: the file that its tokenizer is made of.
    """

    path: Path
    sha256: str
    embeddings: int | None
    beyond: dict[int, str]
    tokenizer: str | None


class Facts(NamedTuple):
    """`files` and `formats`: of the sources by key path, as in ("train", 0).

    `problems`: what was wrong with what was found.
    """

    preset: ModelPreset | None
    local_model: LocalModel | None
    architecture: Architecture | None
    template_name: str | None
    template: str | None
    files: dict[tuple[str, int], DataFile]
    formats: dict[tuple[str, int], RowFormat]
    problems: tuple[Diagnostic, ...]

    def format(self, group: str, index: int, source: Source) -> str:
        """The name of a source's format, as far as it is known."""
        found = self.formats.get((group, index))
        return found.name if found else source.format

    def copied(self) -> Iterator[tuple[CopyKey, Path, bytes]]:
        """The files that the run carries a copy of: where the spec names each, its path and content."""
        for (group, index), file in self.files.items():
            for number, part in enumerate(file.parts or (file,)):
                if part.content is not None:
                    key = f"source{number}" if file.parts else "source"
                    yield (group, index, key), part.path, part.content
        for (group, index), found in self.formats.items():
            if found.code is not None:
                yield (group, index, "format"), found.code.path, found.code.content


CopyKey = tuple[str, int, str]  # as in ("train", 0, "source")


class Unknown(Exception):
    """Something that the spec names can't be used; carries the diagnostic."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic


def gather(spec: Spec, document: Document) -> Facts:
    """Looks up all that `spec` refers to; relative paths are relative to the spec's folder."""
    problems: list[Diagnostic] = []
    preset, local, architecture = None, None, None
    name, template = None, None
    base_known = False
    with suppress(Refused):
        try:
            preset, local, architecture = _model(spec, document)
            base_known = True
        except Unknown as problem:
            problems.append(problem.diagnostic)
    with suppress(Refused):
        try:
            if base_known or spec.model.chat_template != "model":
                name, template = _template(spec, document, preset, local)
        except Unknown as problem:
            problems.append(problem.diagnostic)
    files: dict[tuple[str, int], DataFile] = {}
    formats: dict[tuple[str, int], RowFormat] = {}
    for group in ("train", "validation"):
        with suppress(Refused):
            for index, source in spec.data.each(group):
                with suppress(Refused):
                    file, found, problem = look_up(source, ("data", group, index), document)
                    files |= {(group, index): file} if file else {}
                    formats |= {(group, index): found} if found else {}
                    problems += [problem] if problem else []
    return Facts(preset, local, architecture, name, template, files, formats, tuple(problems))


def _model(
    spec: Spec, document: Document
) -> tuple[ModelPreset | None, LocalModel | None, Architecture | None]:
    base = spec.model.base
    preset = find_model(base)
    if preset is not None:
        return preset, None, preset.architecture
    folder = Path(document.path).parent / base
    with suppress(OSError, ValueError):  # a name that is too long
        if (folder / "config.json").is_file():
            return None, *_local_model(folder, document)
        if folder.exists() or not is_hub_id(base):
            raise Unknown(_no_model(base, folder, document))
    if not is_hub_id(base):
        raise Unknown(_no_model(base, folder, document))
    return None, None, None


def _local_model(folder: Path, document: Document) -> tuple[LocalModel, Architecture]:
    """A model folder, by its config.json (see transformers.PretrainedConfig for the keys)."""
    config = folder / "config.json"
    try:
        content = config.read_bytes()
        data: Any = json.loads(content)
        wrong = "it is not a JSON object"
    except OSError as error:
        content, data, wrong = b"", None, f"it can't be read: {error.strerror}"
    except (ValueError, RecursionError):
        content, data, wrong = b"", None, "it is not JSON"
    if not is_table(data):
        message = f"{config} does not describe a model: {wrong}"
        hint = "copy the folder again from where it came"
        raise Unknown(at(document, BASE, "bad-model", message, on="value", hints=[hint]))
    weights = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".gguf"))
    sizes = "".join(f"{p.name}\0{p.stat().st_size}\n" for p in weights)
    digest = hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256(f"{digest}\n{sizes}".encode()).hexdigest()

    def number(key: str) -> int | None:
        value = data.get(key)
        return value if isinstance(value, int) else None

    rows = number("vocab_size")
    beyond = {i: token for i, token in _added(folder) if rows and i >= rows}
    files = [found.name for pattern in TOKENIZERS for found in folder.glob(pattern)]
    tokenizer = files[0] if files else None if weights else "unknown"  # with config.json alone
    return LocalModel(folder, digest, rows, beyond, tokenizer), Architecture(
        model_type=str(data.get("model_type")),
        max_position=number("max_position_embeddings"),
        num_layers=number("num_hidden_layers"),
        hidden_size=number("hidden_size"),
        num_heads=number("num_attention_heads"),
        num_kv_heads=number("num_key_value_heads"),
        rope=_rope(data),
        tied=tied if isinstance(tied := data.get("tie_word_embeddings"), bool) else None,
        # Code of the model's own may name them as it likes.
        modules=() if "auto_map" in data else modules_of(str(data.get("model_type"))),
    )


# What transformers makes a tokenizer of, the surest first.
TOKENIZERS = [
    "tokenizer.json",
    "tekken.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "*.model",
    "*.tiktoken",
    "*.py",
]


def _added(folder: Path) -> Iterator[tuple[int, str]]:
    """The tokens beside a tokenizer's vocabulary: (id, text). tokenizer.json has them ahead of it, and
    only they are parsed, as the vocabulary may have millions of lines."""
    with suppress(OSError, ValueError, RecursionError):
        text = (folder / "tokenizer.json").read_text("utf-8")
        place = re.search(r'"added_tokens"\s*:\s*', text)
        found: Any = json.JSONDecoder().raw_decode(text, place.end())[0] if place else []
        for token in filter(is_table, found if is_array(found) else []):
            number, content = token.get("id"), token.get("content")
            if isinstance(number, int) and isinstance(content, str) and content:
                yield number, content


def _rope(config: dict[str, Any]) -> str | None:
    """The type of rotary positions, in the words of transformers 5 or 4; None for plain ones."""
    found: Any = config.get("rope_parameters") or config.get("rope_scaling")
    if not is_table(found):
        return None
    kind = found.get("rope_type", found.get("type", "several kinds" if found else "default"))
    return None if kind == "default" else str(kind)


def _no_model(base: str, path: Path, document: Document) -> Diagnostic:
    presets = list(model_presets())
    families = f"there are presets of {', '.join(model_families())}"
    hub = re.match(
        r"https?://(?:huggingface\.co|hf\.co|modelscope\.cn/models)/([\w.-]+/[\w.-]+)", base
    )
    hints = (
        [f'write "{hub[1]}"']
        if hub
        else guess(base[:200], presets) or ["name a preset, such as qwen2.5-7b-instruct", families]
    )
    hints.append("or name a Hub id (`org/name`), or a folder that holds config.json")
    message = f'"{base}" is no preset, no Hub id and no model folder'
    with suppress(OSError):
        if path.is_dir():
            message = f"the folder {base} holds no config.json, so no model in Hugging Face form"
        elif path.is_file():
            message = f"{base} is a file; a model is a folder in Hugging Face form"
            if path.suffix == ".gguf":
                folder = base.removesuffix(".gguf")
                made = f"python -m ftc.runtime.models {shlex.quote(base)} {shlex.quote(folder)}"
                hints = [f"make one of it, in float32: {made}", f'then set base to "{folder}"']
    return at(document, BASE, "unknown-model", message, on="value", hints=hints)


def _template(
    spec: Spec, document: Document, preset: ModelPreset | None, local: LocalModel | None
) -> tuple[str, str]:
    """The chat template's name and text."""
    wanted, shipped = spec.model.chat_template, chat_templates()
    if wanted == "model" and preset and preset.chat_template:
        wanted = preset.chat_template
    elif wanted == "model":
        own = _own_template(local.path, document) if local else None
        if own is not None:
            return "model", own
        raise Unknown(_no_template(spec.model.base, document))
    if wanted in shipped:
        return wanted, shipped[wanted].read_text("utf-8")
    file = Path(document.path).parent / wanted
    with suppress(OSError):  # a name that is too long
        if file.is_file():
            return wanted, _read(file, document)
    raise Unknown(
        at(
            document,
            TEMPLATE,
            "unknown-chat-template",
            f'ftc ships no chat template "{wanted}", and there is no such file',
            on="value",
            hints=_like(wanted)
            or ["name one that ftc ships, or a .jinja file", *shipped_templates()],
        )
    )


def _like(wanted: str) -> list[str]:
    """Hints at the templates that a name may mean: XTuner's name of it, another spelling."""
    if f"xtuner/{wanted}" in chat_templates():
        return [f'XTuner\'s template of this name is "xtuner/{wanted}"']
    return guess(wanted, chat_templates())


def _no_template(base: str, document: Document) -> Diagnostic:
    set_here = document.key(TEMPLATE) is not None
    return at(
        document,
        TEMPLATE if set_here else BASE,
        "no-chat-template",
        f"ftc does not know the chat template of {base}",
        on="value",
        why="the run carries it: training, chat and server all use the same",
        hints=[
            "set model.chat_template to one that ftc ships, or to the path of a .jinja file",
            *shipped_templates(),
        ],
    )


def _own_template(folder: Path, document: Document) -> str | None:
    """The chat template in a model folder: chat_template.jinja, or in tokenizer_config.json."""
    if (folder / "chat_template.jinja").is_file():
        return _read(folder / "chat_template.jinja", document)
    with suppress(OSError, ValueError, RecursionError):
        config: Any = json.loads((folder / "tokenizer_config.json").read_bytes())
        found = config.get("chat_template") if is_table(config) else None
        return found if isinstance(found, str) else None
    return None


# transformers knows this tag, Jinja does not.
MARKS = re.compile(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")


def _read(file: Path, document: Document) -> str:
    """The text of a chat template, which must be Jinja."""
    line, message, text = 1, "the chat template is not UTF-8", ""
    hints = ["save the file as UTF-8"]
    try:
        text = file.read_text("utf-8")
        Environment(extensions=["jinja2.ext.loopcontrols"]).parse(MARKS.sub("", text))
        return text
    except UnicodeDecodeError:
        pass
    except TemplateSyntaxError as error:
        line, message = error.lineno, f"the chat template is not Jinja: {error.message}"
        hints = ["mend it, or use one that ftc ships", *shipped_templates()]
    lines = text.splitlines()
    source = lines[line - 1] if line <= len(lines) else None
    named = document.locate(TEMPLATE)
    where = f"{document.where(named)} names this file"
    end = len(source) + 1 if source else 2
    raise Unknown(
        Diagnostic(
            "bad-chat-template",
            message,
            str(file),
            line,
            1,
            end,
            source=source,
            notes=(where,),
            hints=tuple(hints),
        )
    )
