"""Which chat template a model has by its name: that of a preset that is called alike, or its family's.

A Hub id tells no more without the network. A guess is said as one wherever it is taken.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..catalog.presets import ModelPreset, chat_templates, model_presets


class Guess(NamedTuple):
    template: str
    why: str


def near_template(base: str) -> Guess | None:
    """The template that the name of a model, a Hub id or a folder tells; None if it tells none."""
    name, preset = _plain(base), near_preset(base)
    if preset and preset.chat_template:
        return Guess(preset.chat_template, f"that of {preset.name}, by its name")
    for pattern, template in FAMILIES:
        if re.search(pattern, name):
            known = template in chat_templates()
            return Guess(template, "that of its family, by its name") if known else None
    return None


def near_preset(base: str) -> ModelPreset | None:
    """The preset that is called as the model is, but for its owner, its case, and what mirrors add."""
    name = _plain(base)
    return next(
        (p for p in model_presets().values() if name in (_plain(p.name), _plain(p.hub_id))), None
    )


# What mirrors and quantizers add to a name.
ADDED = re.compile(
    r"^meta-|^mistralai-"
    r"|-(?:unsloth|bnb|[48]bit|hf|gguf|awq|gptq|int[48]|w[48]a16|fp8|bf16|fp16|mlx|dynamic|quantized)(?=-|$)"
)


def _plain(base: str) -> str:
    """The name of a model without its owner, its case, and what mirrors add."""
    name = base.rstrip("/").rpartition("/")[2].lower().replace("_", "-").replace(" ", "-")
    name = name.removesuffix(".gguf")
    while (shorter := ADDED.sub("", name)) != name:
        name = shorter
    return name


# The first that is found in a name tells. "": a family with a template that ftc does not ship, or with several.
FAMILIES: tuple[tuple[str, str], ...] = (
    # What speaks, sees or hears otherwise than its family, and what was tuned to another template.
    (r"(^|-)(vl|vision|omni|audio|multimodal|guard|reward|embedding|reranker)(-|\d|$)", ""),
    (r"llava|internvl|smolvlm|paligemma|xcomposer|clip|siglip|whisper|minicpm-?[vo]-|-vl", ""),
    (r"hermes-?(2|3)|openhermes|dolphin", "chatml"),
    (r"deepseek-r1|r1-distill|-r1(-|$)|qwq|glm-?z1|kimi|moonlight|openchat|hermes", ""),
    (r"qwen-?3(-\d+b.*)?-(\w+-)*thinking-2507|qwen-?3-next.*thinking", "qwen3_thinking"),
    (r"qwen3.*-thinking", ""),  # its prompt opens the think block, which qwen3's does not
    (r"wizardcoder", "xtuner/wizardcoder"),
    (r"wizardlm", "xtuner/wizardlm"),
    (r"vicuna", "vicuna"),
    (r"zephyr|tinyllama.*chat", "zephyr"),
    # Qwen
    (r"qwen-?3(-\d+b.*)?-(\w+-)*instruct-2507|qwen-?3-next.*instruct", "qwen3_nothink"),
    (r"qwen-?3(\.\d|-coder|-next)|qwen-?[4-9](?!\d*b)", ""),
    (r"qwen-?3", "qwen3"),
    (r"qwen-?2\.5", "qwen2.5"),
    (r"qwen-?(1\.5|2)(?![\d.])", "qwen2"),
    (r"qwen-(1-8b|\d+b)", "xtuner/qwen_chat"),
    # Llama
    (r"code-?llama-70b|llama-?4", ""),
    (r"code-?llama|llama-?2(?![\d.b])", "llama2"),
    (r"llama-?3\.[123]", "llama3.1"),
    (r"llama-?3(?![\d.b])", "llama3"),
    # Mistral
    (r"mistral-nemo|nemo-(instruct|base)-2407|ministral-8b-instruct-2410", "mistral-nemo"),
    (r"mistral-large.*2407|mistral-small.*2409|codestral-22b|mathstral", "mistral-v3"),
    (r"mistral-large.*2411", "mistral-v7"),
    (r"mistral-7b.*v0\.3|mixtral-8x22b", "mistral-v3"),
    (r"mistral-7b|mixtral-8x7b", "mistral-v1"),
    # Google
    (r"gemma-?[4-9](?!\d*b)", ""),
    (r"gemma-?3|medgemma", "gemma3"),
    (r"(^|-)(code|recurrent)?gemma(-?[12])?(?![\d.])", "gemma"),
    # Microsoft
    (r"phi-?4-mini", "phi4mini"),
    (r"phi-?4", "phi4"),
    (r"phi-?3", "phi3"),
    # DeepSeek
    (r"deepseek-coder-v2", "deepseek-v2"),
    (r"deepseek-coder", "xtuner/deepseek_coder"),
    (r"deepseek-v2\.5|deepseek-v3\.", ""),
    (r"deepseek-v3", "deepseek-v3"),
    (r"deepseek-(v2|llm|moe|math)", "deepseek-v2"),
    # InternLM, ChatGLM, Baichuan, Yi, MiniCPM
    (r"internlm-?[23](?!\d*b)", "internlm2"),
    (r"internlm", "xtuner/internlm_chat"),
    (r"chatglm-?3", "xtuner/chatglm3"),
    (r"chatglm-?2", "xtuner/chatglm2"),
    (r"glm-?4(-9b|-32b|.*0414)", "glm4"),
    (r"baichuan-?2", "xtuner/baichuan2_chat"),
    (r"baichuan", "xtuner/baichuan_chat"),
    (r"(^|-)yi-(coder|1\.5|\d+b)", "chatml"),
    (r"minicpm-?3(?!b)", "xtuner/minicpm3"),
    (r"minicpm-?4", "chatml"),
    (r"minicpm-?[12]b", "xtuner/minicpm"),
    # Cohere, Hugging Face, IBM
    (r"command-r(?!7)|(^|-)aya-(23|expanse)", "command-r"),
    (r"smollm-?2", "smollm2"),
    (r"smollm-?\d+[mb]|smollm-?1\.7b", "chatml"),
    (r"granite-?3(?![\db])", "granite3"),
    (r"orca-2|stablelm-2-.*chat", "chatml"),
)
