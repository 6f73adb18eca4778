"""What the Python of a run imports, in isort's order."""

from __future__ import annotations

from ..catalog.optimizers import OPTIMIZERS
from ..plan.plan import Plan
from .base_model import auto_class, is_fetched
from .train_model import fuses_head, loads_shares, packs, shares_rows


def of_runtime(rooms: dict[str, list[str]]) -> dict[str, list[str]]:
    """Module -> names, of what is imported from each room of the runtime ("": from the runtime itself)."""
    return {
        ".".join(filter(None, ["ftc.runtime", room])): sorted(names)
        for room, names in sorted(rooms.items())
    }


def of_train(plan: Plan) -> dict[str, list[str]]:
    """Module -> names, of what train.py imports beside torch and deepspeed themselves."""
    liger, optimizer = plan.model.liger, OPTIMIZERS[plan.optim.optimizer.value]
    quantizes = plan.method.quantization is not None
    names = {
        **of_runtime(_rooms(plan)),
        "liger_kernel.transformers": [f"apply_liger_kernel_to_{liger.value}"] if liger else [],
        "peft": ["LoraConfig"] if plan.method.lora else [],
        "torch.nn.functional": [] if fuses_head(plan) else ["cross_entropy"],
        "transformers": [auto_class(plan), *(["BitsAndBytesConfig"] if quantizes else [])],
        "transformers.integrations": ["HfDeepSpeedConfig"] if loads_shares(plan) else [],
    }
    if optimizer.module:
        names[optimizer.module] = sorted([*names.get(optimizer.module, ()), optimizer.name])
    return {module: names[module] for module in sorted(names)}


def _rooms(plan: Plan) -> dict[str, list[str]]:
    model, train = plan.model, ["guards", "launch", "metrics"]
    used = {
        "adapters": plan.method.lora,
        "attention": model.attention.value == "segment_sdpa",
        "download": is_fetched(plan),
        "fused": model.fused,
        "loaded": True,
        "names": plan.method.freeze,
        "neftune": plan.method.neftune_noise_alpha,
        "quantized": packs(plan),
        "rope": model.rope_scaling,
        "towers": model.towers,
    }
    train += ["evaluate"] if plan.train.eval_every or shares_rows(plan) else []
    train += ["samples"] if plan.samples else []
    train += ["sequence_parallel"] if plan.parallel.sequence_parallel_size else []
    train += ["trackers"] if plan.tracking else []
    stops = plan.train.early_stopping_patience is not None
    return {
        "": ["checkpoint", "data"],
        "checkpoint": ["validation"] if stops else [],
        "export": ["portable"],
        "model": [name for name, is_used in used.items() if is_used],
        "process": ["distributed", "stop"],
        "train": train,
    }
