"""The proof of no dead key, proven: templates that forget a value of the plan are found out.

A mutant writes one value of the plan as it was for another spec, wherever a template asks for it. Then
`test_no_key_is_dead` must fail for a key that decides the value.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from ftc.compiler.emit import templates
from jinja2 import nodes

from .changes import CHANGES, put
from .specs import render
from .test_dead_keys import emitted

# Values that reach the run in more ways than through templates: what else says them.
ELSEWHERE = {
    "plan.batch.global_batch_size": "ds_config.json",
    "plan.batch.gradient_accumulation_steps": "ds_config.json",
    "plan.batch.micro_batch_size": "ds_config.json",
    "plan.batch.world_size": "launch.sh has the processes of a node",
    "plan.export.tolerance": "it follows from the dtype",
    "plan.hardware.device": "the passages that only a CPU or a GPU has",
    "plan.hardware.devices_per_node": "ds_config.json has what each of them computes",
    "plan.method.lora.dropout": "MLPs are fused without it alone",
    "plan.method.lora.parameters": "it follows from the rank and the layers",
    "plan.method.lora.rank": "the number of parameters follows from it",
    "plan.method.quantization.bits": "convert.sh has it, too",
    "plan.method.quantization.double_quant": "convert.sh has it, too",
    "plan.model.dtype": "ds_config.json, and attention follows from it",
    "plan.model.max_position": "it follows from rope_scaling",
    "plan.model.rope_scaling": "convert.sh and chat.py have it, too",
    "plan.optim.max_grad_norm": "ds_config.json",
    "plan.tracking.trackers": "requirements.txt has their packages",
}


def dotted(node: nodes.Node) -> str:
    """plan.optim.eps, for a chain of attributes; "" for anything else."""
    match node:
        case nodes.Name(name=name):
            return name
        case nodes.Getattr(node=inner, attr=attr):
            return f"{dotted(inner)}.{attr}" if dotted(inner) else ""
        case _:
            return ""


class Templates:
    """Stands in for `templates._value`: notes what each value was, or gives what it was before."""

    def __init__(self) -> None:
        self.original = templates._value
        self.seen: dict[tuple[str, str], Any] = {}
        self.frozen: dict[tuple[str, str], Any] = {}

    def __call__(self, node: nodes.Node, scope: dict[str, Any]) -> Any:
        value = self.original(node, scope)
        if not (isinstance(node, nodes.Filter) and node.node is not None):
            return value
        path = dotted(node.node)
        if not path.startswith("plan.") or node.name in ("origin", "comment", "comment_lines"):
            return value
        self.seen.setdefault((path, node.name), value)
        return self.frozen.get((path, node.name), value)


def test_a_template_that_forgets_a_value_is_found_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Templates()
    monkeypatch.setattr(templates, "_value", watch)
    first: dict[str, tuple[dict[tuple[str, str], Any], dict[str, str]]] = {}
    decide = defaultdict(list)  # a value of the plan -> the keys that change it
    for key, (one, other, data) in CHANGES.items():
        sides = []
        for value in (one, other):
            watch.seen = {}
            files = emitted(render(put(data, key, value), folder))
            sides.append((watch.seen, files))
        first[key] = sides[0]
        for path in {path for path, _ in sides[0][0].keys() & sides[1][0].keys()}:
            before, after = (
                {name: value for (p, name), value in seen.items() if p == path} for seen, _ in sides
            )
            if before != after:
                decide[path].append(key)
    survivors = []
    for path, keys in decide.items():
        dead = []
        for key in keys:
            seen, files = first[key]
            watch.frozen = {place: value for place, value in seen.items() if place[0] == path}
            _, other, data = CHANGES[key]
            dead += [key] if emitted(render(put(data, key, other), folder)) == files else []
        watch.frozen = {}
        survivors += [] if dead else [path]
    assert len(decide) > 40
    assert sorted(survivors) == sorted(ELSEWHERE)
