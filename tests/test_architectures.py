"""Packed rows of ftc against plain transformers, on a tiny random model of each architecture.

The same samples, laid end to end in one row, and each by itself: the loss over the supervised tokens and the
gradient of every weight must be the same. What transformers can't do must be known to the compiler.
"""

import re

import numpy as np
import pytest
import torch
import transformers
from ftc.compiler.catalog.architectures import MODEL_TYPES, traits
from ftc.runtime import data
from ftc.runtime.data import tokens
from ftc.runtime.errors import RunError
from ftc.runtime.model import adapters, attention
from ftc.runtime.model.names import matches
from ftc.runtime.train import evaluate
from peft import LoraConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from . import tiny
from .architectures import make
from .conftest import ROOT

LENGTHS = (40, 1, 37, 30)
SEGMENTS = attention.SEGMENT_SDPA


ALONE = [kind for kind, row in MODEL_TYPES.items() if row.alone]
INSTEAD = [kind for kind, row in MODEL_TYPES.items() if row.attention != SEGMENTS]
UNADAPTED = {kind for kind, row in MODEL_TYPES.items() if row.unadapted}
UNLEARNT = {kind for kind, row in MODEL_TYPES.items() if row.unlearnt}
IMAGES = {"gemma3n", "llama4"}  # with a text model of the same layers


def words(text):
    return text.split()


# Those that people tune; the others, below, are slow tests.
OFTEN = words("""cohere cohere2 deepseek_v2 deepseek_v3 ernie4_5 exaone4 gemma gemma2 gemma3_text glm glm4
gpt2 gpt_neox granite granitemoe hunyuan_v1_dense internlm3 llama llama4_text ministral3 mistral mixtral
olmo2 olmo3 olmoe phi phi3 phimoe qwen2 qwen2_moe qwen3 qwen3_moe seed_oss smollm3 stablelm starcoder2
""")
SELDOM = words("""afmoe apertus arcee aria_text axk1 biogpt bitnet codegen cohere2_moe cwm diffllama doge dots1
ernie4_5_moe exaone_moe flex_olmo flint gemma3n_text gemma4_text glm4_moe glm4_moe_lite gpt_bigcode gpt_neo
gptj granite_swa granitemoe_swa granitemoeshared helium hrm_text hunyuan_v1_moe hy_v3 hyperclovax iquestcoder
jais2 jetmoe kolibri1 laguna longcat_flash mellum mimo_v2_flash minicpm3 minimax_m2 ministral
modernbert-decoder nanochat nemotron olmo opt persimmon solar_open vaultgemma youtu""")
# Configs in which the same architecture computes otherwise.
YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_theta": 1e4,
}
LLAMA3 = {**YARN, "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
ODD = {
    "tied": ("llama", {"tie_word_embeddings": True}),
    "one key head": ("llama", {"num_key_value_heads": 1}),
    "wide heads": ("llama", {"head_dim": 16}),
    "biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
    "yarn": ("qwen2", {"rope_parameters": YARN}),
    "llama3": ("llama", {"rope_parameters": LLAMA3}),
    "longrope": ("phi3", {"rope_parameters": {**YARN, **LONG}}),
    "some layers slide": ("qwen2", {"use_sliding_window": True, "max_window_layers": 1, "sliding_window": 5}),
    "part of a head rotates": ("phi3", {"partial_rotary_factor": 0.5}),
    "no positions in some layers": ("smollm3", {"no_rope_layers": [1, 0]}),
    "router losses": ("mixtral", {"output_router_logits": True}),
}  # fmt: skip


# Their scores are not scaled by the size of a head: on some processors float32 itself errs by 1e-5 in a gradient.
STEEP = {"gemma4_text"}


def samples():
    chance = np.random.default_rng(0)
    return [
        tokens.Sample(chance.integers(3, 64, n).astype(np.int32), chance.random(n) < 0.5, "")
        for n in LENGTHS
    ]


def plain(model, rows):
    """The mean loss of supervised tokens, each sample by itself; its gradients are left in the model."""
    model.zero_grad()
    number = sum(int(row.loss[1:].sum()) for row in rows)
    total = 0.0
    for row in rows:
        ids = torch.from_numpy(row.ids.astype(np.int64))[None]
        labels = torch.where(torch.from_numpy(row.loss), ids[0], -100)
        logits = model(input_ids=ids, use_cache=False).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[:-1], labels[1:], reduction="sum") / number
        loss.backward()
        total += loss.item()
    return total, gradients(model)


def logits(model, batch):
    return model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        logits_to_keep=batch.predict_at,
        use_cache=False,
        **({"lengths": batch.lengths} if model.config._attn_implementation == SEGMENTS else {}),
    ).logits[0]


def packed(model, rows):
    model.zero_grad()
    batch = data.batch(rows)
    loss = torch.nn.functional.cross_entropy(logits(model, batch), batch.targets)
    loss.backward()
    return loss.item(), gradients(model)


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(found, expected):
    assert found[0] == pytest.approx(expected[0], abs=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in found[1].items():
        torch.testing.assert_close(gradient, expected[1][name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    "kind", [*OFTEN, *(pytest.param(kind, marks=pytest.mark.slow) for kind in SELDOM)]
)
def test_loss_and_gradients_are_those_of_plain_transformers(kind):
    """With the attention that ftc takes on a CPU for it."""
    alone, model = make(kind), make(kind, traits(kind).attention)
    if kind in STEEP:
        alone, model = alone.double(), model.double()
    assert_same(packed(model, samples()), plain(alone, samples()))
    evaluate.prove_isolation(model, logits, tiny.in_memory(samples()), "cpu")


@pytest.mark.parametrize("name", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma3_text", "qwen3_moe"])
def test_any_attention_gives_them(kind, name):
    assert_same(packed(make(kind, name), samples()), plain(make(kind), samples()))


@pytest.mark.parametrize("case", ODD)
def test_odd_configs_give_them_too(case):
    kind, settings = ODD[case]
    expected = plain(make(kind, **settings), samples())
    assert_same(packed(make(kind, SEGMENTS, **settings), samples()), expected)


def works(kind, name):
    """Whether samples that share a row are isolated and each is what it is alone."""
    try:
        model = make(kind, name)
        found, expected = packed(model, samples()), plain(make(kind), samples())
    except (ValueError, TypeError):  # so say transformers and segment_sdpa; TypeError: no mask
        return False
    return found[0] == pytest.approx(expected[0], abs=1e-6) and all(
        torch.allclose(gradient, expected[1][name], rtol=1e-3, atol=1e-5)
        for name, gradient in found[1].items()
    )


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in OFTEN else [pytest.mark.slow])
        for kind in INSTEAD
        if kind not in ALONE and kind != "llama4"  # llama4_text, with images
    ],
)
def test_an_architecture_without_segments_needs_the_other_attention(kind):
    assert not works(kind, SEGMENTS)
    assert works(kind, traits(kind).attention)
    assert traits(kind).attention == "sdpa" or not works(kind, "sdpa")


def test_positions_that_depend_on_the_longest_sample_of_a_row():
    """Beyond the original context: a short sample would rotate as the long one beside it."""
    known = {"rope_parameters": {**YARN, **LONG}, "original_max_position_embeddings": 38}
    model = make("phi3", SEGMENTS, **known)
    mixed, short = samples(), [sample for sample in samples() if len(sample.ids) < 39]
    loss, alone = packed(model, mixed)[0], plain(model, mixed)[0]
    assert abs(loss - alone) > 1e-4
    with pytest.raises(RunError, match=r"1 of 4 samples are longer than 38 tokens, .*longrope"):
        evaluate.prove_isolation(model, logits, tiny.in_memory(mixed), "cpu")
    assert_same(packed(model, short), plain(model, short))
    evaluate.prove_isolation(model, logits, tiny.in_memory(short), "cpu")


# Too much to make small by names alone.
LARGE = {
    "axk2",
    "bailing_hybrid",
    "kimi_linear",
    "qwen3_5",
    "qwen3_5_moe",
    "xlstm",
    "zamba",
    "zamba2",
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in ("mamba2", "qwen3_next") else [pytest.mark.slow])
        for kind in ALONE
        if kind not in LARGE
    ],
)
def test_an_architecture_that_mixes_samples_is_found_out(kind):
    model = make(kind, traits(kind).attention)
    packed_loss, alone = packed(model, samples()), plain(model, samples())
    assert any(
        not torch.allclose(gradient, alone[1][name], rtol=1e-3, atol=1e-5)
        for name, gradient in packed_loss[1].items()
    )
    with pytest.raises(RunError, match="samples-not-isolated"):
        evaluate.prove_isolation(model, logits, tiny.in_memory(samples()), "cpu")
    each = [packed(model, [row]) for row in samples()[2:]]  # a row each: what ftc then does
    for row, found in zip(samples()[2:], each, strict=True):
        assert_same(found, plain(model, [row]))


def test_the_compiler_knows_who_has_no_flash_attention():
    for kind in [*OFTEN, *SELDOM, *INSTEAD]:
        if kind not in LARGE:
            model = getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind])
            flash = model._supports_flash_attn and not getattr(
                model, "_compatible_flash_implementations", None
            )
            assert flash or not traits(kind).can_flash, kind


def test_the_compiler_knows_whose_experts_are_adapted():
    from peft.utils import transformers_weight_conversion as peft

    known = peft._MODEL_TO_CONVERSION_PATTERN.items()
    adapted = {kind for kind, pattern in known if pattern in peft._MOE_TARGET_MODULE_MAPPING}
    experts = {kind for kind, row in MODEL_TYPES.items() if row.experts}
    assert {kind for kind in adapted if kind in [*OFTEN, *SELDOM, *ALONE]} == experts


@pytest.mark.parametrize("kind", sorted(UNADAPTED - IMAGES))
def test_the_compiler_knows_what_cannot_be_adapted(kind):
    """Each of them fails, or has adapters without a gradient."""
    everything = never_learnt(kind, [*traits(kind).unadapted])
    assert not everything
    for layer in traits(kind).unadapted:
        others = [name for name in traits(kind).unadapted if name != layer]
        try:
            found = never_learnt(kind, others)
        except (ValueError, AttributeError, RuntimeError):
            continue  # PEFT or the model refuses
        assert found and all(f".{layer}.lora_" in name for name in found)


def never_learnt(kind, left_out):
    """The adapters of an all-linear LoRA that get no gradient."""
    targets = {"target_modules": "all-linear", "exclude_modules": left_out}
    model = adapters.add(make(kind), LoraConfig(task_type="CAUSAL_LM", **targets))
    learnt = plain(model.train(), samples()[:1])[1]
    return {name for name, p in model.named_parameters() if p.requires_grad} - learnt.keys()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k for k in [*OFTEN, *SELDOM, *ALONE] if k not in LARGE])
def test_every_adapter_learns(kind):
    assert not never_learnt(kind, [*traits(kind).unadapted])


@pytest.mark.parametrize("kind", sorted(UNLEARNT - {"gemma3"}))  # it has images
def test_the_compiler_knows_what_is_never_learnt(kind):
    """By it the weights are named that get no gradient, and no others."""
    able = traits(kind).attention
    model = make(kind, able if able != SEGMENTS else "eager")
    learnt = plain(model, samples()[:1])[1]
    named = [
        n for n, _ in model.named_parameters() if any(matches(n, p) for p in traits(kind).unlearnt)
    ]
    assert named and not learnt.keys() & {*named}
    assert {*named} | {*learnt} == {n for n, _ in model.named_parameters()}


def test_the_page_names_them():
    page = (ROOT / "docs/architectures.md").read_text("utf-8")
    named = set(re.findall(r"`([\w-]+)`", page))
    assert named >= {*OFTEN, *SELDOM, *INSTEAD}
