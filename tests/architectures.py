"""Tiny random models of transformers' architectures, by model_type."""

from typing import Any

import torch

# What makes a model tiny, in the words of any config: each takes those that it has.
SMALL: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    # other words for the same
    "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "n_inner": 48, "n_ctx": 128,
    "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "rotary_dim": 4, "ffn_dim": 48, "word_embed_proj_dim": 32,
    "ffn_hidden_size": 48, "decoder_layers": 2, "kv_channels": 8, "dim_model": 32, "dim_ff": 48,
    # windows and chunks shorter than a sample
    "sliding_window": 5, "attention_window_size": 5, "attention_chunk_size": 6, "chunk_size": 8,
    "mamba_chunk_size": 8, "index_topk": 6,
    # experts
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "num_experts_per_token": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
    "shared_intermediate_size": 16, "n_group": 1, "topk_group": 1, "n_shared_experts": 1,
    "num_shared_experts": 1, "first_k_dense_replace": 1, "moe_num_experts": 4, "moe_k": 2,
    # latent attention
    "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4,
    "v_head_dim": 8, "index_n_heads": 2, "index_head_dim": 8,
    # states
    "mamba_d_state": 8, "mamba_d_head": 8, "mamba_n_heads": 8, "mamba_n_groups": 1, "mamba_expand": 2,
    "mamba_d_ssm": 64, "mamba_num_heads": 8, "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1,
    "state_size": 8, "num_heads": 8, "expand": 2, "time_step_rank": 4, "lru_width": 32,
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    # gemma 3n's
    "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 64, "num_kv_shared_layers": 0,
}  # fmt: skip

LATENT = {"num_key_value_heads": 4, "head_dim": 4}
CONV = {"layer_types": ["conv", "full_attention"]}
# What SMALL does not say.
SPECIAL: dict[str, dict[str, Any]] = {
    "axk1": LATENT,
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "deepseek_v2": {**LATENT, "q_lora_rank": None, "num_experts_per_tok": 2, "n_group": 1},
    "deepseek_v3": LATENT,
    "deepseek_v32": LATENT,
    "deepseek_v4": {
        "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8}
    },
    "glm4_moe_lite": LATENT,
    "glm_moe_dsa": LATENT,
    "gpt_neo": {"num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 5},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "kimi_linear": {"num_key_value_heads": 4},
    "lfm2": CONV,
    "lfm2_moe": CONV,
    "longcat_flash": LATENT,
    "minicpm3": LATENT,
    "ministral": {"head_dim": 8},
    "mistral": {"head_dim": 8, "sliding_window": 5},
    "nemotron": {"head_dim": 8, "num_key_value_heads": 2},
    "qwen2": {"use_sliding_window": False},
    "starcoder2": {"sliding_window": 5},
    "youtu": LATENT,
    "zaya": {"num_experts_per_tok": 1},
}


def config_of(kind: str, **settings: Any) -> Any:
    """A tiny config of this model_type, with `settings` of its own; layers of each kind that it has."""
    from transformers import CONFIG_MAPPING

    make = CONFIG_MAPPING[kind]
    usual = make().to_dict()
    chosen = {
        key: value
        for key, value in SMALL.items()
        if usual.get(key) is not None and not isinstance(usual[key], (list, dict))
    }
    kinds = {
        key: list(dict.fromkeys(usual[key]))
        for key in ("layer_types", "mlp_layer_types")
        if isinstance(usual.get(key), list)
    }
    if kinds:
        size = max(2, *map(len, kinds.values()))
        chosen["num_hidden_layers"] = size
        chosen |= {key: (names * size)[:size] for key, names in kinds.items()}
    return make(**{**chosen, **SPECIAL.get(kind, {}), **settings})


def make(kind: str, attention: str = "eager", **settings: Any) -> Any:
    """The model, float32, with weights that hide no mistake (norms at 1 and biases at 0 would)."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = config_of(kind, **settings)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).float().eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model
