"""The table [model] of the spec language."""

from __future__ import annotations

from typing import Literal

from .keys import Date, Line, Table, key, resumable

DATE = "2024-07-26"  # what Llama 3.1's own template has where an engine has no clock


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
    attention: Literal["auto", "flash_attention_2", "segment_sdpa", "sdpa", "eager"] = resumable(
        "auto",
        help="auto: segment_sdpa, torch's SDPA on each sample of a packed sequence, which needs no package. "
        "flash_attention_2, for Ampere and newer, needs flash-attn: the run's README.md says how.",
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
    allow_pickle: bool = resumable(
        False,
        help="Load weights from pickled .bin files, which can hold code, where a base has no safetensors.",
    )
    gradient_checkpointing: Literal["auto"] | bool = resumable(
        "auto",
        help="Recompute activations in the backward pass to save memory. auto: on GPUs only.",
        affects="placement",
    )
    fused_kernels: Literal["auto", "liger", "none"] = resumable(
        "auto",
        help="Parts of the model swapped for faster equals. auto: head and loss in one, adapters added "
        "in place. liger: on GPUs, Liger's norms, activations and rotations, too.",
    )
