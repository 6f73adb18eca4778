"""Gradients of micro-batches are summed so that what each adds is not lost: against one batch, and against float32."""

import pytest
import torch
from safetensors import safe_open

pytestmark = pytest.mark.executed

BFLOAT16 = {"model.dtype": '"bfloat16"', "method.dropout": "0.0", "data.packing": "false"}
ONE_STEP = {
    "train.max_steps": "1",
    "train.global_batch_size": "16",
    "train.save_every": "1",
    "optim.warmup_ratio": "0.0",
    "optim.max_grad_norm": "0.0",
}


def gradient(run):
    """The gradient of the first step, by AdamW's first moment (0.1 of it, in float32)."""
    found = {}
    for path in sorted((run.folder / "checkpoints/step-000001").glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118 # it is no dict
                if "/exp_avg/" in key:
                    found[key] = file.get_tensor(key).flatten()
    assert found
    return torch.cat([found[key] for key in sorted(found)])


def difference(one, other):
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("stage", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_sixteen_micro_batches_are_one_batch(compiled, stage):
    runs = {"many": {"train.micro_batch_size": "1"}, "one": {"train.micro_batch_size": "16"}}
    if stage == "2":  # by itself it would be a sum in 8 bits
        runs["lossy"] = {**runs["many"], "train.grad_accum_dtype": '"model"'}
    made = {}
    for name, values in runs.items():
        run = compiled(name, **BFLOAT16, **ONE_STEP, **values, **{"parallel.zero_stage": stage})
        assert ("grad_accum_dtype" in (run.folder / "ds_config.json").read_text()) == (
            name == "many"
        )
        run.launch()
        made[name] = gradient(run)
    # A gradient has 8 bits, so two that are right differ by 2e-3; a sum in 8 bits adds its own rounding.
    assert difference(made["many"], made["one"]) < 2.5e-3
    if "lossy" in made:
        assert difference(made["lossy"], made["one"]) > 2.5e-3
