"""The model that was trained, rebuilt from its base and a checkpoint: with its adapter, dense, or merged."""

import argparse
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import BitsAndBytesConfig

from ..checkpoint import shards
from ..errors import RunError
from ..model import adapters, names, quantized, rope, towers
from ..model.on_disk import Weights


@dataclass(frozen=True)
class Job:
    """One conversion: a checkpoint, the token ids of its proof, and what is made of it in `work`."""

    options: argparse.Namespace
    path: Path
    probe: list[list[int]]
    tokenizer: Any
    trained_tokenizer: Any  # as training used it, to compare with what is exported
    work: Path
    weights: Weights

    @property
    def initial(self) -> Path | None:
        """Where the adapter lies as it began, if it began with a part of the base."""
        return self.work / "initial" if self.options.mutates else None


def load_base(job: Job, dense: bool = False) -> Any:
    """The base model, as it was trained on; `dense`: with plain weights in place of quantized ones."""
    options = job.options
    quantization, apart = None, ["lm_head", *options.tower] if options.tower else None
    if options.bits == 4:
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=options.quantization,
            bnb_4bit_use_double_quant=options.double_quant,
            bnb_4bit_compute_dtype=getattr(torch, options.compute_dtype),
            llm_int8_skip_modules=apart,
        )
    elif options.bits == 8:
        quantization = BitsAndBytesConfig(
            load_in_8bit=True,
            llm_int8_threshold=options.int8_threshold,
            llm_int8_skip_modules=apart,
        )
    settings = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    if options.rope_scaling:
        scaling = json.loads(options.rope_scaling)
        settings["config"] = rope.scaled(options.base, scaling, options.max_position, **settings)
    model = getattr(transformers, options.auto_class).from_pretrained(
        options.base,
        **settings,
        dtype=getattr(torch, options.dtype),
        quantization_config=quantization,
        device_map={"": options.device} if quantization else None,
    )
    if quantization is None:
        return model
    return quantized.dense(model, job.weights) if dense else quantized.keep_layout(model)


def load_trained(job: Job, dense: bool = False) -> Any:
    """The base model with the trained weights: wrapped by its adapter, or overwritten.

    The adapter begins as in training, seed and device alike, so that what it took out of the base is taken
    out again; it is saved as it began before the trained weights go in.
    """
    options = job.options
    model = load_base(job, dense)
    if (job.path / "adapter_config.json").is_file():
        from peft import LoraConfig

        torch.manual_seed(options.seed)
        model = adapters.add(model, LoraConfig.from_pretrained(str(job.path)))
        if job.initial is not None and not job.initial.exists():
            config = model.peft_config["default"]
            start, config.init_lora_weights = config.init_lora_weights, True
            model.save_pretrained(job.initial, save_embedding_layers=False)
            config.init_lora_weights = start
    else:
        names.freeze(model, options.freeze)
    towers.freeze(model, options.tower)
    missing = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name, values in shards.each(job.path):
        if name in missing:
            job.weights.set(missing.pop(name), values)
    if missing:
        raise RunError(
            "other-model",
            f"the checkpoint lacks {len(missing)} weights of this model, {min(missing)} first",
            "convert with the base model and the adapter that were trained",
            where=str(job.path),
        )
    return ready(job, model)


def ready(job: Job, model: Any) -> Any:
    """The model where it is asked; what began with a part of its base did so on the CPU, as in training."""
    return (model if job.options.bits else model.to(job.options.device)).eval()


def merge(model: Any, weights: Weights) -> Any:
    """The model with its adapter merged in by PEFT. On a CPU a layer at a time goes through memory."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All adapters are already merged")
        for layer in [m for m in model.modules() if isinstance(m, BaseTunerLayer)]:
            weights.take(layer.get_base_layer())  # which PEFT changes in place,
            layer.merge()
            weights.take(layer.get_base_layer())  # or replaces
        return model.merge_and_unload()
