"""What the shell scripts of a run have in common."""

from __future__ import annotations

from ..plan.plan import Plan
from . import templates


def python_check(plan: Plan) -> str:
    """Looks for a python that has the runtime."""
    needs = "requirements.txt" if plan.vendor_runtime.value else "ftc, with requirements.txt,"
    return templates.fill("python_check.sh", {"needs": needs}).rstrip("\n")


def on_cpu(plan: Plan) -> bool:
    return plan.hardware.device.value == "cpu"
