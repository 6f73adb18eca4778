"""What the compiler knows of transformers' classes is what the installed version has."""

import pytest
from ftc.compiler.catalog import hub_ids
from ftc.compiler.catalog.architectures import MODEL_TYPES, traits
from ftc.compiler.catalog.model_types import CAUSAL, OTHERS, WITH_MEDIA
from ftc.compiler.catalog.presets import model_presets

from . import model_types


def test_the_table_is_that_of_the_installed_transformers():
    assert model_types.FILE.read_text("utf-8") == model_types.text()


def test_no_type_is_in_two_places():
    assert len({*CAUSAL, *OTHERS, *WITH_MEDIA}) == len(CAUSAL) + len(OTHERS) + len(WITH_MEDIA)
    assert len(CAUSAL) > 180 and len(OTHERS) > 400 and len(WITH_MEDIA) > 80


@pytest.mark.parametrize(
    ("hub_id", "kind"),
    [
        ("Qwen/Qwen3.5-4B", "qwen3_5"),
        ("unsloth/Qwen3.5-35B-A3B", "qwen3_5_moe"),
        ("google/gemma-3-4b-it", "gemma3"),
        ("google/gemma-3-1b-it", None),
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", "mllama"),
        ("meta-llama/Llama-3.2-1B-Instruct", None),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_5_vl"),
        ("Qwen/Qwen2.5-7B-Instruct", None),
        ("Qwen/Qwen3-VL-Embedding-2B", None),
        ("unsloth/gemma-3-4b-it-GGUF", None),
        ("someone/Qwen3.5-4B-text", None),
        ("openai/whisper-small", "whisper"),
        ("moonshotai/Kimi-K2.5", "kimi_k25"),
        ("openai/gpt-oss-20b", None),
    ],
)
def test_some_hub_ids_name_their_type(hub_id, kind):
    assert hub_ids.model_type_of(hub_id) == kind


@pytest.mark.parametrize(
    ("hub_id", "form", "plain"),
    [
        ("TheBloke/Mistral-7B-Instruct-v0.2-AWQ", "AWQ", "Mistral-7B-Instruct-v0.2"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "GPTQ", "Qwen2.5-7B-Instruct"),
        ("unsloth/Qwen3-8B-unsloth-bnb-4bit", "bitsandbytes", "Qwen3-8B"),
        ("RedHatAI/Qwen3-8B-quantized.w4a16", "W4A16", "Qwen3-8B"),
        ("RedHatAI/Qwen3-8B-FP8-dynamic", "FP8", "Qwen3-8B"),
        ("acme/Qwen3-8B-Q4_K_M-GGUF", "GGUF", "Qwen3-8B"),
        ("mlx-community/Qwen3-8B-4bit", "MLX", "Qwen3-8B"),
        ("acme/Qwen3-8B-int8", "bits", "Qwen3-8B"),
        ("turboderp/Llama-3-8B-exl2", "ExLlama", "Llama-3-8B"),
    ],
)
def test_the_end_of_a_name_tells_quantized_weights(hub_id, form, plain):
    assert hub_ids.packed(hub_id) == (form, plain)


@pytest.mark.parametrize(
    "name",
    ["gemma-3-4b-it-qat-int4-unquantized", "Qwen3-8B-bf16", "gguf-reader-7b", "Qwen3-8B", "fp8"],
)
def test_other_names_tell_none(name):
    assert hub_ids.packed(f"mlx-community/{name}") is None


@pytest.mark.parametrize(
    ("hub_id", "kind"),
    [
        ("OpenGVLab/InternVL3-8B", "internvl_chat"),
        ("openbmb/MiniCPM-V-2_6", "minicpmv"),
        ("microsoft/Phi-3.5-vision-instruct", "phi3_v"),
        ("THUDM/chatglm3-6b", "chatglm"),
        ("baichuan-inc/Baichuan2-7B-Chat", "baichuan"),
        ("moonshotai/Kimi-K2-Instruct", "kimi_k2"),
        *((name, None) for name in ("baichuan-inc/Baichuan-M2-32B", "moonshotai/Kimi-K2.5")),
        *((f"OpenGVLab/InternVL{version}-8B-hf", None) for version in ("3", "3_5")),
        *((f"zai-org/{name}", None) for name in ("glm-4-9b-chat-hf", "GLM-4-9B-0414")),
        *((name, None) for name in ("openbmb/MiniCPM-V-4.6", "allenai/Molmo2-8B", "Qwen/Qwen2-7B")),
        *((name, None) for name in ("openbmb/MiniCPM3-4B", "internlm/internlm3-8b-instruct")),
    ],
)
def test_some_hub_ids_bring_their_own_code(hub_id, kind):
    found = hub_ids.own_code(hub_id)
    assert (found.model_type if found else None) == kind
    assert found is None or kind not in {*CAUSAL, *OTHERS, *WITH_MEDIA}


def test_what_is_named_instead_needs_no_code_and_is_a_preset():
    named = {instead for *_, instead in hub_ids.OWN_CODE if instead}
    assert named <= {preset.hub_id for preset in model_presets().values()}


def test_the_types_of_hub_ids_exist():
    assert {kind for *_, kind in hub_ids.FAMILIES} <= {*CAUSAL, *OTHERS, *WITH_MEDIA}


def test_what_is_said_of_a_type_is_about_one_that_exists():
    said = {kind for kind, row in MODEL_TYPES.items() if row.of_media or row.encoder or row.seq2seq}
    assert said <= {*CAUSAL, *OTHERS, *WITH_MEDIA}


def test_whose_head_is_the_embedding():
    from transformers import CONFIG_MAPPING

    said = {kind for kind, row in MODEL_TYPES.items() if row.of_media or row.encoder or row.seq2seq}
    for kind in CAUSAL.keys() - said:
        config = CONFIG_MAPPING[kind]().get_text_config()
        tied = bool(getattr(config, "tie_word_embeddings", None))
        assert tied == (traits(kind).tied), kind
