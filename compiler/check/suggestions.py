"""What was probably meant by a wrong value: a hint is given only if its value would be right."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from typing import Annotated, Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ..diagnostics.diagnostic import KeyPath
from ..diagnostics.guess import guess, nearest, odd_letter
from ..diagnostics.secrets import SECRET
from ..diagnostics.tree import is_array, is_table
from ..document.write_toml import toml
from ..spec.describe import (
    METHODS,
    choice,
    dotted,
    extra,
    header,
    is_fixed,
    is_list,
    item_of,
    literals,
    method,
    models_in,
)
from ..spec.keys import NAME, RUN, Table, dashed
from ..spec.other_tools import MEANT_KINDS

# What others call the values that a key lists.
WORDS = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "fp32": "float32",
    "float": "float32",
    "gpu": "cuda",
    "flash_attn": "flash_attention_2",
    "flash": "flash_attention_2",
    "flash_attention": "flash_attention_2",
    "fa2": "flash_attention_2",
    "adam": "adamw",
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adamw_hf": "adamw",
    "adamw_bnb_8bit": "adamw_8bit",
    "adam8bit": "adamw_8bit",
    "paged_adamw_32bit": "paged_adamw",
    "lion_32bit": "lion",
    "cosine_with_min_lr": "cosine",
    "cosineannealinglr": "cosine",
    "constant_with_warmup": "constant",
    "wsd": "warmup_stable_decay",
    "all": "all-linear",
    "mps": "cpu",
    "last": "last_assistant",
    "sharegpt": "messages",
    "openai": "messages",
    "chat": "messages",
    "text": "pretrain",
}
SWITCHES = {"yes": True, "y": True, "on": True, "cpu": True, "no": False, "n": False, "off": False}


def hints(path: KeyPath, field: FieldInfo, given: Any) -> list[str]:
    """The ways out of a wrong value for the key at `path`."""
    if isinstance(given, str) and SECRET.search(given):
        return ["remove it: a secret is named in a spec, never written down"]
    if path == ("method", "kind") and isinstance(given, str):
        if given.lower() in MEANT_KINDS:
            return list(MEANT_KINDS[given.lower()])
        near = guess(given, METHODS)
        return near or [f"write one of them: {choice([toml(word) for word in METHODS])}"]
    models = list(models_in(field.annotation))
    if models:
        return [below(path, field, given)]
    item = isinstance(path[-1], int)
    if item and given in literals(field.annotation):
        return [f"write `{path[-2]} = {toml(given)}`, without the list"]
    words = _words(field, item)
    if isinstance(given, str) and words:
        meant = WORDS.get(given.lower())
        near = [f'did you mean "{meant}"?'] if meant in words else guess(given, words)
        if near:
            return [*near, *([odd] if (odd := odd_letter(given)) else [])]
    if part := _part(path, field, given):
        return part
    name = "" if item else f"{path[-1]} = "
    for value, remark in _candidates(given, field):
        if fits(field, [value] if item else value):
            return [f"write `{name}{toml(value)}`{remark}"]
    if not name:
        return ["write another value" if is_fixed(field.annotation) else "remove it from the list"]
    if field.is_required():
        return [f"write {example(str(path[-1]), field)}"]
    default = f" for the default: {toml(field.default)}" if field.default is not None else ""
    return [f"write another value, or leave it out{default}"]


def _part(path: KeyPath, field: FieldInfo, given: Any) -> list[str]:
    """Hints where a part of the run was meant, as Transformers takes it for its numbers of steps."""
    if not isinstance(given, float) or given.is_integer() or not 0 < given < 1e15:
        return []
    if path == ("optim", "warmup_steps") and given < 1:
        return [f"for a share of the steps, write `warmup_ratio = {toml(given)}` in its place"]
    if path == ("train", "num_epochs"):
        whole = f"write `num_epochs = {max(1, round(given))}`"
        return [whole, "or set max_steps in its place: a run may end within an epoch"]
    if extra(field).get("unit") == "steps" and given < 1:
        return ["write a number of steps: a share of the run is not taken"]
    return []


def below(path: KeyPath, field: FieldInfo, given: Any) -> str:
    """How to write a table that was set to a value, which is that of its first key if that takes it."""
    title = header(dotted(tuple(part for part in path if isinstance(part, str))))
    model = next(models_in(field.annotation))
    first, key = next(iter(model.model_fields.items()))
    if first == "kind":
        model, first = method("lora"), "kind"
        key = model.model_fields[first]
        if given in METHODS:
            return f"write {title}, and below it `kind = {toml(given)}`"
        known = MEANT_KINDS.get(given.lower()) if isinstance(given, str) else None
        return known[0] if known else f"write {title}, and its keys below it"
    inner = next(models_in(key.annotation), None)
    if inner is not None and isinstance(given, str):
        return below((*path, first), key, given)
    if (
        inner is not None
        and is_array(given)
        and given
        and is_table(given[0])
        and {*given[0]} & {*inner.model_fields}
    ):
        return f"write {header(dotted((*path, first)))} in its place"
    if first == "source" and not re.search(r"[./]", str(given)):
        return f"write {title}, and below it `source`: a file, or a data set of the Hub"
    value = right(key, given)
    if value is not None and not isinstance(given, dict | bool):
        return f"write {title}, and below it `{first} = {toml(value)}`"
    if is_list(field.annotation):
        return f"write {title}, with two brackets, once for each of them"
    return f"write {title}, and its keys below it"


def right(field: FieldInfo, given: Any) -> Any:
    """The value that a key takes and that the given one most likely stands for; None if there is none."""
    if fits(field, given):
        return given
    words = _words(field, False)
    if isinstance(given, str) and words:
        meant = WORDS.get(given.lower(), "")
        near = meant if meant in words else nearest(given.lower(), words)
        if near and fits(field, near):
            return near
    return next((value for value, _ in _candidates(given, field) if fits(field, value)), None)


def _words(field: FieldInfo, item: bool) -> list[str]:
    listed = literals(item_of(field.annotation) if item else field.annotation)
    return [word for word in listed if isinstance(word, str)]


def _candidates(given: Any, field: FieldInfo) -> Iterator[tuple[Any, str]]:
    """Other values that look like the given one, each with a remark."""
    if isinstance(given, str):
        with suppress(ValueError, RecursionError):
            plain = unicodedata.normalize("NFKC", given).strip().lower()
            value: Any = tomllib.loads(f"value = {plain}")["value"]
            yield value, ", without quotes"
            if isinstance(value, float) and value.is_integer():
                yield int(value), ""
        if number := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kKmM])", given):
            unit = 1024 if extra(field).get("unit") == "tokens" else 1000
            yield round(float(number[1]) * unit ** (1 if number[2] in "kK" else 2)), ""
        if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+", given):
            yield int(given.replace(",", "")), ""
        yield SWITCHES.get(given.lower()), ""
        if percent := re.fullmatch(r"([0-9.]+) ?%", given):
            yield float(percent[1]) / 100, ""
        if number := re.fullmatch(r"[A-Za-z_ -]*([0-9]{1,4})( [a-z]+)?", given):
            yield int(number[1]), ""  # zero3, "3 epochs"
        yield re.sub(r"^[a-z]+://|/$", "", given), ""
        yield "".join(c for c in given if c.isprintable()).strip(), ""
        yield unicodedata.normalize("NFC", given), ", with its accents composed (NFC)"
        for name in (dashed(given), re.sub(r"[^A-Za-z0-9._-]+", "-", given)):
            yield name.strip("-"), ""
            if "*" not in given:  # of a pattern, the rest would mean something else
                yield name.strip("._-"), ""
        yield re.sub(r"[^A-Za-z0-9.*?]+", "_", given).strip("_"), ""
        yield given.replace(" ", "").upper(), ""
    elif isinstance(given, bool | int | float) and abs(given) < 1e15:  # not nan, either
        if isinstance(given, float) and given.is_integer():
            yield int(given), ", without a decimal point"
        if given is False:
            yield "none", ""
        if given in (0, 1):
            yield bool(given), ""
        if 1 < given <= 100:
            yield given / 100, f": {given:g} percent"
        yield toml(given), ", in quotes"
    elif isinstance(given, date):
        yield given.isoformat()[:10], ", in quotes"
    if isinstance(given, str) and "," in given:
        yield [part.strip() for part in given.split(",")], ": a list"
    if not isinstance(given, list | dict):
        yield [given], ": a list, even of one"


def fits(field: FieldInfo, value: Any) -> bool:
    """Whether the key takes the value."""
    annotation: Any = field.annotation
    if field.metadata:
        annotation = Annotated[(annotation, *field.metadata)]
    try:
        config = ConfigDict(strict=True, allow_inf_nan=False)
        TypeAdapter[Any](annotation, config=config).validate_python(value)
    except (ValidationError, PydanticUserError):
        return False
    return value is not None


def example(name: str, field: FieldInfo) -> str:
    """How to set a key: to the first value that it lists, with the others; or to "..."."""
    words = literals(field.annotation)
    if set(words) <= set(METHODS) and words:
        words = ["lora", *(word for word in METHODS if word != "lora")]
    if words:
        others = f" (or {choice([toml(word) for word in words[1:]])})" if words[1:] else ""
        return f"`{name} = {toml(words[0])}`{others}"
    value = '["..."]' if is_list(field.annotation) else '"..."'
    if any(getattr(limit, "pattern", None) in (NAME, RUN) for limit in field.metadata):
        value = toml("my-run")  # three dots are no name
    if field.annotation is int:
        value = toml(2)
    if field.annotation is float:
        value = toml(2.0)
    return f"`{name} = {value}`"


def open_table(path: str, model: type[Table]) -> str:
    """How to write a table that is missing, with the keys that it needs."""
    needs = {name: key for name, key in model.model_fields.items() if key.is_required()}
    needs = needs or dict([next(iter(model.model_fields.items()))])
    for name, key in needs.items():
        inner = list(models_in(key.annotation))
        if inner:
            return open_table(f"{path}.{name}", inner[0])
    keys = [example(name, key) for name, key in needs.items()]
    return f"add {header(path)}, and below it {' and '.join(keys)}"
