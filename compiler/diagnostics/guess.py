"""What was probably meant by a word: the nearest that there is."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import name as unicode_name

if TYPE_CHECKING:
    from collections.abc import Iterable


def odd_letter(text: str) -> str:
    """What is hard to see in a text: its first letter from beyond ASCII, by name; "" if it has none."""
    odd = next((c for c in text if c.isalpha() and not c.isascii()), "")
    return f"`{odd}` is U+{ord(odd):04X}, {unicode_name(odd, 'a letter')}" if odd else ""


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` is most likely a misspelling of, or None if none is close."""
    from difflib import get_close_matches  # 4 ms that only errors need

    matches = get_close_matches(word, list(candidates), n=1, cutoff=0.7)
    return matches[0] if matches else None


def guess(word: str, candidates: Iterable[str]) -> list[str]:
    """A hint with the nearest candidate, if one is near."""
    near = nearest(word.lower(), candidates)
    return [f'did you mean "{near}"?'] if near else []
