"""[samples], [tracking], [export] and [chat] -> their plans."""

from __future__ import annotations

from typing import Any, NamedTuple

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


def samples_plan(spec: Spec, take: Taker) -> SamplesPlan | None:
    if spec.samples is None:
        return None
    return SamplesPlan(
        prompts=take("samples.prompts"),
        every=take.given("samples.every"),
        at_checkpoints=take.given("samples.at_checkpoints"),
        system=take.given("samples.system"),
        max_new_tokens=take("samples.max_new_tokens"),
    )


def tracking_plan(spec: Spec, take: Taker) -> TrackingPlan | None:
    if spec.tracking is None:
        return None
    name: Value[Any] = take("tracking.run_name")
    if name.value is None:
        name = derived(spec.name, "the run's name")
    return TrackingPlan(
        trackers=take("tracking.trackers"),
        project=take("tracking.project"),
        run_name=name,
        online=take("tracking.online"),
    )


def export_plan(take: Taker, dtype: str, method: MethodPlan) -> ExportPlan:
    stored = method.quantization
    if stored and stored.compute_dtype and dtype == "float32":
        dtype = stored.compute_dtype.value
    tolerance = derived(TOLERANCE[dtype], f"rounding in {dtype}")
    if stored and stored.bits.value == 8:
        tolerance = derived(TOLERANCE["bfloat16"], "an 8-bit base rounds its inputs, too")
    return ExportPlan(
        merge=take("export.merge"),
        max_shard_size=take("export.max_shard_size"),
        tolerance=tolerance,
    )


def chat_plan(spec: Spec, take: Taker) -> ChatPlan:
    samples = spec.chat.temperature > 0
    return ChatPlan(
        system=take.given("chat.system"),
        max_new_tokens=take("chat.max_new_tokens"),
        temperature=take("chat.temperature") if samples else None,
        top_p=take("chat.top_p") if samples else None,
        repetition_penalty=take("chat.repetition_penalty"),
    )
