"""What a model folder says of its model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ...runtime.process.digests import by_size, digests, weight_files
from ..catalog.architectures import traits
from ..catalog.hub_ids import model_type_of
from ..catalog.presets import Architecture, ModelPreset, find_model, modules_of
from ..diagnostics.diagnostic import Diagnostic
from ..diagnostics.tree import is_array, is_table
from ..document.at import at
from ..document.load import Document
from ..spec.spec import Spec
from .chat_template import BASE, Unknown
from .data import is_hub_id, modelscope_id
from .no_model import no_model
from .tokenizer_files import tokenizer_fault
from .weights import AGAIN, Fault, fault, parts_of_names


class LocalModel(NamedTuple):
    """A model folder on disk. `sha256` and `digests` say what it holds: see `base`.

    `embeddings`: how many the model has. `beyond`: tokens of its tokenizer that have none, by id.
    `classes`: the class that it was saved as. `code`: the auto classes that its own code stands for.
    `tokenizer`: the file that its tokenizer is made of. `parts`: what its modules' names are made of, for mixtures
    that no preset describes. `packed`: transformers' name of how its weights are
    quantized, as gptq.
    """

    path: Path
    sha256: str
    digests: dict[str, str]
    embeddings: int | None
    beyond: dict[int, str]
    tokenizer: str | None
    classes: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    packed: str | None = None
    parts: frozenset[str] = frozenset()


def model_facts(
    spec: Spec, document: Document
) -> tuple[ModelPreset | None, LocalModel | None, Architecture | None]:
    base = spec.model.base
    preset = find_model(base)
    if preset is not None:
        return preset, None, preset.architecture
    other = modelscope_id(base)
    folder = Path(document.path).parent / base
    with suppress(OSError, ValueError):  # a name that is too long
        if (folder / "config.json").is_file():
            return None, *_local_model(folder, document)
        if folder.exists() or not is_hub_id(other or base):
            raise Unknown(no_model(base, folder, document))
    if not is_hub_id(other or base):
        raise Unknown(no_model(base, folder, document))
    kind = model_type_of(other or base)
    return None, None, Architecture(kind) if kind else None


def weight_problems(
    spec: Spec, local: LocalModel | None, document: Document
) -> Iterator[Diagnostic]:
    """What is wrong with the weight files of a model folder, and with those of its tokenizer."""
    for look in (partial(fault, allow_pickle=spec.model.allow_pickle), tokenizer_fault):
        try:
            found = look(local.path) if local else None
        except OSError as error:
            why = f"it can't be read: {error.strerror}"
            found = Fault("bad-model", Path(error.filename), why, ())
        if found is None:
            continue
        message = f"{found.file}: {found.message}"
        yield at(document, BASE, found.code, message, on="value", hints=found.hints)


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
    if is_table(data) and not isinstance(data.get("model_type"), str) and "auto_map" not in data:
        data, wrong = None, "it has no model_type"
    if not is_table(data):
        message = f"{config} does not describe a model: {wrong}"
        hint = "copy the folder again from where it came"
        raise Unknown(at(document, BASE, "bad-model", message, on="value", hints=[hint]))
    try:
        weights = [*weight_files(folder)]
        digest, parts = by_size(folder) or "", digests(folder)
    except OSError as error:
        message = f"{error.filename or folder} can't be read: {error.strerror}"
        raise Unknown(at(document, BASE, "bad-model", message, on="value")) from None
    inner: Any = data.get("text_config")  # of a model of texts and pictures
    text = {**data, **inner} if is_table(inner) else data

    blocks: Any = text.get("cross_attention_layers")

    def number(key: str, most: int = 1 << 31) -> int | None:
        value: Any = text.get(key)
        if isinstance(value, str | float) or (isinstance(value, int) and not 1 <= value <= most):
            shown = _shown(value)
            message = f"{config}: {key} must be a whole number from 1 to {most:,}, not {shown}"
            raise Unknown(at(document, BASE, "bad-model", message, on="value", hints=[AGAIN]))
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    rows = number("vocab_size")
    beyond = {i: token for i, token in _added(folder) if rows and i >= rows}
    named, code = data.get("architectures"), data.get("auto_map")
    classes = tuple(map(str, named)) if is_array(named) else ()
    own = tuple(code) if is_table(code) else ()
    files = [found.name for pattern in TOKENIZERS for found in folder.glob(pattern)]
    tokenizer = files[0] if files else None if weights else "unknown"  # with config.json alone
    stored: Any = data.get("quantization_config")
    how = str(stored.get("quant_method") or "bitsandbytes") if is_table(stored) else None
    kind = str(data.get("model_type"))
    # Code of the model's own may name them as it likes.
    modules = () if "auto_map" in data else modules_of(kind)
    inside = parts_of_names(folder) if traits(kind).experts and not modules else frozenset[str]()
    local = LocalModel(
        *(folder, digest, parts, rows, beyond, tokenizer, classes, own), packed=how, parts=inside
    )
    return local, Architecture(
        model_type=kind,
        max_position=number("max_position_embeddings"),
        num_layers=number("num_hidden_layers", 10_000),
        hidden_size=number("hidden_size"),
        num_heads=number("num_attention_heads"),
        num_kv_heads=number("num_key_value_heads"),
        rope=_rope(text),
        tied=tied if isinstance(tied := data.get("tie_word_embeddings"), bool) else None,
        modules=modules,
        crossing=tuple(b for b in (blocks if is_array(blocks) else ()) if isinstance(b, int)),
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


def _shown(value: str | float) -> str:
    """A value of a config.json, shortened; integers beyond what str() takes in digits."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else hex(value)
    return text if len(text) <= 40 else f"{text[:30]}..."
