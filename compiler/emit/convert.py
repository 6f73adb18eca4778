"""convert.sh, which makes an adapter and a model of a checkpoint."""

from __future__ import annotations

import json

from ..facts.gather import Facts
from ..plan.method import LoraPlan
from ..plan.plan import Plan
from . import templates
from .base_model import from_hub
from .shell import on_cpu, python_check


def files(plan: Plan, facts: Facts, run: dict[str, str]) -> dict[str, str]:
    scaling = plan.model.rope_scaling
    parts = {
        "checkpoint": "best" if plan.train.keep_best else "newest",
        "python_check": python_check(plan),
        "cpu": on_cpu(plan),
        "gpu": not on_cpu(plan),
        "hub_revision": from_hub(plan),
        "rope_json": json.dumps(scaling.value) if scaling else "",
        "mutates": mutates(plan.method.lora),
    }
    text = templates.fill("convert.sh", {"plan": plan, "run": run, "parts": parts})
    return {"convert.sh": text}


def mutates(lora: LoraPlan | None) -> bool:
    """Whether the adapters begin with a part of the base, which is taken out of it."""
    start = lora.init_lora_weights.value if lora and lora.init_lora_weights else ""
    return start.startswith("pissa") or start == "olora"
