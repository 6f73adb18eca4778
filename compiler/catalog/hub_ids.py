"""What a Hub id says of its model, where the names of a family are plain and ftc has no preset."""

from __future__ import annotations

import re
from typing import NamedTuple

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
    ("OpenGVLab", r"internvl.*-hf$", "internvl"),
    ("openbmb", r"minicpm-v-4\.6", "minicpmv4_6"),
    ("moonshotai", r"kimi-k2\.5", "kimi_k25"),
    ("openai", r"whisper-", "whisper"),
    ("openai", r"clip-", "clip"),
)
INTERNLM, GLM = "internlm/internlm3-8b-instruct", "zai-org/glm-4-9b-chat-hf"
# Those that come with code of their own, for a type that transformers does not know: (owners, pattern of the name,
# model_type, whether it answers to pictures or sounds, what else to take). A "-hf" is transformers' own form of one.
OWN_CODE = (
    ("OpenGVLab", r"(mini-)?internvl(?!.*-hf$)", "internvl_chat", True, ""),
    ("openbmb", r"minicpm-(v(?!-4\.)|o-|llama3-v)", "minicpmv", True, ""),
    ("microsoft", r"phi-3(\.5)?-vision", "phi3_v", True, "microsoft/Phi-3.5-mini-instruct"),
    ("deepseek-ai", r"deepseek-vl2", "deepseek_vl_v2", True, ""),
    ("AIDC-AI", r"ovis(1|2-)", "ovis", True, ""),
    ("allenai", r"molmo-", "molmo", True, ""),
    ("moonshotai", r"kimi-vl-", "kimi_vl", True, ""),
    ("internlm", r"internlm-xcomposer", "internlmxcomposer2", True, INTERNLM),
    ("internlm", r"intern-s1", "interns1", True, INTERNLM),
    ("Qwen", r"qwen-vl", "qwen", True, "Qwen/Qwen2.5-7B-Instruct"),
    ("THUDM|zai-org", r"cogvlm|glm-4v-9b", "chatglm", True, GLM),
    ("internlm", r"internlm2|polar-", "internlm2", False, INTERNLM),
    ("internlm", r"internlm-", "internlm", False, INTERNLM),
    ("baichuan-inc", r"baichuan2?-\d+b", "baichuan", False, ""),
    ("THUDM|zai-org", r"chatglm|glm-4-9b(?!-0414|.*-hf$)", "chatglm", False, GLM),
    ("openbmb", r"minicpm(4-|-[12]b)", "minicpm", False, ""),
    ("Qwen", r"qwen-(1_8b|\d+b)", "qwen", False, "Qwen/Qwen2.5-7B-Instruct"),
    ("deepseek-ai", r"deepseek-moe-16b", "deepseek", False, "deepseek-ai/DeepSeek-V2-Lite-Chat"),
    ("moonshotai", r"kimi-k2(?!\.)", "kimi_k2", False, ""),
    ("microsoft", r"phi-3-small", "phi3small", False, "microsoft/Phi-3.5-mini-instruct"),
)


class OwnCode(NamedTuple):
    model_type: str
    with_media: bool
    instead: str


def own_code(hub_id: str) -> OwnCode | None:
    """What a model that brings its own code is, by its `owner/name`; None where that does not tell."""
    owner, _, name = hub_id.partition("/")
    for owners, pattern, kind, media, instead in OWN_CODE:
        if re.fullmatch(owners, owner) and re.match(pattern, name, re.IGNORECASE):
            return OwnCode(kind, media, instead)
    return None


# The words with which a name ends whose weights are packed for a server, and how that form is called.
FORMS = (
    (r"gguf|ggml", "GGUF"),
    (r"awq", "AWQ"),
    (r"gptq", "GPTQ"),
    (r"exl[23]|\d+(\.\d+)?bpw", "ExLlama"),
    (r"mlx|dwq", "MLX"),
    (r"bnb", "bitsandbytes"),
    (r"fp8|nvfp4|mxfp8|fp4|hqq|aqlm|onnx|openvino|w\d+a\d+", ""),
    (r"int[2-8]|[2-8]-?bits?", "bits"),
)
MARKS = "|".join(pattern for pattern, _ in FORMS)
# What stands beside them.
BESIDE = r"dynamic|unsloth|quantized|\d+g|g\d+|sym|marlin|i1|imatrix|kv|block|hf|q\d(?:_k)?(?:_[a-z\d]+)?|\d+x\d+"
TAIL = re.compile(rf"(?:[-_.](?:{MARKS}|{BESIDE}))*[-_.](?:{MARKS})(?:[-_.](?:{MARKS}|{BESIDE}))*$")


class Packed(NamedTuple):
    """`form`: as AWQ; "bits" where the name says how many, and not by what. `plain`: the name without it."""

    form: str
    plain: str


def packed(hub_id: str) -> Packed | None:
    """The form that an `owner/name` ends with, where it is one of quantized weights."""
    owner, _, name = hub_id.partition("/")
    tail = TAIL.search(name.lower())
    if not tail:
        return None
    words = [
        (word, form) for word, form in FORMS if re.search(rf"[-_.](?:{word})(?![^-_.])", tail[0])
    ]
    word, form = words[0]
    if not form:
        form = re.findall(rf"[-_.]({word})", tail[0])[0].upper()
    if form == "bits" and owner == "mlx-community":
        form = "MLX"
    return Packed(form, name[: tail.start()])


def model_type_of(hub_id: str) -> str | None:
    """transformers' model_type of an `owner/name`, or None where its name alone does not tell."""
    owner, _, name = hub_id.partition("/")
    for family, pattern, kind in FAMILIES:
        known = owner == family or re.fullmatch(COPIES, owner)
        if known and not packed(hub_id) and re.match(pattern, name, re.IGNORECASE):
            return kind
    return None
