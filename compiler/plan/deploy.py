"""[samples], [tracking], [export], [chat] and [deploy] -> their plans."""

from __future__ import annotations

from typing import Any

from ..catalog.architectures import TURBOMIND
from ..facts.gather import Facts
from ..spec.spec import Spec
from . import plan as p
from .plan import Value
from .take import Taker, derived, target

# How much logits may differ between what was trained and what is exported, relative to the largest
# logit: float32 leaves rounding only; merging into 8 or 11 bits of mantissa rounds every weight.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}


def samples_plan(spec: Spec, take: Taker) -> p.SamplesPlan | None:
    if spec.samples is None:
        return None
    return p.SamplesPlan(
        prompts=take("samples.prompts"),
        every=take.given("samples.every"),
        at_checkpoints=take.given("samples.at_checkpoints"),
        system=take.given("samples.system"),
        max_new_tokens=take("samples.max_new_tokens"),
    )


def tracking_plan(spec: Spec, take: Taker) -> p.TrackingPlan | None:
    if spec.tracking is None:
        return None
    name: Value[Any] = take("tracking.run_name")
    if name.value is None:
        name = derived(spec.name, "the run's name")
    return p.TrackingPlan(
        trackers=take("tracking.trackers"),
        project=take("tracking.project"),
        run_name=name,
        online=take("tracking.online"),
    )


def export_plan(take: Taker, dtype: str, method: p.MethodPlan) -> p.ExportPlan:
    stored = method.quantization
    if stored and stored.compute_dtype and dtype == "float32":
        dtype = stored.compute_dtype.value
    tolerance = derived(TOLERANCE[dtype], f"rounding in {dtype}")
    if stored and stored.bits.value == 8:
        tolerance = derived(TOLERANCE["bfloat16"], "an 8-bit base rounds its inputs, too")
    return p.ExportPlan(
        merge=take("export.merge"),
        max_shard_size=take("export.max_shard_size"),
        tolerance=tolerance,
    )


def chat_plan(spec: Spec, take: Taker) -> p.ChatPlan:
    samples = spec.chat.temperature > 0
    return p.ChatPlan(
        system=take.given("chat.system"),
        max_new_tokens=take("chat.max_new_tokens"),
        temperature=take("chat.temperature") if samples else None,
        top_p=take("chat.top_p") if samples else None,
        repetition_penalty=take("chat.repetition_penalty"),
    )


def deploy_plan(spec: Spec, facts: Facts, take: Taker, model: p.ModelPlan) -> p.DeployPlan:
    engine: Value[str] = take("deploy.engine")
    if engine.value == "auto":
        cpu = spec.hardware.device == "cpu"
        engine = derived("transformers" if cpu else "lmdeploy", f"what serves on {target(spec)}")
    backend = None
    if engine.value == "lmdeploy":
        kind = facts.architecture.model_type if facts.architecture else None
        fast = kind in TURBOMIND
        why = f"lmdeploy's engine for {kind}" if kind else "lmdeploy's engine for any architecture"
        backend = derived("turbomind" if fast else "pytorch", why)
    name: Value[Any] = take("deploy.model_name")
    if name.value is None:
        name = derived(spec.name, "the run's name")
    return p.DeployPlan(
        engine=engine,
        backend=backend,
        tp=_serving_devices(spec, facts) if backend else None,
        session_len=_session_len(facts, take, model, bool(backend)),
        host=take("deploy.host"),
        port=take("deploy.port"),
        model_name=name,
        api_key_env=take.given("deploy.api_key_env"),
    )


def _session_len(
    facts: Facts, take: Taker, model: p.ModelPlan, lmdeploy: bool
) -> Value[int] | None:
    """What is asked for, or else the positions that the model has: those it was trained on may be fewer.

    The server of transformers looks these up itself.
    """
    known = facts.architecture.max_position if facts.architecture else None
    longest = model.max_position.value if model.max_position else known
    can = derived(longest, "what the model can") if longest and lmdeploy else None
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
