"""What stands for a plan: its id, and what each value comes to where that is not how it is written.

A run is the same one if its values come to the same: `./rows` is `rows`, a list of modules in another order
adapts the same ones. The lock records what is said here beside the value, and `ftc diff` and the run itself,
before it resumes, compare that.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from ..facts.gather import Facts
from .data import SourcePlan
from .plan import Plan
from .values import leaves

# Of these neither the order matters, nor whether one is named twice.
SETS = ("exclude_modules", "layers_to_transform", "modules_to_save", "target_modules")


def identities(plan: Plan, facts: Facts) -> dict[str, Any]:
    """By the path in the plan; None for what has no effect."""
    found: dict[str, Any] = {"model.base": _base(plan, facts)}
    groups = (("train", plan.data.train), ("validation", plan.data.validation))
    for group, sources in groups:
        for index, source in enumerate(sources):
            own = dict(_source(source, facts, (group, index)))
            found |= {f"data.{group}[{index}].{name}": value for name, value in own.items()}
    lora, freeze = plan.method.lora, plan.method.freeze
    if freeze:
        found["method.freeze"] = sorted(set(freeze.value))
    if lora:
        sets = {name: getattr(lora, name) for name in SETS}
        for name, value in sets.items():
            if value and not isinstance(value.value, str):
                found[f"method.lora.{name}"] = sorted(set(value.value))
        for name, unset in (("rank_pattern", lora.rank), ("alpha_pattern", lora.alpha)):
            if value := getattr(lora, name):
                found[f"method.lora.{name}"] = _pattern(value.value, unset.value)
    return found


def _base(plan: Plan, facts: Facts) -> str:
    """The weights themselves, where they are known: a preset and its Hub id name the same."""
    model = plan.model
    if model.package:
        return f"package {model.package.sha256.value}"
    if model.modelscope:
        return f"modelscope {model.modelscope.value}"
    if facts.local_model is None:
        return f"hub {(model.hub_id or model.base).value}"
    return f"folder {posixpath.normpath(model.base.value)}"


def _source(source: SourcePlan, facts: Facts, key: tuple[str, int]) -> Iterator[tuple[str, Any]]:
    file, found = facts.files.get(key), facts.formats.get(key)
    if found and found.code:
        yield "format", [found.code.sha256, found.code.function]
    if source.split and source.split.value == "train":
        yield "split", None
    most = source.max_samples
    if most and file and file.rows is not None and file.rows <= most.value:
        yield "max_samples", None


def _pattern(pattern: Mapping[str, int], unset: int) -> list[list[Any]] | None:
    """Without what says no more than the number for all layers. PEFT takes the first name that fits a
    layer, so that all of them and their order matter where one is the end of another."""
    names = list(pattern)
    if any(a.endswith(f".{b}") for a in names for b in names):
        return [[name, pattern[name]] for name in names]
    return [[name, pattern[name]] for name in sorted(names) if pattern[name] != unset] or None


def plan_values(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, dotted path -> value: what the lock records and the id covers."""
    return {path: value.value for path, value in leaves(plan)}


def plan_id(plan: Plan) -> str:
    """Eight hexadecimal digits that stand for the plan's values and its chat template."""
    text = json.dumps([plan_values(plan), plan.template], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
