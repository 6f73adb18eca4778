"""What was probably meant by a wrong value: a hint is given only if its value would be right."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from .diagnostics import KeyPath, guess
from .language import dotted, header, is_list, literals, models_in
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
    "adamw_torch": "adamw",
    "adam": "adamw",
    "sharegpt": "messages",
    "openai": "messages",
    "chat": "messages",
    "text": "pretrain",
}


def hints(path: KeyPath, field: FieldInfo, given: Any) -> list[str]:
    """The ways out of a wrong value for the key at `path`."""
    models = list(models_in(field.annotation))
    if models:
        title = header(dotted(tuple(part for part in path if isinstance(part, str))))
        first, key = next(iter(models[0].model_fields.items()))
        if isinstance(given, str) and (fits(key, given) or first == "kind"):
            return [f"write {title}, and below it `{first} = {toml(given)}`"]
        each = ", once for each source" if is_list(field.annotation) else ""
        return [f"open it with {title}{each}"]
    words = [word for word in literals(field.annotation) if isinstance(word, str)]
    if isinstance(given, str) and words:
        meant = WORDS.get(given.lower())
        near = [f'did you mean "{meant}"?'] if meant in words else guess(given, words)
        if near:
            return near
    name = "" if isinstance(path[-1], int) else f"{path[-1]} = "
    for value, remark in _candidates(given):
        if fits(field, [value] if isinstance(path[-1], int) else value):
            return [f"write `{name}{toml(value)}`{remark}"]
    return []


def _candidates(given: Any) -> Iterator[tuple[Any, str]]:
    """Other values that look like the given one, each with a remark."""
    if isinstance(given, str):
        try:
            yield tomllib.loads(f"value = {given.strip().lower()}")["value"], ", without quotes"
        except (ValueError, RecursionError):
            pass
        yield {"yes": True, "on": True, "no": False, "off": False}.get(given.lower()), ""
        yield given.strip(), ""
    elif isinstance(given, bool | int | float) and math.isfinite(given):
        if isinstance(given, float) and given.is_integer():
            yield int(given), ", without a decimal point"
        if given in (0, 1):
            yield bool(given), ""
        if 1 <= given <= 100:
            yield given / 100, f": {given:g} percent"
        yield toml(given), ", in quotes"
    if not isinstance(given, list | dict):
        yield [given], ": a list, even of one"


def fits(field: FieldInfo, value: Any) -> bool:
    """Whether the key takes the value."""
    config = ConfigDict(strict=True, allow_inf_nan=False)
    try:
        annotation = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        TypeAdapter(annotation, config=config).validate_python(value)
    except (ValidationError, PydanticUserError):
        return False
    return value is not None


def example(field: FieldInfo, kind: str) -> str:
    """A value for a hint: the first that the key lists, or the place for one."""
    words = literals(field.annotation)
    if kind in words:
        return toml(kind)
    if words:
        return toml(words[0])
    return '["..."]' if is_list(field.annotation) else '"..."'
