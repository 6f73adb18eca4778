"""What a Hub id says of its model, where the names of a family are plain and ftc has no preset."""

from __future__ import annotations

import re

# (owner, or one that publishes copies of it; pattern of the name; model_type). The first that fits counts.
COPIES = "unsloth|mlx-community|nvidia|RedHatAI"
FAMILIES = (
    ("Qwen", r"qwen3\.5-.*-a\d+b", "qwen3_5_moe"),
    ("Qwen", r"qwen3\.5-", "qwen3_5"),
    ("Qwen", r"qwen3-next-", "qwen3_next"),
    ("Qwen", r"qwen2-vl-", "qwen2_vl"),
    ("Qwen", r"qwen2\.5-vl-", "qwen2_5_vl"),
    ("Qwen", r"qwen3-vl-.*-a\d+b", "qwen3_vl_moe"),
    ("Qwen", r"qwen3-vl-(?!embedding|reranker)", "qwen3_vl"),
    ("Qwen", r"qwen2-audio-", "qwen2_audio"),
    ("Qwen", r"qwen2\.5-omni-", "qwen2_5_omni"),
    ("Qwen", r"qwen3-omni-", "qwen3_omni_moe"),
    ("google", r"gemma-3-(4|12|27)b", "gemma3"),
    ("google", r"gemma-3n-", "gemma3n"),
    ("google", r"paligemma", "paligemma"),
    ("google", r"(flan-)?t5-", "t5"),
    ("google", r"siglip", "siglip"),
    ("google", r"vit-", "vit"),
    ("google-bert", r"bert-", "bert"),
    ("google-t5", r"t5-", "t5"),
    ("FacebookAI", r"roberta-", "roberta"),
    ("FacebookAI", r"xlm-roberta-", "xlm-roberta"),
    ("distilbert", r"distilbert-", "distilbert"),
    ("answerdotai", r"modernbert-", "modernbert"),
    ("facebook", r"bart-", "bart"),
    ("facebook", r"wav2vec2-", "wav2vec2"),
    ("microsoft", r"deberta-v3-", "deberta-v2"),
    ("meta-llama", r"llama-4-", "llama4"),
    ("meta-llama", r"llama-3\.2-(11|90)b-vision", "mllama"),
    ("mistralai", r"mistral-small-3\.[12]-|ministral-3-", "mistral3"),
    ("mistralai", r"voxtral-", "voxtral"),
    ("llava-hf", r"llava-1\.5-|bakllava-", "llava"),
    ("llava-hf", r"llava-v1\.6-|llava-next-|llama3-llava-next-", "llava_next"),
    ("llava-hf", r"llava-onevision-", "llava_onevision"),
    ("HuggingFaceTB", r"smolvlm2-", "smolvlm"),
    ("HuggingFaceTB", r"smolvlm-", "idefics3"),
    ("openai", r"whisper-", "whisper"),
    ("openai", r"clip-", "clip"),
)
QUANTIZED = re.compile(r"gguf|gptq|awq|fp8|nvfp4|int4|int8|bnb|mlx", re.IGNORECASE)


def model_type_of(hub_id: str) -> str | None:
    """transformers' model_type of an `owner/name`, or None where its name alone does not tell."""
    owner, _, name = hub_id.partition("/")
    for family, pattern, kind in FAMILIES:
        known = owner == family or re.fullmatch(COPIES, owner)
        if known and not QUANTIZED.search(name) and re.match(pattern, name, re.IGNORECASE):
            return kind
    return None
