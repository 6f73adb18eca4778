"""deploy.sh and what it installs: a server of export/merged, where the run has one."""

from __future__ import annotations

from ..catalog.engines import ENGINES
from ..facts.gather import Facts
from ..plan.plan import Plan
from . import quote, templates
from .requirements import serving_requirements
from .shell import on_cpu, python_check


def is_served(plan: Plan) -> bool:
    """Whether convert.sh makes a whole model, which is what a server takes."""
    return not plan.method.lora or plan.export.merge.value


def files(plan: Plan, facts: Facts, run: dict[str, str]) -> dict[str, str]:
    if not is_served(plan):
        return {}
    key, chosen = plan.deploy.api_key_env, plan.deploy.backend
    engine, dtype = ENGINES[plan.deploy.engine.value], plan.model.dtype.value
    flags = {backend.name: backend.flags for backend in engine.backends}
    parts = {
        "python_check": python_check(plan),
        "cpu": on_cpu(plan),
        "tp": plan.deploy.tp or plan.hardware.devices_per_node,
        "serve_dtype": "float16" if dtype == "float32" and not engine.float32 else dtype,
        "backend_flags": flags[chosen.value] if chosen else (),
        "api_key_env": f'"{quote.name(key)}"' if key else "",
    }
    template = f"deploy_{plan.deploy.engine.value}.sh"
    return {
        "deploy.sh": templates.fill(template, {"plan": plan, "run": run, "parts": parts}),
        "requirements-deploy.txt": serving_requirements(plan),
    }
