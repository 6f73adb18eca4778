"""Tokenized as a server does it: the prompt alone, and what follows is joined to it as tokens.

By the tokenizer itself; for most of byte-level BPE, `words` does the same faster.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase

# A piece is tokenized behind one of these, which is taken off again: alone, it would begin as a text does.
LEADS = ("\n", "x", "0", "。", "!")


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], special: bool
) -> list[Encoding]:
    """Whole batches in Rust, on all cores, as `tokenizer(texts)` does it without padding or cutting."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    return backend.encode_batch(list(texts), add_special_tokens=special) if texts else []


def encoded(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], borders: Sequence[Sequence[int]]
) -> Iterator[tuple[np.ndarray, np.ndarray, list[int]]]:
    """For each text its ids (n,) int32, their offsets in characters (n, 2), and the borders that were cut:
    those at which the text before has other ids alone than as a part."""
    wholes = encode(tokenizer, texts, special=False)
    asked = [
        each if not _by_tokens(tokenizer) else [b for b in each if _lies_across(whole, b)]
        for whole, each in zip(wholes, borders, strict=True)
    ]
    prompts = [text[:b] for text, each in zip(texts, asked, strict=True) for b in each]
    alone = iter(encode(tokenizer, prompts, special=False))
    for text, whole, each in zip(texts, wholes, asked, strict=True):
        found = {border: next(alone) for border in each}
        cuts = [b for b, prompt in found.items() if prompt.ids != whole.ids[: len(prompt)]]
        pieces = _pieces(tokenizer, text, cuts, found) if cuts else None
        ids, offsets = pieces or (whole.ids, whole.offsets)
        yield np.asarray(ids, np.int32), np.reshape(offsets, (-1, 2)), cuts


def _lies_across(encoding: Encoding, border: int) -> bool:
    return any(first < border < last for first, last in encoding.offsets)


def _pieces(
    tokenizer: PreTrainedTokenizerBase, text: str, cuts: list[int], prompts: dict[int, Encoding]
) -> tuple[list[int], list[Any]] | None:
    """Ids and offsets of a text that is taken apart at the cuts; None if the tokenizer can't."""
    first = prompts[cuts[0]]
    ids, offsets = list(first.ids), list(first.offsets)
    for start, end in pairwise([*cuts, len(text)]):
        found = _behind(tokenizer, text[start:end])
        if found is None:
            return None
        ids += found[0]
        offsets += [(a + start, b + start) for a, b in found[1]]
    return ids, offsets


def _behind(
    tokenizer: PreTrainedTokenizerBase, piece: str
) -> tuple[list[int], list[tuple[int, int]]] | None:
    """Ids and offsets of a piece that stands behind other text."""
    for lead in LEADS:
        alone, both = encode(tokenizer, [lead, lead + piece], special=False)
        count, size = len(alone), len(lead)
        offsets = both.offsets[count:]
        if both.ids[:count] == alone.ids and (not offsets or offsets[0][0] >= size):
            return both.ids[count:], [(a - size, b - size) for a, b in offsets]
    return None


def _by_tokens(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a text before a border has the same ids alone wherever no token lies across it.

    So it is where BPE merges without looking ahead: pairs that would be merged across the border are
    never parted again, and the others are merged in the same order.
    """
    return _merges_alone(tokenizer, len(tokenizer))


@lru_cache(maxsize=4)
def _merges_alone(tokenizer: PreTrainedTokenizerBase, size: int) -> bool:
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    normalizer = parts["normalizer"] or {"type": "Prepend"}
    steps = normalizer.get("normalizers", [normalizer])
    flags = ("single_word", "lstrip", "rstrip")
    return (
        parts["model"]["type"] == "BPE"
        and (parts["pre_tokenizer"] or {"type": "Metaspace"})["type"] == "Metaspace"
        and all(step["type"] in ("Prepend", "Replace") for step in steps)
        and not any(token[flag] for token in parts["added_tokens"] for flag in flags)
    )
