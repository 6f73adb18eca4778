"""What a word that is no value of TOML was meant to be: a number, a text without its quotes, nothing at all."""

from __future__ import annotations

import re
import tomllib
import unicodedata

NUMBER = re.compile(r"([+-]?)0*([0-9_]*)(?:(\.)([0-9_]*))?([eE][+-]?[0-9]+)?")
NULLS = ("null", "none", "nil", "~")
NO_NULL = "TOML has no null: leave the key out"
VARIABLE = re.compile(r"\$\{|\$\(|\{\{|^\$[A-Za-z_]|^%\(|^os\.environ|^(?:os\.)?getenv")


def meant(word: str) -> tuple[str, str] | None:
    """What a word that is no TOML is, surely, with a remark: `3%`, `True`, `.5`, `1e-4f`."""
    if percent := re.fullmatch(r"([0-9]{1,2}(?:\.[0-9]+)?) *%", word):
        return f"{float(percent[1]) / 100:g}", f": {percent[1]} percent"
    if word.lower() in ("true", "false"):
        return word.lower(), ""
    number = NUMBER.fullmatch(word.replace("__", "_").strip("_"))
    if number and (number[2] or number[4]):
        sign, whole, point, fraction, exponent = number.groups("")
        return f"{sign}{whole or 0}{point}{(fraction or 0) if point else ''}{exponent}", ""
    bare = plain(word)
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", bare):
        return bare, ""
    return None


def plain(word: str) -> str:
    """A number as ASCII writes it: full-width digits, a typographic minus, C's `1e-4f`."""
    return unicodedata.normalize("NFKC", word).replace("\u2212", "-").rstrip(";fFlL")


def quoted(text: str) -> str:
    text = text.strip("\u201c\u201d\u2018\u2019")  # quotes that a word processor made
    if re.search(r'["\\]', text) and "'" not in text:
        return f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def as_toml(value: str) -> str:
    """The value if it is TOML, else what was probably meant."""
    value = value.rstrip(",")
    if is_toml(value):
        return value
    sure = meant(value)
    return sure[0] if sure else quoted(value)


def is_toml(value: str) -> bool:
    try:
        return bool(tomllib.loads(f"value = {value}"))
    except (ValueError, RecursionError):
        return False
