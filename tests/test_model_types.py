"""What the compiler knows of transformers' classes is what the installed version has."""

import pytest
from ftc.compiler.catalog import architectures, hub_ids
from ftc.compiler.catalog.model_types import CAUSAL, OTHERS, WITH_MEDIA

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
        ("openai/gpt-oss-20b", None),
    ],
)
def test_some_hub_ids_name_their_type(hub_id, kind):
    assert hub_ids.model_type_of(hub_id) == kind


def test_the_types_of_hub_ids_exist():
    assert {kind for *_, kind in hub_ids.FAMILIES} <= {*CAUSAL, *OTHERS, *WITH_MEDIA}


def test_what_is_said_of_a_type_is_about_one_that_exists():
    said = {*architectures.OF_MEDIA, *architectures.ENCODERS, *architectures.SEQ2SEQ}
    assert said <= {*CAUSAL, *OTHERS, *WITH_MEDIA}


def test_whose_head_is_the_embedding():
    from transformers import CONFIG_MAPPING

    said = {*architectures.OF_MEDIA, *architectures.ENCODERS, *architectures.SEQ2SEQ}
    for kind in CAUSAL.keys() - said:
        config = CONFIG_MAPPING[kind]().get_text_config()
        tied = bool(getattr(config, "tie_word_embeddings", None))
        assert tied == (kind in architectures.TIED), kind
