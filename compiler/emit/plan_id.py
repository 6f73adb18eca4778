"""What stands for a plan: its values, and eight digits of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..plan.plan import Plan
from ..plan.values import leaves


def plan_values(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, dotted path -> value: what the lock records and the id covers."""
    return {path: value.value for path, value in leaves(plan)}


def plan_id(plan: Plan) -> str:
    """Eight hexadecimal digits that stand for the plan's values and its chat template."""
    text = json.dumps([plan_values(plan), plan.template], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
