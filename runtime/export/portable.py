"""What is saved, in words that transformers takes, and that other tools and transformers 4 read alike."""

import copy
import json
import math
import re
import tempfile
from pathlib import Path
from typing import Any

from transformers import AutoConfig, GenerationConfig

from ..errors import RunError
from . import served_tokenizer

# What transformers 5 (5.23: PreTrainedTokenizerBase.save_pretrained) calls a tokenizer that is its tokenizer.json
# alone, and what both 4 and 5 call it.
BACKEND, FAST = "TokenizersBackend", "PreTrainedTokenizerFast"
# What transformers 4 (4.57.6) computes otherwise, or refuses, with these names, too: tiny models of each type,
# saved by 5.23 and compared in logits.
OTHERWISE_IN_4 = (
    "apertus", "bigbird_pegasus", "cpmant", "gpt_neox_japanese", "granitemoehybrid", "llama4_text", "mamba2",
    "modernbert-decoder", "moshi", "xlstm",
)  # fmt: skip
UNSCALED_IN_4 = ("nemotron", "olmo", "olmo2")  # with scaled positions


def check(model: Any, tokenizer: Any) -> None:
    """Saves, for a try, what convert.sh will save beside the weights. Raises RunError if it can't be."""
    generation = copy.deepcopy(getattr(model, "generation_config", None))
    tokenizer = copy.deepcopy(tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        try:
            model.config.save_pretrained(folder)
            if generation is not None:
                settle(generation)
                generation.save_pretrained(folder)
            served_tokenizer.prepare(tokenizer)
            tokenizer.save_pretrained(folder)
        except (ValueError, TypeError, NotImplementedError, OSError) as error:
            raise RunError(
                "refused",
                f"what is trained could not be exported: {_said(error)}",
                "correct that file of the base model, in a copy of its folder",
                where=str(getattr(model.config, "_name_or_path", "")) or "run",
            ) from None


def settle(generation: GenerationConfig) -> list[str]:
    """Unsets the flags that are without effect beside the others, and that transformers refuses to save.

    A temperature without do_sample, for one: generation is greedy with it, and stays so. Returns their names.
    Raises RunError for what has no such meaning.
    """
    unset: list[str] = []
    while True:
        try:
            generation.validate(strict=True)
            return unset
        except (ValueError, TypeError) as error:
            names = [n for n in re.findall(r"^- `(\w+)`:", str(error), re.M) if n not in unset]
            if not names:
                hint = "correct generation_config.json in a copy of the base model's folder"
                raise RunError(
                    "refused", f"transformers refuses this: {_said(error)}", hint
                ) from None
            for name in names:
                setattr(generation, name, getattr(GenerationConfig(), name))
            unset += names


def _said(error: Exception) -> str:
    """The first sentence of what a library says that names something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__


def limits(model: Any) -> list[str]:
    """Sentences on what servers that load an adapter may not know of this one."""
    config = model.peft_config["default"]
    found = []
    if config.rank_pattern or config.alpha_pattern:
        found.append("rank_pattern and alpha_pattern, which give some layers another rank or scale")
    if config.use_dora:
        found.append("DoRA")
    if config.modules_to_save:
        found.append("modules_to_save, which replace whole layers")
    if config.bias != "none":
        found.append("trained biases")
    if not found:
        return []
    return [f"It has {'; '.join(found)}. A server that can't load that serves the merged model."]


def plain_scale(config: Any) -> None:
    """Writes the scale of rsLoRA, alpha / sqrt(rank), as the plain alpha / rank (PEFT's LoraConfig).

    Many servers and converters know the plain one alone, and would apply the adapter at a fraction of its strength.
    """
    from peft.utils.other import get_pattern_key

    if not config.use_rslora:
        return

    def alpha(name: str) -> float:
        rank = config.rank_pattern.get(get_pattern_key(config.rank_pattern, name), config.r)
        given = config.alpha_pattern.get(
            get_pattern_key(config.alpha_pattern, name), config.lora_alpha
        )
        product = given * math.sqrt(rank)
        return int(product) if product == int(product) else product

    names = dict.fromkeys([*config.rank_pattern, *config.alpha_pattern])
    config.alpha_pattern = {name: alpha(name) for name in names}
    config.lora_alpha, config.use_rslora = alpha(""), False


def write_old_names(folder: Path) -> list[str]:
    """Adds the names of transformers 4 to config.json and tokenizer_config.json of a saved folder.

    It knows no `rope_parameters`: without the old names it would take the usual positions, in silence. Returns a
    sentence on whether it reads the folder right, where there is a config.json to read.
    """
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text("utf-8"))
    if config.get("tokenizer_class") == BACKEND:
        _write(path, config | {"tokenizer_class": FAST})
    path = folder / "config.json"
    if not path.is_file():
        return []
    written = path.read_text("utf-8")
    config = json.loads(written)
    if "auto_map" in config:  # code of the base's own reads its own names
        return []
    before, old = _read(folder), _old_names(config)
    _write(path, old)
    same = _read(folder) == before
    if not same:
        path.write_text(written, "utf-8")
    kind = config.get("model_type")
    scaled = "rope_scaling" in old and kind in UNSCALED_IN_4
    scaled = scaled or (old.get("rope_scaling", {}).get("rope_type") == "longrope")
    if same and kind not in OTHERWISE_IN_4 and not scaled:
        return [
            "Written by transformers 5; config.json has the names that transformers 4 reads, too."
        ]
    return [
        f"Load it with transformers 5: transformers 4 reads a {kind} otherwise, and may not say so."
    ]


def _read(folder: Path) -> dict[str, Any]:
    """The config as transformers 5 understands it: of two names for one thing, the new one."""
    config = AutoConfig.from_pretrained(folder).to_dict()
    rope = config.get("rope_parameters") or {}
    rope.pop("type", None)
    if config.get("partial_rotary_factor") == rope.get("partial_rotary_factor"):
        config.pop("partial_rotary_factor", None)
    return config


def _write(path: Path, config: dict[str, Any]) -> None:
    path.write_text(
        json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8"
    )


def _old_names(config: dict[str, Any]) -> dict[str, Any]:
    """The config, and what transformers 4 calls its dtype and its rotary positions."""
    parts = {
        k: _old_names(v) for k, v in config.items() if isinstance(v, dict) and k.endswith("_config")
    }
    found = {**config, **parts}
    if "dtype" in config:
        found["torch_dtype"] = config["dtype"]
    if "num_local_experts" in config:  # Qwen3 MoE
        found.setdefault("num_experts", config["num_local_experts"])
    rope = config.get("rope_parameters") or {}
    if {"full_attention", "sliding_attention"} == rope.keys():
        if rope["sliding_attention"] != rope["full_attention"]:  # Gemma 3
            found["rope_local_base_freq"] = rope["sliding_attention"].get("rope_theta")
        rope = rope["full_attention"]
    theta, part = rope.get("rope_theta"), rope.get("partial_rotary_factor")
    if config.get("model_type") == "gpt_neox":
        found |= {"rotary_emb_base": theta, "rotary_pct": part}
    else:
        found |= {"rope_theta": theta} if theta is not None else {}
        found |= {"partial_rotary_factor": part} if part is not None else {}
    if rope.get("rope_type", "default") != "default":
        found["rope_scaling"] = _old_scaling(config.get("model_type"), rope)
    return found


def _old_scaling(kind: str | None, rope: dict[str, Any]) -> dict[str, Any]:
    """`rope_scaling`: Phi 3 takes three keys, and no other."""
    if kind == "phi3" and rope["rope_type"] == "longrope":
        return {"type": "longrope", **{k: rope[k] for k in ("short_factor", "long_factor")}}
    moved = ("rope_theta", "partial_rotary_factor")
    return {k: v for k, v in rope.items() if k not in moved}
