"""Spec + Facts -> Plan: arithmetic and defaults, each value with its origin.

Pure: no I/O, no clock. Each table stands in the file of its name.
"""

from __future__ import annotations

from ..facts.chat_clock import fixed
from ..facts.checked import Checked
from . import plan as p
from .data import data_plan
from .deploy import deploy_plan
from .hardware import hardware_plan
from .method import method_plan
from .model import model_plan
from .optim import optim_plan
from .outputs import SamplesPlan, chat_plan, export_plan, tracking_plan
from .parallel import parallel_plan
from .summary import summary
from .take import Taker, derived
from .train import batch_plan, train_plan


def resolve(checked: Checked, spec_folder: str = "..") -> p.Plan:
    """Decides every number. `spec_folder`: the way from the run directory to the spec's folder."""
    spec, facts = checked.spec, checked.facts
    take = Taker(spec)
    model = model_plan(spec, facts, take, spec_folder)
    method = method_plan(spec, facts, take, model.dtype)
    parallel = parallel_plan(spec, take)
    plan = take.fill(
        p.Plan,
        "",
        summary=derived("", ""),
        model=model,
        method=method,
        data=data_plan(spec, facts, take, spec_folder),
        batch=batch_plan(spec, take, model.dtype.value, parallel.zero_stage.value),
        optim=optim_plan(spec, take),
        train=train_plan(spec, take),
        hardware=hardware_plan(spec, take, model.dtype.value),
        parallel=parallel,
        samples=take.fill(SamplesPlan, "samples") if spec.samples else None,
        tracking=tracking_plan(spec, take),
        export=export_plan(take, model.dtype.value, method),
        chat=chat_plan(spec, take),
        deploy=deploy_plan(spec, facts, take, model),
        template=fixed(facts.template or "", spec.model.date),
    )
    return plan._replace(summary=derived(summary(plan, facts), "the plan in words"))
