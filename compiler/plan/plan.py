"""The plan: every number of a run, decided, each with its origin."""

from __future__ import annotations

from typing import NamedTuple

from .data import DataPlan
from .deploy import DeployPlan
from .hardware import HardwarePlan
from .method import MethodPlan
from .model import ModelPlan
from .optim import OptimPlan
from .outputs import ChatPlan, ExportPlan, SamplesPlan, TrackingPlan
from .parallel import ParallelPlan
from .train import BatchPlan, TrainPlan
from .values import Value


class Plan(NamedTuple):
    name: Value[str]
    seed: Value[int]
    deterministic: Value[bool]
    vendor_runtime: Value[bool]
    summary: Value[str]
    model: ModelPlan
    method: MethodPlan
    data: DataPlan
    batch: BatchPlan
    optim: OptimPlan
    train: TrainPlan
    hardware: HardwarePlan
    parallel: ParallelPlan
    samples: SamplesPlan | None
    tracking: TrackingPlan | None
    export: ExportPlan
    chat: ChatPlan
    deploy: DeployPlan
    template: str  # the chat template's text, which the run carries as chat_template.jinja
