"""[deploy] -> its plan."""

from __future__ import annotations

from typing import NamedTuple

from ..catalog.engines import ENGINES, engine_for
from ..facts.gather import Facts
from ..spec.spec import Spec
from .model import ModelPlan
from .take import Taker, derived, target
from .values import Value


def deploy_plan(spec: Spec, facts: Facts, take: Taker, model: ModelPlan) -> DeployPlan:
    engine: Value[str] = take("deploy.engine")
    if engine.value == "auto":
        engine = derived(engine_for(spec.hardware.device), f"what serves on {target(spec)}")
    row = ENGINES[engine.value]
    backend = row.backend(facts.traits)
    why = f"{engine.value}'s engine for {facts.model_type or 'any architecture'}"
    return take.fill(
        DeployPlan,
        "deploy",
        engine=engine,
        backend=derived(backend.name, why) if backend else None,
        tp=_serving_devices(spec, facts) if row.tp else None,
        session_len=_session_len(facts, take, model, row.session_len),
        model_name=take.set("deploy.model_name") or derived(spec.name, "the run's name"),
    )


def _session_len(facts: Facts, take: Taker, model: ModelPlan, told: bool) -> Value[int] | None:
    """What is asked for, or else the positions that the model has: those it was trained on may be fewer.

    `told`: else the server looks these up itself.
    """
    known = facts.architecture.max_position if facts.architecture else None
    longest = model.max_position.value if model.max_position else known
    can = derived(longest, "what the model can") if longest and told else None
    return take.given("deploy.session_len") or can


def _serving_devices(spec: Spec, facts: Facts) -> Value[int] | None:
    """The most devices of a node that share out the model; None for all of them.

    lmdeploy asserts that the heads, and those of keys and values, are a multiple of --tp (its
    pytorch/config.py and turbomind/builders). What else it cuts up, a divisor of the devices or a power
    of two divides, too. Of heads that are not known, a power of two does.
    """
    known, devices = facts.architecture, spec.hardware.devices_per_node
    heads = known.num_heads if known else None
    able = {2**n for n in range(devices.bit_length())}
    able |= {d for d in range(1, devices + 1) if heads and devices % d == 0}
    most = max(d for d in able if known is None or known.shares_heads(d))
    if most == devices:
        return None
    what = f"{heads} heads" if heads else "the heads of most models"
    return derived(most, f"what {what} can be shared out to, of {devices} devices")


class DeployPlan(NamedTuple):
    """`tp`: the devices that share the model, where they are not all of a node.

    `session_len` is None where the model's config.json says what it can: always to transformers, unless it is set.
    """

    engine: Value[str]
    backend: Value[str] | None
    tp: Value[int] | None
    session_len: Value[int] | None
    host: Value[str]
    port: Value[int]
    model_name: Value[str]
    api_key_env: Value[str] | None
