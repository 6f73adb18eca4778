"""The table [method] of the spec language."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from .keys import MODULE, NITER, PATTERN, Table, Whole, key, table


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
