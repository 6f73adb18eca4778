"""What the spec language is made of: a table, a key with what it says of itself, forms of text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticKnownError

from ..diagnostics.tree import is_array

# What a change of the key means for checkpoints that exist already.
ResumeClass = Literal["resumable", "new run", "cosmetic"]

# What a change of the key is about: what is computed, on what data, how long and how fast it
# learns, where it runs, or only what people see.
Affects = Literal["numerics", "data", "schedule", "placement", "cosmetic"]


def key(
    default: Any = ...,
    *,
    help: str,
    affects: Affects | None = None,
    changes: ResumeClass = "new run",
    unit: str = "",
    **limits: Any,
) -> Any:
    """One key of the language; `limits` are pydantic's (ge, gt, le, lt, min_length, pattern).

    `affects`: "cosmetic" where `changes` is; else, unless it is given, what its table says.
    """
    affects = "cosmetic" if changes == "cosmetic" else affects
    extra: dict[str, Any] = {"changes": changes, "affects": affects, "unit": unit}
    return Field(default, description=help, json_schema_extra=extra, **limits)


resumable = partial(key, changes="resumable")
cosmetic = partial(key, changes="cosmetic")


def table(model: type[BaseModel], *, help: str) -> Any:
    """A table whose keys all have defaults, so that it may be left out."""
    # Defaults are right as they are; to validate them, pydantic would build a validator a table.
    return Field(default_factory=model.model_construct, description=help)


class Refused(AttributeError):
    """Somebody asked for a key that the document sets to nothing that could be used."""


class Table(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        defer_build=True,  # one validator for the whole spec, when it is asked for, not one a table
    )

    AFFECTS: ClassVar[Affects | None] = None  # what its keys affect that don't say it themselves

    def __init_subclass__(cls, affects: Affects | None = None, **rest: Any) -> None:
        """Makes `class Optim(Table, affects="numerics")` set AFFECTS."""
        super().__init_subclass__(**rest)
        cls.AFFECTS = affects or cls.AFFECTS

    def each(self, name: str) -> Iterator[tuple[int, Any]]:
        """Number and item of each in a list, but those that `validate` refused; none if it is no list."""
        if f"{name}[]" in vars(self):
            yield from vars(self)[f"{name}[]"].items()
        elif is_array(value := getattr(self, name)):
            yield from enumerate(value)

    if not TYPE_CHECKING:  # reached only for a key that `validate` left out of a broken spec

        def __getattr__(self, name: str) -> NoReturn:
            raise Refused(name)


# What a text must look like, in words for the errors.
LINE = r"^[^\p{C}\p{Zl}\p{Zp}]+$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
# Of any script, but nothing that no reader sees: marks of direction, joiners, fillers.
RUN = r"^[[\p{L}\p{Nd}]--\p{DI}][[\p{L}\p{M}\p{Nd}._-]--\p{DI}]*$"
MOST_BYTES = 255  # of the name of a folder, on the file systems of Linux and macOS
SIZE = r"^[1-9][0-9]*(MB|GB)$"
MODULE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$"
NITER = r"^pissa_niter_[1-9][0-9]{0,2}$"
PATTERN = r"^[A-Za-z_*?\[][A-Za-z0-9_.*?!\[\]-]*$"
HOST = r"^[A-Za-z0-9:][A-Za-z0-9.:_-]*$"
DAY = r"^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
FORMS = {
    LINE: "a text on one line, of visible characters",
    NAME: "letters, digits, `.`, `_` and `-`, with a letter or digit first",
    RUN: "letters and digits of any script, `.`, `_` and `-`, with a letter or digit first, at most 255 bytes of UTF-8",
    SIZE: 'a size such as "5GB" or "500MB"',
    MODULE: 'the name of a module, such as "q_proj" or "layers.0.mlp.up_proj"',
    NITER: '"pissa_niter_N" with a number N',
    PATTERN: 'a module or parameter, perhaps with `*`, such as "model.layers.0.*"',
    HOST: 'a host name or an address, such as "127.0.0.1"',
    DAY: 'a day as "2026-01-31"',
    VARIABLE: 'the name of an environment variable, such as "API_KEY"',
}


def _whole(value: Any) -> Any:
    """pydantic takes 4.0 for a 4 that is listed, and true for a 1."""
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


def dashed(text: str) -> str:
    """The text composed, with a dash for whatever no run's name may hold."""

    def kept(character: str) -> bool:
        kind = unicodedata.category(character)
        return kind[0] in "LM" or kind == "Nd" or character in "._-"

    shown = (c if kept(c) else " " for c in unicodedata.normalize("NFC", text))
    return "-".join("".join(shown).split())


def _run(name: str) -> str:
    """Two names that look the same are the same: composed (NFC), as file systems and git want them."""
    if len(name.encode()) > MOST_BYTES or not unicodedata.is_normalized("NFC", name):
        raise PydanticKnownError("string_pattern_mismatch", {"pattern": RUN})
    return name


Whole = BeforeValidator(_whole)
RunName = Annotated[str, AfterValidator(_run)]
Text = Annotated[str, Field(min_length=1)]
Date = Annotated[str, Field(pattern=DAY)]
Line = Annotated[str, Field(pattern=LINE)]  # ends up in paths and in shell scripts
