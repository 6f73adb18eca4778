"""The tokenizer that a GGUF file describes, as llama.cpp reads it.

A file names the pattern by which its tokenizer splits text (`tokenizer.ggml.pre`); llama.cpp knows the pattern
under that name (src/llama-vocab.cpp), and so does the table below. A name that is not in it is refused:
with another pattern the same text has other ids than the model was trained on.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from ..errors import RunError

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + REST
QWEN35 = (
    CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SEED_CODER = (
    CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")
FALCON = (r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]")
DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]")
DIGITS = (r"\p{N}", GPT2)

# Each pattern in turn splits what the ones before it left; what no pattern matches stands by itself.
PATTERNS: dict[tuple[str, ...], str] = {
    (
        LLAMA3,
    ): "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 dbrx smaug-bpe glm4 chatglm-bpe",
    (QWEN2,): "qwen2 deepseek-r1-qwen kormo megrez stablelm2 hunyuan solar-open grok-2",
    (QWEN35,): "qwen35",
    (SEED_CODER,): "seed-coder",
    (TEKKEN,): "tekken",
    (GPT4O,): "gpt-4o llama4 kanana2 talkie minimax-m2",
    (GPT2,): "gpt-2 phi-2 gigachat a.x-4.0 mellum exaone4 mpt olmo jais trillion granite-docling",
    DIGITS: "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
    DEEPSEEK3: "deepseek-v3 hunyuan-dense joyai-llm",
    DEEPSEEK_CODER: "deepseek-coder",
    FALCON: "falcon",
    DEFAULT: "default",
}
PRE_TOKENIZERS = {name: patterns for patterns, names in PATTERNS.items() for name in names.split()}
# A word that is a token is that token, whatever the merges make of it; text begins with BOS.
WHOLE_WORDS = {
    *["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "tekken"]
}
CONTROL, USER_DEFINED = 3, 4  # kinds of tokens
SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
PROBE = "I'LL  say it's 12345,\n\n1. Größe (你好) — don'T!?\t\tABCdef/\r\n   x_y = 3.14;  "


def read(fields: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """The tokenizer of a file with these metadata. Raises RunError where it is not known exactly."""
    kind = fields.get("tokenizer.ggml.model")
    tokens = fields.get("tokenizer.ggml.tokens") or []
    if len(set(tokens)) != len(tokens) or not tokens:
        wrong = "has no vocabulary" if not tokens else "holds a token twice in its vocabulary"
        raise RunError("no-model", f"it {wrong}")
    if kind == "gpt2":
        tokenizer, adds_bos = _byte_level(fields, tokens)
    elif kind == "llama":
        tokenizer, adds_bos = _sentencepiece(fields, tokens), True
    else:
        known = "ftc reads gpt2 (byte-level BPE) and llama (sentencepiece)"
        raise RunError("no-model", f"its tokenizer.ggml.model is {kind}; {known}")
    kinds = fields.get("tokenizer.ggml.token_type") or []
    tokenizer.add_tokens(
        [
            AddedToken(token, normalized=False, special=kind == CONTROL)
            for token, kind in zip(tokens, kinds, strict=False)
            if kind in (CONTROL, USER_DEFINED)
        ]
    )
    ids = {name: fields.get(f"tokenizer.ggml.{key}_token_id") for name, key in SPECIAL.items()}
    special = {f"{n}_token": tokens[i] for n, i in ids.items() if i is not None and i < len(tokens)}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        add_bos_token="bos_token" in special
        and fields.get("tokenizer.ggml.add_bos_token", adds_bos),
        add_eos_token="eos_token" in special and fields.get("tokenizer.ggml.add_eos_token", False),
        chat_template=fields.get("tokenizer.chat_template"),
        clean_up_tokenization_spaces=False,
        **special,
    )


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes it beside its model. Raises RunError if transformers opens another one there.

    For some model types transformers takes a class of its own, with a pattern of its own.
    """
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    said = json.loads(config.read_text("utf-8"))
    said = {f"{name}_token": None for name in SPECIAL} | said  # else such a class adds its own
    config.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", "utf-8")
    again = AutoTokenizer.from_pretrained(folder)
    ours, theirs = (
        [len(each), each(PROBE).input_ids, *(getattr(each, f"{n}_token_id") for n in SPECIAL)]
        for each in (tokenizer, again)
    )
    if ours != theirs:
        raise RunError(
            "no-model",
            f"transformers splits text for {AutoConfig.from_pretrained(folder).model_type} in another way "
            "than its tokenizer does",
        )


def _byte_level(fields: Mapping[str, Any], tokens: list[str]) -> tuple[Tokenizer, bool]:
    pre = fields.get("tokenizer.ggml.pre")
    if pre not in PRE_TOKENIZERS:
        says = f"names the pre-tokenizer {pre}" if pre else "names no pre-tokenizer"
        raise RunError("no-model", f"its tokenizer.ggml.pre {says}, which ftc does not know")
    merges = [_pair(merge) for merge in fields.get("tokenizer.ggml.merges") or []]
    vocab = {token: id for id, token in enumerate(tokens)}
    whole = pre in WHOLE_WORDS
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges, ignore_merges=whole))
    tokenizer.pre_tokenizer = _pre_tokenizer(PRE_TOKENIZERS[pre])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, whole


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge[1:].partition(" ")  # a part may begin with a space
    return merge[0] + left, right


def _pre_tokenizer(patterns: tuple[str, ...]) -> Any:
    """In the form in which the models' own tokenizers have it, where there is one."""
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if patterns == (GPT2,):
        return gpt2
    if patterns == DIGITS:
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([*splits, to_bytes])


def _sentencepiece(fields: Mapping[str, Any], tokens: list[str]) -> Tokenizer:
    """BPE whose merges are those that make a token of two others, the best score first."""
    scores = fields.get("tokenizer.ggml.scores") or []
    if len(scores) != len(tokens):
        raise RunError("no-model", "its vocabulary has no scores (tokenizer.ggml.scores)")
    vocab = {token: id for id, token in enumerate(tokens)}
    merges = [
        (token[:at], token[at:])
        for id, token in sorted(enumerate(tokens), key=lambda each: (-scores[each[0]], each[0]))
        for at in sorted(
            (at for at in range(1, len(token)) if token[:at] in vocab and token[at:] in vocab),
            key=lambda at: (vocab[token[:at]], vocab[token[at:]]),
        )
    ]
    unknown = fields.get("tokenizer.ggml.unknown_token_id", 0)
    tokenizer = Tokenizer(
        BPE(
            vocab=vocab, merges=merges, unk_token=tokens[unknown], fuse_unk=True, byte_fallback=True
        )
    )
    spaces = normalizers.Replace(" ", "▁")
    begins = fields.get("tokenizer.ggml.add_space_prefix", True)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), spaces] if begins else [spaces]
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, *[decoders.Strip(" ", 1, 0)] * begins])
    return tokenizer
