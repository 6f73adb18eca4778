"""DeepSpeed's configuration: each value a number from the plan, never "auto"."""

from __future__ import annotations

import json
from typing import Any

from ..catalog.optimizers import OPTIMIZERS
from ..facts.gather import Facts
from ..plan.plan import Plan


def files(plan: Plan, facts: Facts, run: dict[str, str]) -> dict[str, str]:
    return {"ds_config.json": json.dumps(ds_config(plan), indent=2) + "\n"}


def ds_config(plan: Plan) -> dict[str, Any]:
    """What ds_config.json holds. Keys are DeepSpeed's own (deepspeed.ai/docs/config-json)."""
    config: dict[str, Any] = {
        "train_batch_size": plan.batch.global_batch_size.value,
        "train_micro_batch_size_per_gpu": plan.batch.micro_batch_size.value,
        "gradient_accumulation_steps": plan.batch.gradient_accumulation_steps.value,
        "gradient_clipping": plan.optim.max_grad_norm.value,
        "zero_optimization": _zero(plan),
        # train.py brings its own AdamW.
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1_000_000_000,
    }
    if plan.parallel.offload_optimizer.value:
        # DeepSpeedCPUAdam is no faster than torch's fused AdamW on the host, and must be compiled first.
        config["zero_force_ds_cpu_optimizer"] = False
    if plan.batch.grad_accum_dtype:
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    dtype = plan.model.dtype.value
    if dtype == "bfloat16":
        config["bf16"] = {"enabled": True}
    if dtype == "float16":
        config["fp16"] = {"enabled": True, "loss_scale": 0, "initial_scale_power": 16}
    return config


def _zero(plan: Plan) -> dict[str, Any]:
    stage = plan.parallel.zero_stage.value
    zero: dict[str, Any] = {"stage": stage}
    if stage >= 1 and plan.batch.world_size.value > 1 and plan.hardware.device.value == "cuda":
        zero["overlap_comm"] = True
    if plan.parallel.offload_optimizer.value:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if plan.parallel.offload_params.value:
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    if stage == 3 and not OPTIMIZERS[plan.optim.optimizer.value].elementwise:
        zero["reduce_scatter"] = False  # whole matrices are orthogonalized
    if stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    return zero
