"""Weights that bitsandbytes quantized: 4-bit ones on a CPU, and plain ones again."""

from typing import Any

import torch

from .on_disk import Weights


def keep_layout(model: Any) -> Any:
    """The model, whose 4-bit weights stay as they are laid out.

    On a CPU with AVX512-BF16, bitsandbytes (0.50) packs them anew at the first forward pass outside of
    training. Such a layer can't be dequantized, computes in bfloat16, and passes no gradient on: training
    that goes on after an evaluation would learn next to nothing.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def dense(model: Any, weights: Weights) -> Any:
    """The model with plain weights in place of quantized ones, as transformers dequantizes them.

    A layer at a time goes through memory: `model.dequantize()` would hold the whole model there.
    """
    from bitsandbytes.nn import Linear4bit, Linear8bitLt
    from transformers.integrations.bitsandbytes import dequantize_and_replace

    quantizer = model.hf_quantizer
    packed = [n for n, m in model.named_modules() if isinstance(m, (Linear4bit, Linear8bitLt))]
    for name in packed:
        alone = torch.nn.ModuleDict({"layer": model.get_submodule(name)})
        dequantize_and_replace(alone, quantizer.quantization_config, dtype=model.config.dtype)
        weights.take(alone["layer"])
        model.set_submodule(name, alone["layer"])
    quantizer.remove_quantization_config(model)
    return model
