"""Byte-level BPE a piece at a time: each piece of text is merged once, and looked up from then on.

Most of the time of tokenization goes into splitting text into words and keeping track of offsets, over and
over for the same words. A byte-level tokenizer (GPT-2, Llama 3, Qwen, SmolLM) merges within words only, so
the ids of a text are those of its words, and the length of a token in bytes tells where it ends. Where the
pattern that splits words always splits before a space between two other characters, as all of them do, a
text is cut there, and what lies between is looked up as one. What is not sure to be the same as the
tokenizer's own answer is left to the tokenizer.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise, product
from typing import Any
from unicodedata import is_normalized

import numpy as np
import regex
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

FEW, REACH = 8, 4  # headers; characters that a contraction ("'ll") and a look ahead take
MOST, LONGEST = 300_000, 48  # pieces in memory at a time, each of at most so many characters
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# With each digit as a text of its own (SmolLM2): spaces before one end a text, too.
NO_DIGIT = r"(?!(?!\p{N})\S)"
DIGITS = GPT2.replace(r" ?\p{N}+", r"\p{N}").replace(r"(?!\S)", NO_DIGIT)
AT_SPACES = re.compile(r" (?<=\S )(?=\S)")
SAMPLES = ["".join(some) for some in product("aS1!'\n\t ", repeat=2)]
PROBE = "I'LL say it's  12345 times,\n\n  é ü (你好, 안녕) — don't!?\t\tEnd.\r\n x_y = 3.14;   "


class Words:
    """The words of one tokenizer: `pattern` splits a text into them, `added` tokens stand between."""

    def __init__(
        self, backend: Any, pattern: str, added: dict[str, int], vocabulary: dict[str, int]
    ):
        self.nfc = backend.normalizer is not None
        self.split = regex.compile(pattern).findall
        self.theirs = backend.pre_tokenizer.pre_tokenize_str
        contents = sorted(added, key=len, reverse=True)
        self.special = re.compile(f"({'|'.join(map(re.escape, contents)) or '(?!)'})")
        self.added = {content: _packed([id]) for content, id in added.items()}
        self.bpe, self.alphabet = backend.model, bytes_to_unicode()
        self.words, self.pieces = _Table(self._word), _Table(self._piece)
        self.spaced = _Table(self._behind_a_space)
        # Whether a word ends at a border: told by what stands before it and close behind.
        self.parted: dict[tuple[str, str], bool] = {}
        self.near = not re.search(r"\(\?[=!]", pattern.replace(r"(?!\S)", "").replace(NO_DIGIT, ""))
        self.tails: dict[
            str, str
        ] = {}  # an added token and what follows it up to a border -> the latter
        self.cuts = not re.search(r"\(\?<|\\[bBAG]", pattern) and all(
            self.split(f"{a} {b}") == [*self.split(a), *self.split(f" {b}")]
            for a, b in product(SAMPLES, SAMPLES)
            if not (a[-1].isspace() or b[0].isspace())
        )
        # Other classes than letters, numbers and spaces are told apart in ASCII alone.
        self.simple = not re.search(r"\\[pP]\{(?![LN]\})", pattern)
        self.same = {chr(n) for n in range(128) if self._is_same(chr(n))}
        self.ascii = len(self.same) == 128
        # Of a byte-level vocabulary, a character is a byte; Ġ is a space.
        spelt = {
            id: (len(t), len(t) - len(t.lstrip("Ġ")), len(t) - len(t.rstrip("Ġ")))
            for t, id in vocabulary.items()
        }
        spelt |= {id: (len(content.encode()), 0, 0) for content, id in added.items()}
        table = np.zeros((3, max(spelt) + 1), np.int64)
        table[:, list(spelt)] = np.array(list(spelt.values())).T
        self.num_bytes, self.leading, self.trailing = table
        self.longest = int(self.num_bytes.max())

    def encode(self, text: str, cuts: Sequence[int] = ()) -> bytes | None:
        """The ids, as the bytes of int32; None where only the tokenizer knows.

        `cuts`: places at which the text is taken apart, so that no token lies across one.
        """
        if cuts:
            borders = [0, *cuts, len(text)]
            found = [self.encode(text[a:b]) for a, b in pairwise(borders)]
            return None if None in found else b"".join(filter(None, found))
        if not (text.isascii() and self.ascii) and not self._known(text):
            return None
        if self.nfc and not is_normalized("NFC", text):
            return None
        parts = self.special.split(text)
        parts[1::2] = map(self.added.__getitem__, parts[1::2])
        parts[::2] = map(self._ids, parts[::2])
        return b"".join(parts)

    def joined(self, text: str, borders: Sequence[int]) -> list[int]:
        """Those of the borders at which the text before would have other ids if it were all."""
        return [border for border in borders if self._is_joined(text, border)]

    def _is_joined(self, text: str, border: int) -> bool:
        tail = next((t for full, t in self.tails.items() if text.endswith(full, 0, border)), None)
        if tail is None:
            tail = self._tail(text, border)
        near = text[border : border + REACH]
        parted = self.parted.get((tail, near))
        if parted is None:
            alone = self.split(tail)
            parted = self.near and not near[:1].isspace()
            parted = parted and self.split(tail + near)[: len(alone)] == alone
            if len(self.parted) >= MOST:
                self.parted.clear()
            self.parted[tail, near] = parted
        if parted:
            return False
        behind = self.special.split(text[border:], maxsplit=1)[0]
        whole, before = self.encode(tail + behind), self.encode(tail)
        return whole is None or before is None or not whole.startswith(before)

    def _tail(self, text: str, border: int) -> str:
        """What of the text before a border has a say in where it is split: behind an added token, or a space
        between other characters."""
        *_, added, tail = ["", "", *self.special.split(text[max(0, border - LONGEST) : border])]
        if added:
            if len(self.tails) < FEW:
                self.tails[added + tail] = tail
            return tail
        pieces = AT_SPACES.split(tail) if self.cuts else [tail]
        return pieces[-1] if len(pieces) > 1 else text[:border]

    def beginning(self, text: str, tokens: int) -> str:
        """As much of a text as has more than `tokens` tokens for sure; all of it if it may have fewer."""
        enough = tokens * self.longest + 1
        fits = len(text) <= enough or (self.nfc and not is_normalized("NFC", text[:enough]))
        return text if fits else text[:enough]

    def _ids(self, text: str) -> bytes:
        """The ids of a text that holds no added token."""
        if not self.cuts or " " not in text:
            return self.pieces[text]
        try:
            return self._cut(text.split(" "))
        except KeyError:  # there is other white space beside a space
            return self._cut(AT_SPACES.split(text))

    def _cut(self, pieces: list[str]) -> bytes:
        """The ids of pieces that a space stands between."""
        last = pieces.pop()
        if not pieces:
            return self.pieces[last]
        first = pieces.pop(0)
        if not first or first[-1].isspace() or not last or last[0].isspace():
            raise KeyError
        between = b"".join(map(self.spaced.__getitem__, pieces))
        return self.pieces[first] + between + self.pieces[f" {last}"]

    def _word(self, word: str) -> bytes:
        spelt = word.encode().decode("latin-1").translate(self.alphabet)
        return _packed([token.id for token in self.bpe.tokenize(spelt)])

    def _piece(self, piece: str) -> bytes:
        return b"".join(map(self.words.__getitem__, self.split(piece)))

    def _behind_a_space(self, piece: str) -> bytes:
        """The ids of a space and the piece. Raises KeyError if there is more white space at its ends."""
        if not piece or piece[0].isspace() or piece[-1].isspace():
            raise KeyError
        return self._piece(f" {piece}")

    def _known(self, text: str) -> bool:
        """Whether each of the text's characters is of the same class for the tokenizer and for `regex`.

        Their tables may be of different versions of Unicode.
        """
        fresh = set(text) - self.same
        if fresh and self.simple:
            self.same |= {char for char in fresh if self._is_same(char)}
        return fresh <= self.same

    def _is_same(self, char: str) -> bool:
        c = char
        probe = f"a{c}a1{c}1!{c}! {c} \n{c}\n{c}{c}{c}{c} I'{c} 'l{c}{c} {c}'S"
        ours = [len(word.encode()) for word in self.split(probe)]
        return ours == [len(word) for word, _ in self.theirs(probe)]

    def samples(
        self,
        texts: Sequence[str],
        stretches: Sequence[Sequence[tuple[int, int]]],
        cuts: Sequence[Sequence[int]] | None = None,
    ) -> list[tuple[np.ndarray, np.ndarray] | None]:
        """For each text its ids and which of them lie in its stretches of characters: (n,) bool.

        A token across a stretch's border lies outside; none lies across a place in `cuts`. None where only
        the tokenizer knows: it may leave spaces at a token's ends out of account.
        """
        apart = cuts or [[]] * len(texts)
        packed = [self.encode(text, at) or b"" for text, at in zip(texts, apart, strict=True)]
        ids = np.frombuffer(b"".join(packed), np.int32)
        if not len(ids):
            return [None] * len(texts)
        bounds = np.cumsum([0, *(len(each) // 4 for each in packed)])
        at = np.r_[0, self.num_bytes[ids].cumsum()]  # where each token begins, in bytes
        sizes = [len(text) if text.isascii() else len(text.encode()) for text in texts]
        good = (np.diff(at[bounds]) == sizes) & (np.diff(bounds) > 0)
        owner = np.repeat(np.arange(len(texts)), [len(each) for each in stretches])
        places = [
            place if text.isascii() else len(text[:place].encode())
            for text, each in zip(texts, stretches, strict=True)
            for stretch in each
            for place in stretch
        ]
        wanted = np.reshape(places, (-1, 2)).astype(np.int64) + at[bounds[owner]][:, None]
        first, last = np.searchsorted(at, wanted.T).clip(max=len(ids))
        start, stop = wanted.T
        spaces_before = start - at[first - 1] <= self.leading[ids[first - 1]]
        across = at[last] != stop
        spaces_behind = at[last] - stop <= self.trailing[ids[last - 1]]
        good[owner[(first > bounds[owner]) & spaces_before | across & spaces_behind]] = False
        fine = good[owner]
        change = np.zeros(len(ids) + 1, np.int8)
        np.add.at(change, first[fine], 1)
        np.add.at(change, np.maximum(last - across, first)[fine], -1)
        inside = change[:-1].cumsum(dtype=np.int8).astype(bool)
        pairs = zip(bounds[:-1].tolist(), bounds[1:].tolist(), good.tolist(), strict=True)
        return [(ids[a:b], inside[a:b]) if is_good else None for a, b, is_good in pairs]


class _Table(dict[str, bytes]):
    """A text -> its ids, as the bytes of int32; `make` makes them where they are missing."""

    def __init__(self, make: Callable[[str], bytes]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, text: str) -> bytes:
        ids = self.make(text)
        if len(self) >= MOST:
            self.clear()
        if len(text) <= LONGEST:
            self[text] = ids
        return ids


def _packed(ids: list[int]) -> bytes:
    return np.asarray(ids, np.int32).tobytes()


def words(tokenizer: PreTrainedTokenizerBase) -> Words | None:
    """The words of a tokenizer; None for one that is no plain byte-level BPE."""
    return _words(tokenizer, len(tokenizer), tokenizer.split_special_tokens)


@lru_cache(maxsize=4)
def _words(tokenizer: PreTrainedTokenizerBase, size: int, split_special: bool) -> Words | None:
    backend = tokenizer.backend_tokenizer
    parts = json.loads(backend.to_str())
    model, added, pattern = parts["model"], parts["added_tokens"], _pattern(parts["pre_tokenizer"])
    strange = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    flags = ("single_word", "lstrip", "rstrip")
    if (
        pattern is None
        or split_special
        or (parts["normalizer"] or {"type": "NFC"})["type"] != "NFC"
        or model["type"] != "BPE"
        or any(model.get(name) for name in strange)
        or any(token[flag] for token in added for flag in flags)
        or len({token["normalized"] for token in added}) > 1  # they are looked for in two rounds
    ):
        return None
    contents = {token["content"]: token["id"] for token in added}
    found = Words(backend, pattern, contents, model["vocab"])
    probe = PROBE + PROBE.join(list(contents)[:20])
    theirs = backend.encode(probe, add_special_tokens=False).ids
    return found if found.encode(probe) == _packed(theirs) else None


def _pattern(step: dict[str, Any] | None) -> str | None:
    """The pattern that splits a text into words, if that is all that the pre-tokenizer does."""
    step = step or {"type": ""}
    if step["type"] == "ByteLevel":
        return GPT2 if step["use_regex"] and not step["add_prefix_space"] else None
    steps = step.get("pretokenizers", [])
    types = [each["type"] for each in steps]
    if types == ["Digits", "ByteLevel"] and steps[0]["individual_digits"]:
        return DIGITS if _pattern(steps[1]) == GPT2 else None
    if types != ["Split", "ByteLevel"]:
        return None
    split, to_bytes = steps
    if split["behavior"] != "Isolated" or split["invert"]:
        return None
    if to_bytes["use_regex"] or to_bytes["add_prefix_space"]:
        return None
    found = split["pattern"].get("Regex")
    return found if found and regex.compile(found).groups == 0 else None
