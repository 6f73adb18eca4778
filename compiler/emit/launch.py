"""launch.sh, which starts torchrun on this machine, or on each node."""

from __future__ import annotations

from ..catalog.optimizers import OPTIMIZERS
from ..facts.gather import Facts
from ..plan.plan import Plan
from . import quote, templates
from .shell import on_cpu, python_check


def files(plan: Plan, facts: Facts, run: dict[str, str]) -> dict[str, str]:
    cpu, nodes = on_cpu(plan), plan.hardware.nodes.value
    parts = {
        "target": _target(plan),
        "python_check": python_check(plan),
        "cpu": cpu,
        "deterministic": plan.deterministic.value and not cpu,
        "repeats": plan.deterministic.value or cpu,
        "eager": OPTIMIZERS[plan.optim.optimizer.value].compiles,
        "multi_node": nodes > 1,
        "last_node": nodes - 1,
    }
    text = templates.fill("launch.sh", {"plan": plan, "run": run, "parts": parts})
    return {"launch.sh": text}


def _target(plan: Plan) -> str:
    nodes, devices = plan.hardware.nodes.value, plan.hardware.devices_per_node.value
    if plan.hardware.accelerator is None:
        return "on the CPU, in " + (
            "1 process" if nodes * devices == 1 else f"{nodes * devices} processes"
        )
    where = "this machine" if nodes == 1 else f"each of {nodes} nodes"
    return f"on {devices} x {quote.comment(plan.hardware.accelerator)} of {where}"
