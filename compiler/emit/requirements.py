"""requirements.txt of a run, for training and for the server: what the runtime was tested with, pinned."""

from __future__ import annotations

from functools import cache

from ..catalog.engines import ENGINES
from ..catalog.optimizers import OPTIMIZERS
from ..catalog.presets import resource
from ..facts.gather import Facts
from ..plan.plan import Plan

SENTENCEPIECE = ["sentencepiece", "protobuf"]  # what transformers reads a tokenizer.model with

# The packages of a tracker, where they are not one with its name. MLflow's own brings a server along.
TRACKERS = {"mlflow": ["mlflow-skinny", "sqlalchemy", "alembic"]}


@cache
def pins(file: str = "requirements.txt") -> dict[str, str]:
    """The versions that the runtime was tested with: package -> `package==version`."""
    lines = (resource("runtime") / file).read_text("utf-8").splitlines()
    return {line.split("==")[0]: line for line in lines if "==" in line}


def files(plan: Plan, facts: Facts, run: dict[str, str]) -> dict[str, str]:
    """That of a server comes with deploy.sh."""
    return {"requirements.txt": training_requirements(plan, facts)}


def training_requirements(plan: Plan, facts: Facts) -> str:
    """What train.py, convert.sh and chat.py import."""
    packages = ["torch", "transformers", "accelerate", "datasets", "deepspeed", "safetensors"]
    packages += ["filelock", "numpy", "tqdm", "xxhash"]
    packages += ["peft"] if plan.method.lora else []
    of_optimizer = OPTIMIZERS[plan.optim.optimizer.value].packages
    more = ["bitsandbytes"] if plan.method.quantization else []
    packages += dict.fromkeys([*of_optimizer, *more])
    packages += ["gguf"] if plan.model.package else []
    local = facts.local_model
    packages += SENTENCEPIECE if local and local.tokenizer == "tokenizer.model" else []
    sources = (*plan.data.train, *plan.data.validation)
    packages += ["modelscope"] if any(of.modelscope for of in (plan.model, *sources)) else []
    packages += ["liger-kernel"] if plan.model.liger else []
    for tracker in plan.tracking.trackers.value if plan.tracking else ():
        packages += TRACKERS.get(tracker, [tracker])
    packages += ["flash-attn"] if plan.model.attention.value == "flash_attention_2" else []
    where = "stands in ftc/" if plan.vendor_runtime.value else "is ftc's own"
    head = f"# What ftc.runtime was tested with. It {where}; ftc.lock has its version."
    return "\n".join([head, *(pins()[package] for package in packages)]) + "\n"


def serving_requirements(plan: Plan) -> str:
    """What deploy.sh starts."""
    engine = ENGINES[plan.deploy.engine.value]
    known = pins(engine.pins)
    lines = (known[package] for package in engine.packages or known)
    return "\n".join([f"# {engine.note}", *lines]) + "\n"
