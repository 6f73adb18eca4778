"""GGUF files become the model and the tokenizer that they hold, or are refused by the name of what would be lost."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ftc.runtime.errors import RunError
from ftc.runtime.model import download, gguf_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from . import gguf_files

VOCABULARY = gguf_files.byte_level()
SIZES = {
    "vocab_size": len(VOCABULARY[0]),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "pad_token_id": None,
}
HEADS = {"attention.key_length": 16, "attention.value_length": 16}
IDS = torch.arange(3, 203).reshape(2, 100)


def make(model_type: str, **more: Any) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **{**SIZES, **more})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        if (
            parameter.dim() == 1
        ):  # biases and norms are 0 or 1 as they begin, which would hide what is lost
            torch.nn.init.uniform_(
                parameter, 0.5, 1.5
            ) if "norm" in name else torch.nn.init.normal_(parameter)
        elif "embed" not in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def converted(path: Path, model: Any, architecture: str, keys: Any = None, **more: Any) -> Path:
    gguf_files.write(path / "a.gguf", model, architecture, keys, vocabulary=VOCABULARY, **more)
    download.unpack(path / "a.gguf", path / "made")
    return path / "made"


def assert_same(model: Any, folder: Path) -> None:
    made = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        theirs, ours = model(IDS).logits, made(IDS).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def rope(kind: str, theta: float = 10000.0, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}
YARN["rope.scaling.original_context_length"] = 64
MIXTURE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
EXPERTS = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 32}
SHARED = {"shared_expert_intermediate_size": 48}
CASES = {
    "llama": ("llama", "llama", {}, {"rope.dimension_count": 16}),
    "tied": ("llama", "llama", {"tie_word_embeddings": True}, {}),
    "biases": ("llama", "llama", {"attention_bias": True, "mlp_bias": True}, {}),
    "base": ("llama", "llama", rope("default", 5e5), {"rope.freq_base": 5e5}),
    "linear": (
        "llama",
        "llama",
        rope("linear", factor=4.0),
        {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
    ),
    "yarn": (
        "llama",
        "llama",
        rope("yarn", factor=4.0, original_max_position_embeddings=64),
        YARN,
    ),
    "qwen2 with yarn": (
        "qwen2",
        "qwen2",
        rope("yarn", factor=4.0, original_max_position_embeddings=64),
        YARN,
    ),
    "window": ("mistral", "llama", {"sliding_window": 24}, {"attention.sliding_window": 24}),
    "qwen2": ("qwen2", "qwen2", {}, {}),
    "qwen3": ("qwen3", "qwen3", {"head_dim": 32}, {"attention.key_length": 32}),
    "qwen3 with biases": ("qwen3", "qwen3", {"attention_bias": True}, HEADS),
    "qwen2moe": (
        "qwen2_moe",
        "qwen2moe",
        {**MIXTURE, **SHARED},
        {**EXPERTS, "expert_shared_feed_forward_length": 48},
    ),
    "qwen3moe": ("qwen3_moe", "qwen3moe", {**MIXTURE, "norm_topk_prob": True}, EXPERTS),
    "phi3": ("phi3", "phi3", {"sliding_window": 24}, {"attention.sliding_window": 24}),
    "gemma2": (
        "gemma2",
        "gemma2",
        {"sliding_window": 24, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 20.0},
        {**HEADS, "attention.sliding_window": 24, "attn_logit_softcapping": 20.0},
    ),
    "gemma3": (
        "gemma3_text",
        "gemma3",
        {"sliding_window": 24, "query_pre_attn_scalar": 16, "num_hidden_layers": 7}
        | {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            }
        },
        {**HEADS, "attention.sliding_window": 24, "rope.freq_base": 1e6}
        | {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_model_computes_what_the_file_holds(tmp_path, case):
    model_type, architecture, config, keys = CASES[case]
    model = make(model_type, **config)
    pre = (
        "qwen2" if model_type.startswith("qwen2") else "smollm"
    )  # transformers lets qwen2 have no other
    assert_same(model, converted(tmp_path, model, architecture, keys, pre=pre))


@pytest.mark.parametrize(
    "length, high, theta, head",
    [(8192, 4.0, 5e5, 64), (64, 4.0, 5e5, 16), (100, 3.0, 1e4, 32), (40, 1.5, 5e5, 16)],
)
def test_scaling_as_llama_3_has_it_is_read_from_its_divisors(tmp_path, length, high, theta, head):
    scaling = {**LLAMA3, "high_freq_factor": high, "original_max_position_embeddings": length}
    more = {"head_dim": head, "max_position_embeddings": 16384}
    model = make("llama", **rope("llama3", theta, **scaling), **more)
    plain = theta ** -(torch.arange(0, head, 2) / head)
    divisors = plain / model.model.rotary_emb.inv_freq
    keys = {"attention.key_length": head, "rope.freq_base": theta}
    folder = converted(tmp_path, model, "llama", keys, tensors={"rope_freqs.weight": divisors})
    assert_same(model, folder)
    made = AutoModelForCausalLM.from_pretrained(folder)
    torch.testing.assert_close(made.model.rotary_emb.inv_freq, model.model.rotary_emb.inv_freq)


def test_long_rope_of_phi_3(tmp_path):
    short, long = [1.0, 1.1, 1.2, 1.3], [2.0, 3.0, 4.0, 5.0]
    scaling = rope("longrope", short_factor=short, long_factor=long)
    more = {"original_max_position_embeddings": 64, "partial_rotary_factor": 0.5}
    model = make("phi3", **scaling, **more)
    scale = math.sqrt(1 + math.log(256 / 64) / math.log(64))
    keys = {"rope.scaling.attn_factor": scale, "rope.scaling.original_context_length": 64}
    tensors = {
        f"rope_factors_{n}.weight": torch.tensor(v) for n, v in (("short", short), ("long", long))
    }
    folder = converted(tmp_path, model, "phi3", keys | {"rope.dimension_count": 8}, tensors=tensors)
    assert_same(model, folder)
    with torch.no_grad():  # short texts, too
        made = AutoModelForCausalLM.from_pretrained(folder).eval()
        torch.testing.assert_close(
            made(IDS[:, :40]).logits, model(IDS[:, :40]).logits, rtol=1e-4, atol=1e-4
        )


def test_a_bias_that_some_layers_have_is_nought_in_the_others(tmp_path):
    model = make("llama", attention_bias=True)
    torch.nn.init.zeros_(model.model.layers[1].self_attn.o_proj.bias)
    gguf_files.write(tmp_path / "b.gguf", model, "llama", vocabulary=VOCABULARY)
    whole = gguf_files._tensors(model, "llama")
    whole.pop("blk.1.attn_output.bias")
    gguf_files._tensors, kept = lambda *_: whole, gguf_files._tensors
    try:
        assert_same(model, converted(tmp_path, model, "llama"))
    finally:
        gguf_files._tensors = kept


REFUSED = {
    "experts": ({"expert_count": 8, "expert_used_count": 2}, {}, "llama.expert_count = 8"),
    "scale": ({"attention.scale": 0.5}, {}, "llama.attention.scale = 0.5"),
    "window of qwen": (
        {"attention.sliding_window": 32},
        {"architecture": "qwen2"},
        "sliding_window = 32",
    ),
    "rope": ({"rope.scaling.type": "su", "rope.scaling.factor": 2.0}, {}, "rope.scaling.type = su"),
    "part": ({"rope.dimension_count": 8}, {}, "rope.dimension_count = 8 of 16"),
    "value": ({"attention.value_length": 32}, {}, "attention.value_length = 32"),
    "tensor": (
        {},
        {"tensors": {"blk.0.attn_sinks.weight": torch.ones(4)}},
        "blk.0.attn_sinks.weight",
    ),
    "divisors": (
        {},
        {"tensors": {"rope_freqs.weight": torch.tensor([1.0, 9, 2, 7, 1, 3, 5, 8])}},
        "rope_freqs",
    ),
    "vision": ({}, {"tensors": {"v.patch_embd.weight": torch.ones(4, 4)}}, "v.patch_embd.weight"),
    "unknown": ({}, {"architecture": "bloom"}, "architecture bloom"),
    "pre": ({}, {"pre": "my-model"}, "the pre-tokenizer my-model"),
    "no pre": ({}, {"pre": None}, "no pre-tokenizer"),
    "splits": ({}, {"architecture": "qwen2"}, "splits text for qwen2 in another way"),
    "sizes": (
        {"attention.key_length": 8, "attention.value_length": 8},
        {},
        "size mismatch for model.layers",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_place_is_refused_by_name(tmp_path, case):
    keys, more, said = REFUSED[case]
    architecture = (
        more.pop("architecture", "llama") if "architecture" in (more := dict(more)) else "llama"
    )
    model = make({"qwen2": "qwen2"}.get(architecture, "llama"))
    with pytest.raises(RunError) as error:
        converted(tmp_path, model, architecture, keys, **more)
    assert said in str(error.value) and "a.gguf: error[no-model]" in str(error.value), error.value
    assert "hint: " in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]


def test_a_layer_without_its_weights_is_refused(tmp_path, monkeypatch):
    model = make("llama")
    whole = gguf_files._tensors(model, "llama")
    whole.pop("blk.2.ffn_up.weight")
    monkeypatch.setattr(gguf_files, "_tensors", lambda *_: whole)
    with pytest.raises(RunError, match=r"no weights for model\.layers\.2\.mlp\.up_proj"):
        converted(tmp_path, model, "llama")


# As src/llama-vocab.cpp spells them.
CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
LLAMA_CPP = {
    "smollm": [r"\p{N}", GPT2],
    "starcoder": [r"\p{N}", GPT2],
    "gpt-2": [GPT2],
    "llama-bpe": [CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL],
    "dbrx": [CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL],
    "qwen2": [CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "tekken": [
        r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+"
        r"((?=[\p{L}])([^A-Z]))*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
    "deepseek-v3": [
        r"\p{N}{1,3}",
        "[一-龥぀-ゟ゠-ヿ]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ],
}


@pytest.mark.parametrize("pre", LLAMA_CPP)
def test_ids_are_those_of_llama_cpp(pre):
    tokens, merges = VOCABULARY
    fields = {"model": "gpt2", "pre": pre, "tokens": tokens, "merges": merges}
    tokenizer = gguf_tokenizer.read(
        {f"tokenizer.ggml.{key}": value for key, value in fields.items()}
    )
    for text in (gguf_files.TEXT, gguf_files.TEXT[::-1], "", " ", "12345 678", "a\n\n1. b\n\n2. c"):
        theirs = gguf_files.bpe_ids(tokens, merges, LLAMA_CPP[pre], text)
        assert tokenizer(text, add_special_tokens=False).input_ids == theirs, text
        assert tokenizer.decode(theirs, clean_up_tokenization_spaces=False) == text
    assert tokenizer.convert_tokens_to_ids("<think>") == 2


@pytest.mark.parametrize("prefix", [True, False])
def test_ids_of_a_sentencepiece_vocabulary(tmp_path, prefix):
    tokens, scores, kinds = gguf_files.sentencepiece()
    fields = {"model": "llama", "pre": "default", "tokens": tokens, "scores": scores}
    fields |= {"token_type": kinds, "bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    if not prefix:
        fields["add_space_prefix"] = False
    made = gguf_tokenizer.read({f"tokenizer.ggml.{key}": value for key, value in fields.items()})
    made.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("hello world", " hello", "  the  world. 123,\n0 é你", "lolo", "the123", "1 2 3"):
        theirs = gguf_files.spm_ids(tokens, scores, text, prefix)
        assert tokenizer(text, add_special_tokens=False).input_ids == theirs, text
        assert tokenizer(text).input_ids == [1, *theirs], text
        assert tokenizer.decode(theirs) == text


@pytest.mark.parametrize("case", ["llama", "window", "gemma2", "phi3"])
def test_a_sentencepiece_vocabulary_with_its_model(tmp_path, case):
    model_type, architecture, config, keys = CASES[case]
    tokens, scores, kinds = gguf_files.sentencepiece()
    model = make(model_type, **config, vocab_size=len(tokens))
    more = {"sentencepiece": (tokens, scores, kinds)}
    folder = converted(tmp_path, model, architecture, keys, **more)
    assert_same(model, folder)
    theirs = gguf_files.spm_ids(tokens, scores, "hello  world 123", prefix=True)
    assert AutoTokenizer.from_pretrained(folder)("hello  world 123").input_ids == [1, *theirs]


def test_words_that_are_tokens_are_not_split_further(tmp_path):
    """Llama 3 looks a word up before it merges."""
    tokens, merges = VOCABULARY
    tokens = [*tokens, "zqzq"]
    fields = {
        "model": "gpt2",
        "tokens": tokens,
        "merges": merges,
        "bos_token_id": 1,
        "token_type": [3, 3, 4],
    }
    for pre, whole in (("llama-bpe", True), ("qwen2", False)):
        given = {f"tokenizer.ggml.{key}": value for key, value in {**fields, "pre": pre}.items()}
        ids = gguf_tokenizer.read(given)("zqzq").input_ids
        assert (ids == [1, len(tokens) - 1]) is whole, ids  # and its texts begin with BOS


def test_the_quick_path_gives_the_same_ids():
    from ftc.runtime.data.words import words

    tokens, merges = VOCABULARY
    fields = {"model": "gpt2", "pre": "smollm", "tokens": tokens, "merges": merges}
    tokenizer = gguf_tokenizer.read(
        {f"tokenizer.ggml.{key}": value for key, value in fields.items()}
    )
    found = words(tokenizer)
    theirs = tokenizer("It's 2024:\n\n1. x 1234", add_special_tokens=False).input_ids
    assert found is not None
    assert list(memoryview(found.encode("It's 2024:\n\n1. x 1234")).cast("i")) == theirs


@pytest.mark.parametrize(
    "content",
    [b"", b"GGUF", b"not one at all, whatever its name", b"GGUF\x03\0\0\0" + b"\xff" * 40],
)
def test_a_file_that_is_not_gguf(tmp_path, content):
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(RunError, match=r"a\.gguf: error\[no-model\]"):
        download.unpack(tmp_path / "a.gguf", tmp_path / "made")
