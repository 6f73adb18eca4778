"""What deploy.sh is made from beyond the plan's own values."""

from __future__ import annotations

from typing import Any

from . import quote
from .plan import Plan


def served(plan: Plan) -> Plan:
    """The plan with the devices that serve, which may be fewer than those that train."""
    if plan.deploy.tp is None:
        return plan
    return plan._replace(hardware=plan.hardware._replace(devices_per_node=plan.deploy.tp))


def serving(plan: Plan) -> dict[str, Any]:
    """What lmdeploy is told beyond the plan's own values."""
    turbomind = plan.deploy.backend is not None and plan.deploy.backend.value == "turbomind"
    key = plan.deploy.api_key_env
    return {
        # lmdeploy has no float32.
        "serve_dtype": "float16" if plan.model.dtype.value == "float32" else plan.model.dtype.value,
        "backend_flags": ["--model-format hf", "--communicator nccl"]
        if turbomind
        else ["--device cuda"],
        "api_key_env": f'"{quote.name(key)}"' if key else "",
    }
