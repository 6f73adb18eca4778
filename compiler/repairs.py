"""What was probably meant by a wrong value: a hint is given only if its value would be right."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from .diagnostics import SECRET, KeyPath, guess, odd_letter
from .keys import NAME, Table
from .language import (
    METHODS,
    choice,
    dotted,
    header,
    is_fixed,
    is_list,
    item_of,
    literals,
    models_in,
)
from .quote import toml

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


def hints(path: KeyPath, field: FieldInfo, given: Any) -> list[str]:
    """The ways out of a wrong value for the key at `path`."""
    if isinstance(given, str) and SECRET.search(given):
        return ["remove it: a secret is named in a spec, never written down"]
    models = list(models_in(field.annotation))
    if models:
        title = header(dotted(tuple(part for part in path if isinstance(part, str))))
        first, key = next(iter(models[0].model_fields.items()))
        if isinstance(given, str) and (fits(key, given) or first == "kind"):
            return [f"write {title}, and below it `{first} = {toml(given)}`"]
        if isinstance(given, str) and any(models_in(key.annotation)):
            return hints((*path, first), key, given)
        if is_list(field.annotation):
            return [f"write {title}, with two brackets, once for each of them"]
        return [f"write {title}, and its keys below it"]
    item = isinstance(path[-1], int)
    listed = literals(item_of(field.annotation) if item else field.annotation)
    words = [word for word in listed if isinstance(word, str)]
    if item and given in literals(field.annotation):
        return [f"write `{path[-2]} = {toml(given)}`, without the list"]
    if isinstance(given, str) and words:
        meant = WORDS.get(given.lower())
        near = [f'did you mean "{meant}"?'] if meant in words else guess(given, words)
        if near:
            return [*near, *([odd] if (odd := odd_letter(given)) else [])]
    name = "" if item else f"{path[-1]} = "
    for value, remark in _candidates(given):
        if fits(field, [value] if item else value):
            return [f"write `{name}{toml(value)}`{remark}"]
    if not name:
        return ["write another value" if is_fixed(field.annotation) else "remove it from the list"]
    if field.is_required():
        return [f"write {example(str(path[-1]), field)}"]
    default = f" for the default: {toml(field.default)}" if field.default is not None else ""
    return [f"write another value, or leave it out{default}"]


def _candidates(given: Any) -> Iterator[tuple[Any, str]]:
    """Other values that look like the given one, each with a remark."""
    if isinstance(given, str):
        with suppress(ValueError, RecursionError):
            plain = unicodedata.normalize("NFKC", given).strip().lower()
            yield tomllib.loads(f"value = {plain}")["value"], ", without quotes"
        yield (
            {"yes": True, "on": True, "cpu": True, "no": False, "off": False}.get(given.lower()),
            "",
        )
        if percent := re.fullmatch(r"([0-9.]+) ?%", given):
            yield float(percent[1]) / 100, ""
        if number := re.fullmatch(r"[A-Za-z_ -]*([0-9]{1,4})( [a-z]+)?", given):
            yield int(number[1]), ""  # zero3, "3 epochs"; a 4k is anybody's guess
        yield re.sub(r"^[a-z]+://|/$", "", given), ""
        yield "".join(c for c in given if c.isprintable()).strip(), ""
        dashed = re.sub(r"[^A-Za-z0-9._-]+", "-", given)
        yield dashed.strip("-"), ""
        if "*" not in given:  # of a pattern, the rest would mean something else
            yield dashed.strip("._-"), ""
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
    if any(getattr(limit, "pattern", None) == NAME for limit in field.metadata):
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
