"""Words are looked up, and their ids are the tokenizer's own."""

import random
from itertools import pairwise

import numpy as np
import pytest
from ftc.runtime.data import tokens, words
from ftc.runtime.rows import Conversation

from .tiny import talk

pytestmark = pytest.mark.usefixtures("work")


def test_words_give_the_tokenizers_own_ids_and_masks(tokenizer, monkeypatch):
    """Whatever stands in a text; and where words can't tell, the tokenizer is asked."""
    known = words.words(tokenizer)
    assert known is not None
    chance = random.Random(0)
    alphabet = [
        *"aZ19 .,'!_-\n\t\r",
        "  ",
        " x",
        "'ll",
        "é",
        "你",
        "🙂",
        "\x1c",
        "<|im_end|>",
        "\u0378",
    ]
    texts = ["".join(chance.choices(alphabet, k=chance.randint(0, 40))) for _ in range(2000)]
    theirs = tokenizer(texts, add_special_tokens=False)["input_ids"]
    ours = [known.encode(text) for text in texts]
    told = [
        np.frombuffer(found, np.int32).tolist() == ids
        for found, ids in zip(ours, theirs, strict=True)
        if found is not None
    ]
    assert all(told) and len(told) > 1000

    talks = [Conversation(talk(text, other)["messages"]) for text, other in pairwise(texts[:400])]
    monkeypatch.setattr(known, "simple", False)
    monkeypatch.setattr(
        known, "same", known.same - {"é"}
    )  # as if the tables were of other versions
    assert known.encode("é") is None
    quick = tokens.chat_samples(tokenizer, talks, [""] * len(talks), "assistant")
    monkeypatch.setattr(tokens, "words", lambda tokenizer: None)
    slow = tokens.chat_samples(tokenizer, talks, [""] * len(talks), "assistant")
    for one, other in zip(quick, slow, strict=True):
        assert one.ids.tolist() == other.ids.tolist() and one.loss.tolist() == other.loss.tolist()


LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def test_words_of_a_tokenizer_with_a_pattern_of_its_own(tiny_model):
    from tokenizers import Regex, pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    backend = tokenizer.backend_tokenizer
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    known = words.words(tokenizer)
    chance = random.Random(1)
    alphabet = [*"abSTLz129 .,'(!_-\n\t\r", "  ", "'LL", "é", "你", "Ω"]
    for _ in range(2000):
        text = "".join(chance.choices(alphabet, k=chance.randint(1, 30)))
        found = known.encode(text)
        ids = backend.encode(text, add_special_tokens=False).ids
        assert np.frombuffer(found, np.int32).tolist() == ids, repr(text)
    assert known.cuts, "at spaces, for speed"


@pytest.mark.parametrize("change", ["prefix space", "normalizer", "strip"])
def test_a_tokenizer_that_is_no_plain_byte_level_bpe_is_left_alone(tiny_model, change):
    from tokenizers import AddedToken, normalizers, pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    if change == "prefix space":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    elif change == "normalizer":
        tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    else:
        tokenizer.add_tokens([AddedToken("<new>", lstrip=True)])
    assert words.words(tokenizer) is None
