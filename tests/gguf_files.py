"""Small GGUF files, written with the `gguf` package, and their ids by the rules of llama.cpp."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import regex
import torch
from gguf import MODEL_ARCH_NAMES, GGUFWriter, get_tensor_name_map
from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers.convert_slow_tokenizer import bytes_to_unicode

TEXT = (
    "It's 2024: I'LL pay 1234567 euros, won't I?\n\n1. First (x_y = 3.14);\n\n\n  2. Zweitens: Größe — 你好 한국어\t"
    "\r\n    if a != b:  return   42  \n don'T \u0661\u0662\u0663 HelloWorld ABCdef/ghi//\n"
)
BYTES = bytes_to_unicode()


def byte_level() -> tuple[list[str], list[str]]:
    """Tokens and merges. Merges cross words, digits and line breaks, so that how text is split shows."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    special = ["<|end|>", "<|begin|>", "<think>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    pieces = [TEXT[a:b] for a in range(0, len(TEXT), 3) for b in (a + 2, a + 3, a + 5)]
    tokenizer.train_from_iterator([*pieces, TEXT] * 3, trainer)
    vocab = tokenizer.get_vocab()
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return sorted(vocab, key=vocab.__getitem__), [" ".join(pair) for pair in merges]


def bpe_ids(tokens: list[str], merges: list[str], patterns: Sequence[str], text: str) -> list[int]:
    """llm_tokenizer_bpe: each pattern splits what the ones before left; merges by rank, leftmost first."""
    ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
    vocab = {token: id for id, token in enumerate(tokens)}
    pieces = [text]
    for pattern in patterns:
        cut = regex.compile(f"({pattern})")
        pieces = [part for piece in pieces for part in _isolated(cut, piece)]
    ids = []
    for piece in pieces:
        word = [BYTES[byte] for byte in piece.encode()]
        while pairs := [(ranks[p], i) for i, p in enumerate(pairwise(word)) if p in ranks]:
            at = min(pairs)[1]
            word[at : at + 2] = [word[at] + word[at + 1]]
        ids += [vocab[symbol] for symbol in word]
    return ids


def _isolated(pattern: regex.Pattern, text: str) -> list[str]:
    ends = [place for match in pattern.finditer(text) for place in match.span()]
    places = [0, *ends, len(text)]
    return [text[a:b] for a, b in pairwise(places) if a < b]


def sentencepiece() -> tuple[list[str], list[float], list[int]]:
    """Tokens, scores and kinds of a vocabulary like Llama 2's."""
    words = [
        "▁",
        "the",
        "▁the",
        "▁t",
        "he",
        "th",
        "▁▁",
        "▁▁▁▁",
        "lo",
        "hel",
        "hello",
        "▁hello",
        "l",
        "el",
    ]
    words += [
        *"thelowrd.,0123456789\n",
        "wor",
        "ld",
        "world",
        "or",
        "▁world",
        "▁w",
        "12",
        "23",
        "123",
        "▁1",
    ]
    made = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = list(dict.fromkeys(words))
    scores = [0.0] * len(made) + [-float(rank) for rank in range(len(pieces))]
    kinds = [2, 3, 3] + [6] * 256 + [1] * len(pieces)
    return made + pieces, scores, kinds


def spm_ids(tokens: list[str], scores: list[float], text: str, prefix: bool) -> list[int]:
    """llm_tokenizer_spm: the neighbours that make the token of the best score, leftmost first."""
    vocab = {token: id for id, token in enumerate(tokens)}
    symbols = list((" " * prefix + text).replace(" ", "▁"))
    while pairs := [
        (-scores[vocab[a + b]], i) for i, (a, b) in enumerate(pairwise(symbols)) if a + b in vocab
    ]:
        at = min(pairs)[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    return [
        id
        for symbol in symbols
        for id in (
            [vocab[symbol]]
            if symbol in vocab
            else [vocab[f"<0x{byte:02X}>"] for byte in symbol.encode()]
        )
    ]


def write(
    path: Path, model: Any, architecture: str, keys: dict[str, Any] | None = None, **more: Any
) -> None:
    """The model as a GGUF file, as llama.cpp's converter writes it; `keys` stand behind the architecture's name.

    `tensors` are further ones; `pre` and `vocabulary` (tokens, merges), or `sentencepiece`
    (tokens, scores, kinds), are the tokenizer's.
    """
    writer, config = GGUFWriter(path, architecture), model.config
    sizes = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
    }
    for key, value in {**sizes, **(keys or {})}.items():
        _add(writer, f"{architecture}.{key}", value)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if "sentencepiece" in more:
        tokens, scores, kinds = more["sentencepiece"]
        writer.add_tokenizer_model("llama")
        writer.add_token_scores(scores)
    else:
        tokens, merges = more.get("vocabulary") or byte_level()
        kinds = [3, 3, 4] + [1] * (len(tokens) - 3)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_merges(merges)
        if pre := more.get("pre", "gpt-2"):
            writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_eos_token_id(0 if "sentencepiece" not in more else 2)
    writer.add_bos_token_id(1)
    tensors = {**_tensors(model, architecture), **more.get("tensors", {})}
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor.detach().float().numpy())
    save(writer)


def save(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    add |= {str: writer.add_string, list: writer.add_array}
    add[type(value)](key, value)


def _tensors(model: Any, architecture: str) -> dict[str, torch.Tensor]:
    number = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture)
    names = get_tensor_name_map(number, model.config.num_hidden_layers)
    found = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        stem, _, suffix = name.rpartition(".")
        if suffix == "gate_up_proj" and "experts" in name:
            layer = name.split(".")[2]
            for part, half in zip(("gate", "up"), tensor.chunk(2, dim=1), strict=True):
                found[f"blk.{layer}.ffn_{part}_exps.weight"] = half
            continue
        if suffix == "down_proj":
            stem, suffix = name, "weight"
        if architecture == "llama" and stem.endswith(("q_proj", "k_proj")):
            heads = model.config.num_attention_heads
            heads = heads if stem.endswith("q_proj") else model.config.num_key_value_heads
            rest = tensor.shape[1:]
            tensor = tensor.reshape(heads, 2, -1, *rest).swapaxes(1, 2).reshape(tensor.shape)
        if architecture.startswith("gemma") and stem.endswith("norm"):
            tensor = tensor + 1
        if stem.endswith("shared_expert_gate"):
            tensor = tensor.flatten()
        found[f"{names.get_name(stem)}.{suffix}"] = tensor
    return found
