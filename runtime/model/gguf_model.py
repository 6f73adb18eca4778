"""The model that a GGUF file holds, as one of transformers: config from the metadata, weights from the tensors.

Nothing of it is left out in silence: each key about the model, each tensor of the file and each parameter
of the model is accounted for, or the file is refused with the name of what has no place. What llama.cpp does
where a key is missing is done here (src/llama-model.cpp).
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
)

from ..errors import RunError
from . import gguf_tokenizer

ARCHITECTURES = {  # of llama.cpp -> model_type
    **{name: name for name in ("llama", "qwen2", "qwen3", "gemma2", "phi3")},
    "qwen2moe": "qwen2_moe",
    "qwen3moe": "qwen3_moe",
    "gemma3": "gemma3_text",
}
SIZES = {  # key of the file -> key of the config
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
EXPERTS = {
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}
WINDOW = {"attention.sliding_window": "sliding_window"}
CAPS = {name: name for name in ("attn_logit_softcapping", "final_logit_softcapping")}
MORE: dict[str, dict[str, str]] = {
    "qwen2moe": EXPERTS | {"expert_shared_feed_forward_length": "shared_expert_intermediate_size"},
    "qwen3moe": EXPERTS,
    "llama": WINDOW,
    "phi3": WINDOW,
    "gemma2": WINDOW | CAPS,
    "gemma3": WINDOW | CAPS,
}
# What holds of the model in any case.
IMPLIED = {
    "attention.causal": True,
    "rope.scaling.yarn_ext_factor": 1.0,
    "rope.scaling.yarn_attn_factor": 1.0,
    "rope.scaling.attn_factor": 1.0,
}
BETAS = (("fast", 32.0), ("slow", 1.0))
UNUSED = ("rope.scaling.finetuned", "tensor_data_layout")
ROPE = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def convert(gguf: Path, folder: Path) -> None:
    """Writes model and tokenizer, in float32, as a folder in Hugging Face form.

    Raises RunError naming what the model or the tokenizer has no place for, and ValueError for a file
    that is not GGUF.
    """
    reader = GGUFReader(gguf)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    tokenizer = gguf_tokenizer.read(fields)
    config = AutoConfig.for_model(**_config(fields, tensors))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    _fill(model, tensors, str(fields["general.architecture"]))
    model.save_pretrained(folder)
    gguf_tokenizer.save(tokenizer, folder)


def _refuse(what: str) -> RunError:
    return RunError("no-model", f"{what} has no place in the model that would be made of it")


def _config(fields: dict[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    """The values of the config, by the keys of transformers."""
    architecture = fields.get("general.architecture")
    if architecture not in ARCHITECTURES:
        known = f"ftc converts {', '.join(sorted(ARCHITECTURES))}"
        raise RunError("no-model", f"it holds a model of architecture {architecture}; {known}")
    prefix = f"{architecture}."
    left = {k.removeprefix(prefix): v for k, v in fields.items() if k.startswith(prefix)}
    sizes = SIZES | MORE.get(architecture, {})
    needed = [*SIZES, *(WINDOW if architecture.startswith("gemma") else ())]
    if missing := [name for name in needed if not left.get(name)]:
        raise RunError("no-model", f"it does not say {prefix}{missing[0]}")
    if "token_embd.weight" not in tensors:
        raise RunError("no-model", "it holds no token_embd.weight")
    values = {name: left.pop(key) for key, name in sizes.items() if left.get(key)}
    for name, value in values.items():
        if isinstance(value, list):
            raise _refuse(f"its {name}, which differs from layer to layer,")
    head = left.pop("attention.key_length", values["hidden_size"] // values["num_attention_heads"])
    values |= {"head_dim": head, "vocab_size": int(tensors["token_embd.weight"].shape[1])}
    values |= {"model_type": ARCHITECTURES[architecture]} | _kind(architecture, values, tensors)
    values |= _rope(architecture, left, tensors, values)
    for key, name in {"bos": "bos", "eos": "eos", "pad": "padding"}.items():
        values[f"{key}_token_id"] = fields.get(f"tokenizer.ggml.{name}_token_id")
    implied = IMPLIED | {"vocab_size": values["vocab_size"], "attention.value_length": head}
    for key, value in left.items():
        if value and key not in UNUSED and value != implied.get(key):
            raise _refuse(f"its {prefix}{key} = {value}")
    return values


def _kind(architecture: str, sizes: dict[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    """What a model of that architecture is by its tensors, and by what llama.cpp takes for granted."""
    biased = [name for name in tensors if name.endswith(".bias")]
    found: dict[str, Any] = {"tie_word_embeddings": "output.weight" not in tensors}
    if not architecture.startswith(("qwen2", "phi3")):
        found["attention_bias"] = any(".attn_" in name for name in biased)
    if architecture == "llama":
        found["mlp_bias"] = any(".ffn_" in name for name in biased)
        if "sliding_window" in sizes:
            found["model_type"] = "mistral"
    elif architecture == "qwen3moe":
        found["norm_topk_prob"] = True
    elif architecture == "phi3":
        found["sliding_window"] = sizes.get("sliding_window")
    elif architecture == "gemma2":
        found |= {name: sizes.get(name, cap) for name, cap in zip(CAPS, (50.0, 30.0), strict=True)}
    if architecture in ("gemma2", "gemma3"):
        # Attention of the largest of each is scaled by the width a head, that of the others by head_dim.
        largest = sizes["num_hidden_layers"] == {"gemma2": 46, "gemma3": 62}[architecture]
        width = sizes["hidden_size"] // sizes["num_attention_heads"]
        found["query_pre_attn_scalar"] = width if largest else sizes["head_dim"]
    return found


def _rope(
    architecture: str, left: dict[str, Any], tensors: dict[str, Any], sizes: dict[str, Any]
) -> dict[str, Any]:
    """Rotary positions; takes their keys out of `left`."""
    head, longest = sizes["head_dim"], sizes["max_position_embeddings"]
    rotary = left.pop("rope.dimension_count", head)
    found = {"rope_type": "default", "rope_theta": float(left.pop("rope.freq_base", 10000.0))}
    kind = left.pop("rope.scaling.type", "linear")
    factor = left.pop("rope.scaling.factor", 0) or left.pop("rope.scale_linear", 0)
    original = left.pop("rope.scaling.original_context_length", longest)
    freqs, long, short = (_values(tensors[name]) if name in tensors else None for name in ROPE)
    more: dict[str, Any] = {}
    if rotary != head and architecture == "phi3":
        more["partial_rotary_factor"] = rotary / head
    elif rotary != head:
        raise _refuse(f"its {architecture}.rope.dimension_count = {rotary} of {head}")
    if long and short and architecture == "phi3":
        scale = left.pop("rope.scaling.attn_factor", 1.0)
        found |= {"rope_type": "longrope", "long_factor": long, "short_factor": short}
        found |= {"attention_factor": scale, "original_max_position_embeddings": original}
        more["original_max_position_embeddings"] = original
    elif freqs and (not factor or kind == "none"):
        found |= _llama3(freqs, found["rope_theta"], rotary)
    elif freqs or long or short:
        raise _refuse(f"its tensor {next(name for name in ROPE if name in tensors)}")
    elif kind == "linear" and factor not in (0, 1):
        found |= {"rope_type": "linear", "factor": factor}
    elif kind == "yarn" and factor not in (0, 1):
        fast, slow = (left.pop(f"rope.scaling.yarn_beta_{name}", beta) for name, beta in BETAS)
        scale = left.pop("rope.scaling.attn_factor", 1.0) * (0.1 * math.log(factor) + 1)
        found |= {"rope_type": "yarn", "factor": factor, "beta_fast": fast, "beta_slow": slow}
        found |= {"attention_factor": scale, "original_max_position_embeddings": original}
    elif factor not in (0, 1) and kind != "none":
        raise _refuse(f"its {architecture}.rope.scaling.type = {kind}")
    if architecture == "gemma3":  # layers with a window have positions of their own, never scaled
        local = {"rope_type": "default", "rope_theta": left.pop("rope.freq_base_swa", 10000.0)}
        return {"rope_parameters": {"full_attention": found, "sliding_attention": local}}
    return {"rope_parameters": found | more, **more}


def _llama3(divisors: list[float], theta: float, rotary: int) -> dict[str, Any]:
    """The scaling of Llama 3.1 that divides the frequencies by these: (rotary / 2,).

    Frequencies of wavelengths up to original / high stay, those from original / low on are divided by
    `factor`, and between them one is divided by 1 / ((1 - s) / factor + s), s linear in it (transformers'
    modeling_rope_utils). The file has what came of it; any parameters of the same two wavelengths are right.
    """
    factor = max(divisors)
    if factor == 1:
        return {}
    waves = 2 * math.pi * theta ** (np.arange(0, rotary, 2) / rotary)
    smooth = (1 / np.asarray(divisors) - 1 / factor) / (1 - 1 / factor)
    inside = (smooth > 1e-4) & (smooth < 1 - 1e-4)
    if inside.sum() > 1:  # s = slope / wave - shift
        slope, shift = np.polyfit(1 / waves[inside], smooth[inside], 1) * (1, -1)
    elif inside.any():  # one is not enough for both: high is 4 times low, as in every Llama
        shift = 1 / 3
        slope = float((smooth[inside] + shift) @ waves[inside])
    else:
        stays = max(waves[smooth >= 0.5], default=waves[0] / 2)
        shift = 1 / (min(waves[smooth < 0.5]) / stays - 1)
        slope = shift * min(waves[smooth < 0.5])
    longest, ratio = slope / shift, (1 + shift) / shift
    length = round(longest)
    for low, high in ((1.0, float(round(ratio))), (length / longest, ratio * length / longest)):
        s = np.clip((length / waves - low) / max(high - low, 1e-9), 0, 1)
        if np.allclose((1 - s) / factor + s, 1 / np.asarray(divisors), rtol=1e-5):
            found = {"low_freq_factor": low, "high_freq_factor": high, "factor": factor}
            return found | {"rope_type": "llama3", "original_max_position_embeddings": length}
    raise _refuse("its tensor rope_freqs.weight")


def _values(tensor: Any) -> list[float]:
    return dequantize(tensor.data, tensor.tensor_type).flatten().tolist()


def _fill(model: PreTrainedModel, tensors: dict[str, Any], architecture: str) -> None:
    """Every parameter gets its tensor. Raises RunError for a tensor or a parameter that is left over."""
    config = model.config.to_dict()
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=config)
    names = get_gguf_hf_weights_map(model, processor, model_type=architecture)
    state: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name in ROPE:
            continue
        if name not in names and name.removesuffix(".weight") not in names:
            raise _refuse(f"its tensor {name}")
        made = processor.process(
            weights=dequantize(tensor.data, tensor.tensor_type),
            name=name,
            tensor_key_mapping=names,
            parsed_parameters={"tensors": state},
        )
        if made.name is not None:
            state[names[made.name]] = torch.from_numpy(np.array(made.weights, np.float32))
    try:
        missing = model.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:  # sizes differ
        said = str(error).strip().split("\n")[-1].strip()
        raise RunError("no-model", f"its sizes do not fit together: {said}") from None
    model.tie_weights()
    tied = set(model._tied_weights_keys or ()) if config["tie_word_embeddings"] else set()
    for name in set(missing) - tied:
        if not name.endswith(".bias"):
            raise RunError("no-model", f"it holds no weights for {name}")
        torch.nn.init.zeros_(model.get_parameter(name))  # the same as none
