"""The tables [model] and [method] of the spec language: see `spec`, which holds the rest of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ..facts.chat_clock import DATE
from .keys import MODULE, NITER, PATTERN, Date, Line, Table, Whole, key, table


class RopeScaling(Table, affects="numerics"):
    """[model.rope_scaling]: rotary positions stretched over a longer context than the base knows."""

    type: Literal["linear", "dynamic", "yarn", "llama3"] = key(
        help="linear: positions divided by `factor`. dynamic: the base of the rotation grows with "
        "the sequence (NTK). yarn: arXiv 2309.00071. llama3: as Llama 3.1 does."
    )
    factor: float = key(help="The context becomes this many times as long.", gt=1)
    original_max_position: int | None = key(
        None, help="Positions of the base as it is. Unset: what ftc knows of it.", ge=1
    )
    attention_factor: float | None = key(
        None, help="yarn: scales the scores. Unset: 0.1 ln(factor) + 1.", gt=0
    )
    beta_fast: float = key(32.0, help="yarn: rotations above which nothing is stretched.", gt=0)
    beta_slow: float = key(1.0, help="yarn: rotations below which all is stretched.", gt=0)
    low_freq_factor: float = key(1.0, help="llama3: bounds the long wavelengths.", gt=0)
    high_freq_factor: float = key(4.0, help="llama3: bounds the short wavelengths.", gt=0)


# The keys of [model.rope_scaling] that are about one type.
ROPE_KEYS = {
    "yarn": ("attention_factor", "beta_fast", "beta_slow"),
    "llama3": ("low_freq_factor", "high_freq_factor"),
}


class Model(Table, affects="numerics"):
    """[model]: the model that is tuned, and how it is loaded."""

    base: Line = key(
        help="A preset, a Hub id (`org/name`), `modelscope:org/name`, or a local folder in Hugging Face form."
    )
    source: Literal["package", "hub"] | None = key(
        None,
        help="Where a preset's weights come from. Unset: the package, where the preset has one.",
    )
    revision: Line | None = key(
        None, help="Commit, tag or branch on the Hub, or on ModelScope. Pin a commit."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = key(
        "auto", help="auto: float32 on a CPU, bfloat16 on Ampere and newer, float16 on older GPUs."
    )
    attention: Literal["auto", "flash_attention_2", "segment_sdpa", "sdpa", "eager"] = key(
        "auto",
        help="auto: segment_sdpa, torch's SDPA on each sample of a packed sequence, which needs no package. "
        "flash_attention_2, for Ampere and newer, needs flash-attn: the run's README.md says how.",
        changes="resumable",
    )
    chat_template: Line = key(
        "model",
        help="`model` (the model's own), a template that ftc ships, or a path to a .jinja file.",
        affects="data",
    )
    date: Date = key(
        DATE,
        help="What a chat template that asks for today's date is given, in training and wherever it serves.",
        affects="data",
    )
    max_seq_length: int = key(
        1024,
        help="Longest sample and longest packed sequence.",
        unit="tokens",
        ge=8,
        affects="data",
    )
    rope_scaling: RopeScaling | None = key(
        None, help="Rotary positions stretched over a longer context."
    )
    trust_remote_code: bool = key(False, help="Run Python code that the model's repository ships.")
    allow_pickle: bool = key(
        False,
        help="Load weights from pickled .bin files, which can hold code, where a base has no safetensors.",
        changes="resumable",
    )
    gradient_checkpointing: Literal["auto"] | bool = key(
        "auto",
        help="Recompute activations in the backward pass to save memory. auto: on GPUs only.",
        changes="resumable",
        affects="placement",
    )
    fused_kernels: Literal["auto", "liger", "none"] = key(
        "auto",
        help="Parts of the model swapped for faster equals. auto: head and loss in one, adapters added "
        "in place. liger: on GPUs, Liger's norms, activations and rotations, too.",
        changes="resumable",
    )


class Quantization(Table, affects="numerics"):
    """[method.quantization]: how the frozen base is stored (bitsandbytes)."""

    bits: Annotated[Literal[4, 8], Whole] = key(
        4, help="Bits of a weight: 4 (QLoRA), or 8 (LLM.int8)."
    )
    type: Literal["nf4", "fp4"] = key("nf4", help="The 4-bit data type.")
    double_quant: bool = key(True, help="Quantize the 4-bit quantization constants, too.")
    compute_dtype: Literal["auto", "float32", "bfloat16", "float16"] = key(
        "auto", help="What 4-bit weights are multiplied in. auto: the model's dtype."
    )
    int8_threshold: float = key(
        6.0, help="Inputs beyond this are kept out of 8-bit products. 0: none is.", ge=0
    )


KINDS = "full: every weight. lora: adapters on a frozen base. qlora: on a quantized base."


Pattern = Annotated[str, Field(pattern=PATTERN)]


def _noise() -> Any:
    return key(
        None,
        help="NEFTune (arXiv 2310.05914): noise on the embeddings while training, of this strength "
        "over the root of a sample's length times the width. Usual: 5. Unset: none.",
        gt=0,
    )


class Full(Table, affects="numerics"):
    """[method] with kind = "full": every weight is trained, but those in `freeze`."""

    kind: Literal["full"] = key(help=KINDS)
    freeze: list[Pattern] = key(
        [],
        help="Modules and parameters that are not trained, by full name; `*` stands for any text, "
        "`?` for one character, `[0-7]` for one of these.",
    )
    neftune_noise_alpha: float | None = _noise()


Name = Annotated[str, Field(pattern=MODULE)]
Index = Annotated[int, Field(ge=0)]
Niter = Annotated[str, Field(pattern=NITER)]


class RankPattern(Table, affects="numerics"):
    """[[method.rank_pattern]]: layers whose adapters have another rank."""

    module: Name = key(help="The layers, by the end of their name: q_proj, layers.0.mlp.up_proj.")
    rank: int = key(help="Their rank.", ge=1)
    alpha: int | None = key(None, help="Their alpha. Unset: method.alpha.", ge=1)


class Lora(Table, affects="numerics"):
    """[method] with kind = "lora": low-rank adapters on a frozen base (arXiv 2106.09685)."""

    kind: Literal["lora"] = key(help=KINDS)
    rank: int = key(16, help="Rank of the adapters.", ge=1)
    alpha: int = key(32, help="The adapters' output is scaled by alpha / rank.", ge=1)
    dropout: float = key(0.0, help="Dropout before the adapters.", ge=0, lt=1)
    target_modules: Literal["all-linear"] | Annotated[list[Name], Field(min_length=1)] = key(
        "all-linear", help="Which linear layers get an adapter: all of them, or their names."
    )
    exclude_modules: list[Name] = key(
        [],
        help="Layers that get none all the same, by name, or modules, of which no layer gets one.",
    )
    layers_to_transform: list[Index] = key(
        [], help="The blocks whose layers get an adapter, counted from 0. Unset: all of them."
    )
    rank_pattern: list[RankPattern] = key([], help="Layers with a rank of their own.")
    init_lora_weights: Literal["default", "gaussian", "orthogonal", "pissa", "olora"] | Niter = key(
        "default",
        help="How adapters begin. pissa (arXiv 2404.02948; pissa_niter_N is faster) and olora "
        "(2406.01775) take their start out of the base; with the others they add nothing at first.",
    )
    use_dora: bool = key(
        False, help="DoRA (arXiv 2402.09353): the length of each row of a weight is trained, too."
    )
    use_rslora: bool = key(
        False, help="rsLoRA (arXiv 2312.03732): scale by alpha / sqrt(rank) instead."
    )
    loraplus_lr_ratio: float | None = key(
        None,
        help="LoRA+ (arXiv 2402.12354): B matrices learn this many times as fast as A matrices.",
        ge=1,
    )
    modules_to_save: list[Name] = key(
        [],
        help="Modules that are trained whole beside the adapters, such as embed_tokens, lm_head.",
    )
    bias: Literal["none", "all", "lora_only"] = key(
        "none", help="Which biases are trained, too: none, all, or those of adapted layers."
    )
    neftune_noise_alpha: float | None = _noise()


class Qlora(Lora):
    """[method] with kind = "qlora": LoRA on a quantized base (arXiv 2305.14314, 2208.07339)."""

    kind: Literal["qlora"] = key(help=KINDS)  # pyright: ignore - another word than Lora's
    quantization: Quantization = table(
        Quantization,
        help="How the frozen base is stored. 4-bit weights are kept as bytes, and ZeRO 3 shares these out "
        "as they are, so no storage dtype is to choose; 8-bit weights go up to stage 2.",
    )


Method = Annotated[Full | Lora | Qlora, Field(discriminator="kind")]
