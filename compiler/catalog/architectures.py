"""What transformers 5, and what is used beside it, can't do with some model types: a row each.

tests/test_architectures.py shows it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

# Functions of `ftc.runtime.model.fused`. HEAD: the head is a plain linear layer without a bias, `lm_head`, and its
# logits are used as they come from it: not scaled (cohere, granite), not capped (gemma2). NORMS: and its norms are
# weight * (x / rms(x)): gemma adds 1 to the weight, starcoder2 takes the mean off. GATED: and its MLPs are
# down(silu(gate(x)) * up(x)) in three layers. LLAMA: and its attention is Llama's.
# Each is compared with the plain model in tests/test_fused.py.
HEAD = ("linear_cross_entropy",)
NORMS = (*HEAD, "rms_norm")
GATED = (*NORMS, "lora_mlp")
LLAMA = (*GATED, "attention")

# The layers of an expert and the router, by the names that they had in transformers 4. Others that are named like
# mixtral's: minimax.
EXPERTS = ("gate", "gate_proj", "up_proj", "down_proj")
MIXTRAL = ("gate", "w1", "w2", "w3")
# Layers of an expert that are one weight, by the names that they had.
FUSED_EXPERTS = (("gate_proj", "up_proj"), ("w1", "w3"))

# lmdeploy 0.18's faster engine (lmdeploy.turbomind.supported_models); the others need its PyTorch engine.
TURBOMIND = ("turbomind",)

INDEXER = ("wq_b", "wk", "weights_proj")
INDEXER_V4 = ("o_a_proj", "weights_proj", *(f"indexer.{n}_proj" for n in ("gate", "kv", "q_b")))
MAMBA = ("out_proj", "dt_proj")
IMAGES = ("vision_model", "multi_modal_projector")
GEMMA = ("vision_tower", "audio_tower", "embed_vision", "embed_audio")
SEGMENTS = "segment_sdpa"


class ModelType(NamedTuple):
    """What is known of a model_type; the defaults are what holds for most."""

    # They don't go on with a text. Encoders see the whole of it; of the others, AutoModelForCausalLM would take
    # the decoder alone, or nothing. Or they answer to sounds or pictures, by themselves or beside a larger model:
    # of a text alone they make nothing. What they are, then.
    encoder: bool = False
    seq2seq: bool = False
    of_media: str = ""

    # The attention it runs. Some can't run segment_sdpa: their scores are capped or have sinks, they have no SDPA
    # at all, attend in chunks, or their layers don't pass on where samples end.
    attention: str = SEGMENTS
    # Samples that share a row see each other whatever the attention: a state or a convolution runs through
    # the row, positions are counted from its start, or the model masks by itself.
    alone: bool = False
    # False: it has no flash_attention_2, or one that needs another kernel; see `can_flash`.
    flash: bool = True
    # It counts the tokens of a row from its start: gpt_neo's mask ends at its last position, and llama4 scales
    # queries behind its 8,192nd token (its floor_scale).
    row_limit: int | Literal["max_position"] | None = None

    tied: bool = False  # its head is the embedding, unless config.json says otherwise
    swaps: tuple[str, ...] = ()  # see HEAD
    liger: bool = False  # Liger 0.8.5 has kernels for it (MODEL_TYPE_TO_APPLY_LIGER_FN), for text
    # Engines inside a server that serve it, where they don't serve any type: see `catalog.engines`.
    backends: tuple[str, ...] = ()

    # Mixtures whose experts and router PEFT adapts, too, for "all-linear" or by these names
    # (peft.utils.transformers_weight_conversion); such adapters know no dropout and no DoRA.
    experts: tuple[str, ...] = ()
    # Linear layers that PEFT 0.21 can't adapt: a Mamba's fused kernel and others read the weight itself, a router
    # gives a pair, one multiplies by groups, and an indexer gets no gradient. "all-linear" leaves them out.
    unadapted: tuple[str, ...] = ()
    quantizable: bool = True  # False: it reads or rescales weights that bitsandbytes has packed
    # Weights that the loss of text has no gradient for, in the words of method.freeze: biases that balance experts
    # and indexers that choose what is attended to. DeepSpeed gives them a gradient of 0, and weight decay would
    # shrink them.
    unlearnt: tuple[str, ...] = ()
    # Modules that only pictures and sounds reach, by the names that they have in the class of the whole model. A
    # config may leave some of them out.
    towers: tuple[str, ...] = ()

    @property
    def can_flash(self) -> bool:
        """Those that need a row for each sample are left to their own attention."""
        return self.flash and not self.alone


USUAL = ModelType()
ENCODER = ModelType(encoder=True)
SEQ2SEQ = ModelType(seq2seq=True)
DRAFTER = ModelType(of_media="a drafter that guesses along with a larger model")
READER = ModelType(of_media="a model that reads the text in pictures")


def traits(model_type: str) -> ModelType:
    """The row of a model type; of one that has none, and of "" (not known), what holds for most."""
    return MODEL_TYPES.get(model_type, USUAL)


_ENCODERS = (
    "albert", "bert", "big_bird", "camembert", "data2vec-text", "deberta", "deberta-v2",
    "distilbert", "electra", "ernie", "longformer", "megatron-bert", "modernbert", "mpnet",
    "nomic_bert", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip
_SEQ2SEQ = (
    "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "fsmt", "led", "longt5", "m2m_100",
    "marian", "mbart", "mt5", "mvp", "pegasus", "pegasus_x", "plbart", "prophetnet",
    "switch_transformers", "t5", "t5gemma", "umt5",
)  # fmt: skip

MODEL_TYPES: dict[str, ModelType] = {
    **dict.fromkeys(_ENCODERS, ENCODER),
    **dict.fromkeys(_SEQ2SEQ, SEQ2SEQ),
    "afmoe": ModelType(experts=EXPERTS, unlearnt=("*.expert_bias",)),
    "axk2": ModelType(alone=True, attention="sdpa"),
    "bailing_hybrid": ModelType(alone=True, attention="sdpa"),
    "bamba": ModelType(alone=True, attention="sdpa"),
    "bert-generation": ModelType(tied=True),
    "biogpt": ModelType(tied=True),
    "bloom": ModelType(alone=True, attention="eager", tied=True),
    "codegen": ModelType(attention="eager", flash=False),
    "cohere": ModelType(tied=True),
    "cohere2": ModelType(tied=True),
    "cohere2_moe": ModelType(tied=True, experts=EXPERTS),
    "cohere_compass_text": ModelType(tied=True),
    "cpmant": ModelType(alone=True, attention="eager", tied=True),
    "ctrl": ModelType(tied=True),
    "deepseek_v2": ModelType(liger=True, experts=EXPERTS),
    "deepseek_v3": ModelType(swaps=NORMS, liger=True, experts=EXPERTS),
    "deepseek_v32": ModelType(
        alone=True, attention="sdpa", experts=EXPERTS, unadapted=INDEXER, unlearnt=("*.indexer",)
    ),
    "deepseek_v4": ModelType(
        alone=True, attention="eager", unadapted=INDEXER_V4, unlearnt=("*.compressor.indexer",)
    ),
    "doge": ModelType(attention="sdpa", flash=False),
    "dots1": ModelType(experts=EXPERTS),
    "dots3_note": ModelType(towers=("vision_tower", "audio_tower")),
    "emu3": ModelType(towers=("vqmodel",)),
    "ernie4_5": ModelType(tied=True),
    "ernie4_5_moe": ModelType(tied=True, experts=EXPERTS, unlearnt=("*.e_score_correction_bias",)),
    "exaone4": ModelType(liger=True),
    "exaone_moe": ModelType(experts=EXPERTS),
    "falcon": ModelType(alone=True, attention="sdpa", tied=True),
    "falcon_h1": ModelType(alone=True, attention="sdpa", unadapted=("out_proj",)),
    "falcon_mamba": ModelType(alone=True, attention="eager", tied=True, unadapted=MAMBA),
    "flex_olmo": ModelType(experts=EXPERTS),
    "flint": ModelType(attention="eager", flash=False),
    "fuyu": ModelType(towers=("vision_embed_tokens",)),
    "gemma": ModelType(tied=True, swaps=HEAD, liger=True),
    "gemma2": ModelType(attention="eager", tied=True, liger=True),
    "gemma3": ModelType(tied=True, towers=("vision_tower", "multi_modal_projector")),
    "gemma3_text": ModelType(tied=True, liger=True),
    "gemma3n": ModelType(
        tied=True, unadapted=("correction_coefs",), quantizable=False, towers=GEMMA
    ),
    "gemma3n_text": ModelType(tied=True, unadapted=("correction_coefs",), quantizable=False),
    "gemma4": ModelType(tied=True, towers=GEMMA),
    "gemma4_assistant": DRAFTER,
    "gemma4_text": ModelType(tied=True),
    "gemma4_unified": ModelType(tied=True, towers=("embed_vision", "embed_audio")),
    "gemma4_unified_assistant": DRAFTER,
    "gemma4_unified_text": ModelType(tied=True),
    "git": ModelType(of_media="a model that writes captions for pictures"),
    "glm": ModelType(swaps=NORMS),
    "glm4": ModelType(swaps=NORMS, liger=True),
    "glm4_moe": ModelType(experts=EXPERTS),
    "glm4_moe_lite": ModelType(backends=TURBOMIND, experts=EXPERTS),
    "glm_moe_dsa": ModelType(
        alone=True, attention="sdpa", experts=EXPERTS, unadapted=INDEXER, unlearnt=("*.indexer",)
    ),
    "got_ocr2": READER,
    "gpt-sw3": ModelType(tied=True),
    "gpt2": ModelType(tied=True),
    "gpt_bigcode": ModelType(tied=True),
    "gpt_neo": ModelType(attention="eager", row_limit="max_position", tied=True),
    "gpt_neox_japanese": ModelType(tied=True),
    "gpt_oss": ModelType(alone=True, attention="eager", liger=True, backends=TURBOMIND),
    "gptj": ModelType(attention="eager", flash=False),
    "granite": ModelType(liger=True),
    "granite_swa": ModelType(attention="eager", flash=False, tied=True),
    "granitemoe_swa": ModelType(attention="eager", flash=False),
    "granitemoehybrid": ModelType(alone=True, attention="sdpa"),
    "hrm_text": ModelType(unlearnt=("model.z_L_init",)),
    "hunyuan_v1_moe": ModelType(experts=EXPERTS),
    "hy_v4": ModelType(
        alone=True, attention="eager", unadapted=INDEXER, quantizable=False, unlearnt=("*.indexer",)
    ),
    "inkling2_text": ModelType(alone=True, attention="eager"),
    "inkling_text": ModelType(alone=True, attention="sdpa"),
    "jamba": ModelType(alone=True, attention="sdpa", unadapted=("dt_proj",)),
    "jetmoe": ModelType(tied=True),
    "kimi_linear": ModelType(alone=True, attention="sdpa"),
    "laguna": ModelType(unlearnt=("*.e_score_correction_bias",)),
    "lfm2": ModelType(alone=True, attention="sdpa", tied=True),
    "lfm2_moe": ModelType(alone=True, attention="sdpa", tied=True),
    "lfm3": ModelType(alone=True, attention="sdpa", tied=True),
    "llama": ModelType(swaps=LLAMA, liger=True, backends=TURBOMIND),
    "llama4": ModelType(
        attention="sdpa", flash=False, row_limit=8192, unadapted=("router",), towers=IMAGES
    ),
    "llama4_text": ModelType(attention="sdpa", flash=False, row_limit=8192, unadapted=("router",)),
    "longcat_flash": ModelType(experts=EXPERTS, unadapted=("classifier",), quantizable=False),
    "mamba": ModelType(
        alone=True, attention="eager", tied=True, unadapted=MAMBA, quantizable=False
    ),
    "mamba2": ModelType(alone=True, attention="eager", unadapted=("out_proj",)),
    "mellum": ModelType(experts=EXPERTS),
    "mimo_v2_flash": ModelType(attention="eager", flash=False),
    "minicpm3": ModelType(tied=True),
    "minimax": ModelType(alone=True, attention="sdpa", experts=MIXTRAL),
    "minimax_m2": ModelType(experts=MIXTRAL),
    "ministral": ModelType(liger=True),
    "mistral": ModelType(swaps=GATED, liger=True),
    "mixtral": ModelType(swaps=NORMS, liger=True, backends=TURBOMIND, experts=MIXTRAL),
    "mllama": ModelType(towers=IMAGES),
    "modernbert-decoder": ModelType(tied=True),
    "moshi": ModelType(of_media="a model of speech"),
    "moss_transcribe_diarize": ModelType(of_media="a model that writes down speech"),
    "mpt": ModelType(alone=True, attention="eager", tied=True),
    "musicgen": ModelType(of_media="a model of music"),
    "musicgen_melody": ModelType(of_media="a model of music"),
    "nemotron": ModelType(attention="sdpa"),
    "nemotron_h": ModelType(alone=True, attention="sdpa", unadapted=("out_proj",)),
    "olmo2": ModelType(swaps=GATED, liger=True),
    "olmo3": ModelType(liger=True),
    "olmo_hybrid": ModelType(alone=True, attention="sdpa"),
    "olmoe": ModelType(experts=EXPERTS),
    "openai-gpt": ModelType(alone=True, attention="eager", tied=True),
    "opt": ModelType(tied=True),
    "phi3": ModelType(swaps=NORMS, liger=True),
    "phi4_multimodal": ModelType(towers=("embed_tokens_extend",)),
    "phimoe": ModelType(unadapted=("router",)),
    "qwen2": ModelType(swaps=LLAMA, liger=True, backends=TURBOMIND),
    "qwen2_moe": ModelType(swaps=NORMS, backends=TURBOMIND),
    "qwen3": ModelType(swaps=GATED, liger=True, backends=TURBOMIND),
    "qwen3_5": ModelType(alone=True, attention="sdpa", towers=("visual",)),
    "qwen3_5_moe": ModelType(alone=True, attention="sdpa", towers=("visual",)),
    "qwen3_5_moe_text": ModelType(alone=True, attention="sdpa"),
    "qwen3_5_text": ModelType(alone=True, attention="sdpa"),
    "qwen3_moe": ModelType(swaps=NORMS, liger=True, backends=TURBOMIND, experts=EXPERTS),
    "qwen3_next": ModelType(alone=True, attention="sdpa", experts=EXPERTS),
    "qwen4_exp": ModelType(towers=("visual",)),
    "recurrent_gemma": ModelType(alone=True, attention="sdpa", tied=True),
    "rwkv": ModelType(alone=True, attention="eager", quantizable=False),
    "smollm3": ModelType(tied=True, swaps=GATED, liger=True),
    "solar_open": ModelType(experts=EXPERTS),
    "stablelm": ModelType(attention="sdpa"),
    "starcoder2": ModelType(tied=True, swaps=HEAD),
    "trocr": READER,
    "vaultgemma": ModelType(attention="eager", tied=True),
    "whisper": ModelType(of_media="a model that writes down speech"),
    "xglm": ModelType(alone=True, attention="eager", tied=True),
    "xlm": ModelType(tied=True),
    "xlnet": ModelType(alone=True, attention="eager", tied=True),
    "xlstm": ModelType(alone=True, attention="eager"),
    "youtu": ModelType(tied=True),
    "zamba": ModelType(alone=True, attention="sdpa", tied=True),
    "zamba2": ModelType(alone=True, attention="sdpa", tied=True),
    "zaya": ModelType(alone=True, attention="sdpa", tied=True),
}
