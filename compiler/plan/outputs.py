"""[samples], [tracking], [export] and [chat] -> their plans."""

from __future__ import annotations

from typing import NamedTuple

from ..spec.spec import Spec
from .method import MethodPlan
from .take import Taker, derived
from .values import Value


class SamplesPlan(NamedTuple):
    prompts: Value[list[str]]
    every: Value[int] | None
    at_checkpoints: Value[bool] | None
    system: Value[str] | None
    max_new_tokens: Value[int]


class TrackingPlan(NamedTuple):
    trackers: Value[list[str]]
    project: Value[str]
    run_name: Value[str]
    online: Value[bool]


class ExportPlan(NamedTuple):
    merge: Value[bool]
    max_shard_size: Value[str]
    tolerance: Value[float]


class ChatPlan(NamedTuple):
    system: Value[str] | None
    max_new_tokens: Value[int]
    temperature: Value[float] | None
    top_p: Value[float] | None
    repetition_penalty: Value[float]


# How much logits may differ between what was trained and what is exported, relative to the largest
# logit: float32 leaves rounding only; merging into 8 or 11 bits of mantissa rounds every weight.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}


def tracking_plan(spec: Spec, take: Taker) -> TrackingPlan | None:
    if spec.tracking is None:
        return None
    name = take.set("tracking.run_name") or derived(spec.name, "the run's name")
    return take.fill(TrackingPlan, "tracking", run_name=name)


def export_plan(take: Taker, dtype: str, method: MethodPlan) -> ExportPlan:
    stored = method.quantization
    if stored and stored.compute_dtype and dtype == "float32":
        dtype = stored.compute_dtype.value
    tolerance = derived(TOLERANCE[dtype], f"rounding in {dtype}")
    if stored and stored.bits.value == 8:
        tolerance = derived(TOLERANCE["bfloat16"], "an 8-bit base rounds its inputs, too")
    return take.fill(ExportPlan, "export", tolerance=tolerance)


def chat_plan(spec: Spec, take: Taker) -> ChatPlan:
    top_p = take("chat.top_p") if spec.chat.temperature > 0 else None
    return take.fill(ChatPlan, "chat", top_p=top_p)
