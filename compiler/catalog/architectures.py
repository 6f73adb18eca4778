"""What transformers 5 can't do with some architectures, by model_type; tests/test_architectures.py shows it."""

# Model types of transformers whose head is a plain linear layer without a bias, `lm_head`, and whose
# logits are used as they come from it: not scaled (cohere, granite), not capped (gemma2). Each is
# compared with the plain loss in tests/test_fused.py.
PLAIN_HEADS = {
    "deepseek_v3",
    "gemma",
    "glm",
    "glm4",
    "llama",
    "mistral",
    "mixtral",
    "olmo2",
    "phi3",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "smollm3",
    "starcoder2",
}
# Model types whose MLPs are down(silu(gate(x)) * up(x)) in three layers, compared there, too.
GATED_MLPS = {"llama", "mistral", "olmo2", "qwen2", "qwen3", "smollm3"}
# Of the plain heads, those whose norms are weight * (x / rms(x)): gemma adds 1 to the weight, starcoder2 takes the mean
# off. And those whose attention is Llama's. Both are compared there, too.
NORMS = PLAIN_HEADS - {"gemma", "starcoder2"}
ATTENTIONS = {"llama", "qwen2"}
# Model types that Liger 0.8.5 has kernels for (its MODEL_TYPE_TO_APPLY_LIGER_FN), for text.
LIGER = {
    "deepseek_v2",
    "deepseek_v3",
    "exaone4",
    "gemma",
    "gemma2",
    "gemma3_text",
    "glm4",
    "gpt_oss",
    "granite",
    "llama",
    "ministral",
    "mistral",
    "mixtral",
    "olmo2",
    "olmo3",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "smollm3",
}
# Architectures that lmdeploy 0.18 serves with its faster engine, by transformers' model_type
# (lmdeploy.turbomind.supported_models); the others need its PyTorch engine.
TURBOMIND = (
    "llama",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "mixtral",
    "gpt_oss",
    "glm4_moe_lite",
)

# Instead of segment_sdpa they run the attention named here: their scores are capped or have sinks, they
# have no SDPA at all, attend in chunks, or their layers don't pass on where samples end.
WITHOUT_SEGMENTS = {
    "codegen": "eager",
    "doge": "sdpa",
    "flint": "eager",
    "gemma2": "eager",
    "gpt_neo": "eager",
    "gptj": "eager",
    "granite_swa": "eager",
    "granitemoe_swa": "eager",
    "llama4": "sdpa",
    "llama4_text": "sdpa",
    "mimo_v2_flash": "eager",
    "nemotron": "sdpa",
    "stablelm": "sdpa",
    "vaultgemma": "eager",
}

# Samples that share a row see each other whatever the attention: a state or a convolution runs through
# the row, positions are counted from its start, or the model masks by itself. What they run instead.
ALONE = {
    "axk2": "sdpa",
    "bailing_hybrid": "sdpa",
    "bamba": "sdpa",
    "bloom": "eager",
    "cpmant": "eager",
    "deepseek_v32": "sdpa",
    "deepseek_v4": "eager",
    "falcon": "sdpa",
    "falcon_h1": "sdpa",
    "falcon_mamba": "eager",
    "glm_moe_dsa": "sdpa",
    "gpt_oss": "eager",
    "granitemoehybrid": "sdpa",
    "hy_v4": "eager",
    "inkling2_text": "eager",
    "inkling_text": "sdpa",
    "jamba": "sdpa",
    "kimi_linear": "sdpa",
    "lfm2": "sdpa",
    "lfm2_moe": "sdpa",
    "lfm3": "sdpa",
    "mamba": "eager",
    "mamba2": "eager",
    "minimax": "sdpa",
    "mpt": "eager",
    "nemotron_h": "sdpa",
    "olmo_hybrid": "sdpa",
    "openai-gpt": "eager",
    "qwen3_5": "sdpa",
    "qwen3_5_moe": "sdpa",
    "qwen3_5_moe_text": "sdpa",
    "qwen3_5_text": "sdpa",
    "qwen3_next": "sdpa",
    "recurrent_gemma": "sdpa",
    "rwkv": "eager",
    "xglm": "eager",
    "xlnet": "eager",
    "xlstm": "eager",
    "zamba": "sdpa",
    "zamba2": "sdpa",
    "zaya": "sdpa",
}

# They don't go on with a text. Encoders see the whole of it; of the others, AutoModelForCausalLM would take the
# decoder alone, or nothing.
ENCODERS = {
    "albert", "bert", "big_bird", "camembert", "data2vec-text", "deberta", "deberta-v2",
    "distilbert", "electra", "ernie", "longformer", "megatron-bert", "modernbert", "mpnet",
    "nomic_bert", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
SEQ2SEQ = {
    "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "fsmt", "led", "longt5", "m2m_100",
    "marian", "mbart", "mt5", "mvp", "pegasus", "pegasus_x", "plbart", "prophetnet",
    "switch_transformers", "t5", "t5gemma", "umt5",
}  # fmt: skip

# They answer to sounds or pictures, by themselves or beside a larger model: of a text alone they make nothing.
OF_MEDIA = {
    "gemma4_assistant": "a drafter that guesses along with a larger model",
    "gemma4_unified_assistant": "a drafter that guesses along with a larger model",
    "git": "a model that writes captions for pictures",
    "got_ocr2": "a model that reads the text in pictures",
    "moshi": "a model of speech",
    "moss_transcribe_diarize": "a model that writes down speech",
    "musicgen": "a model of music",
    "musicgen_melody": "a model of music",
    "trocr": "a model that reads the text in pictures",
    "whisper": "a model that writes down speech",
}

# Their head is the embedding, unless config.json says otherwise.
TIED = {
    *(
        "bert-generation",
        "biogpt",
        "bloom",
        "cohere",
        "cohere2",
        "cohere2_moe",
        "cohere_compass_text",
    ),
    *("cpmant", "ctrl", "ernie4_5", "ernie4_5_moe", "falcon", "falcon_mamba", "gemma", "gemma2"),
    *(
        "gemma3",
        "gemma3_text",
        "gemma3n",
        "gemma3n_text",
        "gemma4",
        "gemma4_text",
        "gemma4_unified",
    ),
    *("gemma4_unified_text", "gpt-sw3", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox_japanese"),
    *(
        "granite_swa",
        "jetmoe",
        "lfm2",
        "lfm2_moe",
        "lfm3",
        "mamba",
        "minicpm3",
        "modernbert-decoder",
    ),
    *("mpt", "openai-gpt", "opt", "recurrent_gemma", "smollm3", "starcoder2", "vaultgemma", "xglm"),
    *("xlm", "xlnet", "youtu", "zamba", "zamba2", "zaya"),
}

# They count the tokens of a row from its start: gpt_neo's mask ends at its last position, and llama4 scales
# queries behind its 8,192nd token (its floor_scale).
ROW_LIMITS = {"gpt_neo": None, "llama4": 8192, "llama4_text": 8192}

# They have no flash_attention_2 either, or one that needs another kernel; those in ALONE are left to the
# attention that is named there.
WITHOUT_FLASH = {
    *ALONE,
    *("codegen", "doge", "flint", "gptj", "granite_swa", "granitemoe_swa", "llama4", "llama4_text"),
    "mimo_v2_flash",
}

INSTEAD = {**WITHOUT_SEGMENTS, **ALONE}

# Mixtures whose experts and router PEFT adapts, too, for "all-linear" or by the names that their layers had
# in transformers 4 (peft.utils.transformers_weight_conversion); such adapters know no dropout and no DoRA.
ADAPTED_EXPERTS = {
    *(
        "afmoe",
        "cohere2_moe",
        "deepseek_v2",
        "deepseek_v3",
        "deepseek_v32",
        "dots1",
        "ernie4_5_moe",
    ),
    *("exaone_moe", "flex_olmo", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "hunyuan_v1_moe"),
    *("longcat_flash", "mellum", "minimax", "minimax_m2", "mixtral", "olmoe", "qwen3_moe"),
    *("qwen3_next", "solar_open"),
}
# The names of those layers, and of the router. Others that are named like mixtral's: minimax.
EXPERT_LAYERS = {
    kind: ("gate", "w1", "w2", "w3")
    if kind in ("minimax", "minimax_m2", "mixtral")
    else ("gate", "gate_proj", "up_proj", "down_proj")
    for kind in ADAPTED_EXPERTS
}
# Layers of an expert that are one weight, by the names that they had.
FUSED_EXPERTS = (("gate_proj", "up_proj"), ("w1", "w3"))

# Linear layers that PEFT 0.21 can't adapt: a Mamba's fused kernel and others read the weight itself, a router gives
# a pair, one multiplies by groups, and an indexer gets no gradient. "all-linear" leaves them out.
UNADAPTED = {
    **dict.fromkeys(("falcon_h1", "mamba2", "nemotron_h"), ("out_proj",)),
    **dict.fromkeys(("falcon_mamba", "mamba"), ("out_proj", "dt_proj")),
    **dict.fromkeys(("llama4", "llama4_text", "phimoe"), ("router",)),
    **dict.fromkeys(("deepseek_v32", "glm_moe_dsa", "hy_v4"), ("wq_b", "wk", "weights_proj")),
    **dict.fromkeys(("gemma3n", "gemma3n_text"), ("correction_coefs",)),
    "deepseek_v4": (
        *("o_a_proj", "weights_proj"),
        *("indexer.gate_proj", "indexer.kv_proj", "indexer.q_b_proj"),
    ),
    "jamba": ("dt_proj",),
    "longcat_flash": ("classifier",),
}

# They read or rescale a weight where bitsandbytes has packed it.
UNQUANTIZED = {"gemma3n", "gemma3n_text", "hy_v4", "longcat_flash", "mamba", "rwkv"}

# Weights that the loss of text has no gradient for, in the words of method.freeze: biases that balance experts and
# indexers that choose what is attended to. DeepSpeed gives them a gradient of 0, and weight decay would shrink them.
UNLEARNT = {
    **dict.fromkeys(("deepseek_v32", "glm_moe_dsa", "hy_v4"), ("*.indexer",)),
    **dict.fromkeys(("ernie4_5_moe", "laguna"), ("*.e_score_correction_bias",)),
    "afmoe": ("*.expert_bias",),
    "deepseek_v4": ("*.compressor.indexer",),
    "hrm_text": ("model.z_L_init",),
}

# Modules that only pictures and sounds reach, by the names that they have in the class of the whole model. A config
# may leave some of them out.
TOWERS = {
    "dots3_note": ("vision_tower", "audio_tower"),
    "emu3": ("vqmodel",),
    "fuyu": ("vision_embed_tokens",),
    "gemma3": ("vision_tower", "multi_modal_projector"),
    **dict.fromkeys(
        ("gemma3n", "gemma4"), ("vision_tower", "audio_tower", "embed_vision", "embed_audio")
    ),
    "gemma4_unified": ("embed_vision", "embed_audio"),
    "llama4": ("vision_model", "multi_modal_projector"),
    "mllama": ("vision_model", "multi_modal_projector"),
    "phi4_multimodal": ("embed_tokens_extend",),
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe", "qwen4_exp"), ("visual",)),
}
