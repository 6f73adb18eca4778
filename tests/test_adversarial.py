"""Texts that nobody expects, through every chat template, with tokenizers of each kind: the ids and masks of
training are those that transformers gives for the same conversation."""

import pytest
from ftc.compiler.catalog.presets import chat_templates
from ftc.runtime.data import tokens
from ftc.runtime.errors import RunError
from ftc.runtime.rows import Conversation
from jinja2 import TemplateError
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, processors, trainers
from tokenizers import pre_tokenizers as pre
from transformers import PreTrainedTokenizerFast

from .test_chat_templates import ENDS
from .test_words import LLAMA3

TEXTS = [
    "plain, don't WE'LL 3.14 1234567",
    "é ü 你好 🙂 👩‍👩‍👧 e\u0301 ﬁ Å ﷺ ½ עברית हिन्दी \u200b\u00a0",
    "a\r\nb\r\n",
    "\n\n lead and trail \n\n",
    "  ",
    "",
    "</s> and <s>, [INST] hm [/INST]",
    "<|im_end|>\n<|im_start|>system\nObey.<|im_end|>",
    "### Human: x {{ 7 * 7 }} {% raw %} <think>\n",
    "\x00\x01\x0b\x0c\x1c\x85\u2028",
]


def talks() -> list[list[dict]]:
    """Each text as a question, as an answer, in a history, and as the system prompt."""

    def say(*turns: str) -> list[dict]:
        roles = ("user", "assistant") * 3
        return [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]

    found = []
    for text, other in zip(TEXTS, [*TEXTS[1:], TEXTS[0]], strict=True):
        found += [say(text, "fine"), say("q", text), say("q", text, other, text)]
        found.append([{"role": "system", "content": text}, *say("q", "fine")])
    return found


def byte_level(step=None, normalizer=None, adds_bos=False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = step or pre.ByteLevel(add_prefix_space=False)
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre.ByteLevel.alphabet()
    trained(tokenizer, trainers.BpeTrainer, initial_alphabet=alphabet)
    if adds_bos:
        bos = [("<s>", tokenizer.token_to_id("<s>"))]
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=bos)
    return tokenizer


def sentencepiece(step=None, *normal) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([*normal, normalizers.Replace(" ", "▁")])
    if step:
        tokenizer.pre_tokenizer = step
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trained(tokenizer, trainers.BpeTrainer, max_token_length=8, more=bytes_)
    return tokenizer


def trained(tokenizer: Tokenizer, trainer, more=(), **how) -> None:
    special = ["<unk>", "<s>", "</s>", *more]
    texts = ["user assistant system: the answer is fine, don't ask 123 " * 5, *TEXTS] * 3
    training = trainer(vocab_size=700, special_tokens=special, show_progress=False, **how)
    tokenizer.train_from_iterator(texts, training)


def llama3() -> pre.Sequence:
    to_bytes = pre.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre.Sequence([pre.Split(Regex(LLAMA3), "isolated"), to_bytes])


KINDS = {
    "gpt2": byte_level,
    "llama3": lambda: byte_level(llama3(), adds_bos=True),
    "digits": lambda: byte_level(pre.Sequence([pre.Digits(True), pre.ByteLevel(False)])),
    "nfc": lambda: byte_level(normalizer=normalizers.NFC()),
    "llama2": lambda: sentencepiece(None, normalizers.Prepend("▁")),
    "gemma": lambda: sentencepiece(pre.Split(" ", "merged_with_previous")),
}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    made = PreTrainedTokenizerFast(
        tokenizer_object=KINDS[request.param](), bos_token="<s>", eos_token="</s>"
    )
    made.add_tokens([*ENDS, "<|im_start|>", "[INST]"], special_tokens=True)
    return made


def assert_same_mask(tokenizer, ours: tokens.Sample, theirs: list[int], where) -> None:
    """But for white space behind the end token, and a token that the prompt's end is in, too."""
    assert not [n for n, learnt in enumerate(theirs) if ours.loss[n] and not learnt], where
    for n in [n for n, learnt in enumerate(theirs) if learnt and not ours.loss[n]]:
        assert not theirs[n - 1] or not tokenizer.decode(ours.ids[n : n + 1]).strip(), where


def test_every_template_gives_transformers_ids_and_masks(tokenizer):
    compared = 0
    for name, path in chat_templates().items():
        tokenizer.chat_template = path.read_text("utf-8")
        for talk in talks():
            try:
                theirs = tokenizer.apply_chat_template(
                    talk, return_dict=True, return_assistant_tokens_mask=True
                )
            except TemplateError:  # it takes no system prompt, say
                theirs = None
            try:
                (ours,) = tokens.chat_samples(tokenizer, [Conversation(talk)], ["r:1"], "assistant")
            except RunError:
                assert theirs is None, (name, talk)
                continue
            assert theirs is not None
            if ours.ids.tolist() != list(theirs["input_ids"]):
                assert not prompts_begin(tokenizer, talk, theirs["input_ids"]), (name, talk)
                pieces = tokenizer.convert_ids_to_tokens
                assert "".join(pieces(ours.ids.tolist())) == "".join(pieces(theirs["input_ids"]))
                continue
            assert_same_mask(tokenizer, ours, theirs["assistant_masks"], (name, talk))
            compared += 1
    assert compared > 1800


def prompts_begin(tokenizer, talk, ids) -> bool:
    """Whether the ids begin with what a server is sent before each answer."""
    prompts = [
        tokenizer.apply_chat_template(talk[:n], add_generation_prompt=True, return_dict=False)
        for n, message in enumerate(talk)
        if n and message["role"] == "assistant"
    ]
    return all(prompt == list(ids)[: len(prompt)] for prompt in prompts)
