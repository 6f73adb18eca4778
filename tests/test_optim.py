"""Optimizers and schedules, as compiled scripts use them."""

import ast
import math
import shutil

import pytest
import torch

from .conftest import Run
from .emitted import begin
from .specs import BASE, merged, render

FULL = {"method.kind": '"full"', "method.rank": None, "method.dropout": None}

# The last of six losses of full fine-tuning on the tiny model, in 1 process and in 2.
PINNED = {
    "adamw_8bit": 4.36873,
    "lion": 4.23183,
    "lion_8bit": 4.23155,
    "adafactor": 4.24817,
    "muon": 4.28308,
}
# A state in 8 bits is cut into blocks, and ZeRO cuts elsewhere.
EXACT = {"adamw_8bit": 1e-4, "lion": 2e-5, "lion_8bit": 2e-4, "adafactor": 2e-5, "muon": 2e-5}


QUICK = ("muon",)  # the one that trains some weights by another optimizer


@pytest.mark.executed
@pytest.mark.parametrize(
    "optimizer",
    [pytest.param(o, marks=[] if o in QUICK else [pytest.mark.slow]) for o in PINNED],
)
def test_an_optimizer_trains_and_resumes_exactly(compiled, optimizer):
    keys = {**FULL, "optim.optimizer": f'"{optimizer}"', "train.save_every": "4"}
    whole = compiled("whole", **keys)
    whole.launch()
    assert whole.losses()[-1] == pytest.approx(PINNED[optimizer], rel=1e-4)
    part = compiled("part", **keys)
    name = "checkpoints/step-000004"
    shutil.copytree(whole.folder / name, part.folder / name)
    part.launch("--resume", "latest")
    assert part.losses() == whole.losses()[4:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer, stage", [(o, s) for o in ("adamw_8bit", "muon") for s in (2, 3)]
)
def test_an_optimizer_in_two_processes(compiled, optimizer, stage):
    run = compiled(
        **FULL,
        **{
            "optim.optimizer": f'"{optimizer}"',
            "hardware.devices_per_node": "2",
            "parallel.zero_stage": str(stage),
        },
    )
    run.launch()
    assert run.losses()[-1] == pytest.approx(PINNED[optimizer], rel=EXACT[optimizer])


@pytest.mark.parametrize("shape", [(64, 128), (128, 64), (64, 64)])
def test_muon_is_torchs_muon_at_adamws_scale(shape):
    from ftc.runtime.train import optimizers

    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"layer": torch.nn.Linear(*shape)})
    ours, theirs = model["layer"].weight, model["layer"].weight.detach().clone().requires_grad_()
    reference = torch.optim.Muon([theirs], 1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    optimizer = optimizers.muon(model, 1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
    for _ in range(3):
        before = [weight.detach().clone() for weight in (ours, theirs)]
        theirs.grad = torch.randn_like(theirs)
        ours.grad = theirs.grad.clone()
        optimizer.step()
        reference.step()
    moves = [weight - start for weight, start in zip((ours, theirs), before, strict=True)]
    assert (moves[0] - moves[1]).norm() < 0.05 * moves[1].norm()


SHARE = {"warmup_ratio": 0.2}


@pytest.mark.parametrize(
    "optim, expected",
    [
        ({"lr_scheduler": "constant"}, lambda n: 1.0),
        ({"lr_scheduler": "linear"}, lambda n: 1 - (n - 4) / 16),
        ({"lr_scheduler": "linear", "min_lr_ratio": 0.1}, lambda n: 0.1 + 0.9 * (1 - (n - 4) / 16)),
        ({"lr_scheduler": "cosine"}, lambda n: 0.5 + 0.5 * math.cos(math.pi * (n - 4) / 16)),
        ({"lr_scheduler": "inverse_sqrt"}, lambda n: math.sqrt(4 / (n + 1))),
        (
            {"lr_scheduler": "warmup_stable_decay", "decay_ratio": 0.25},
            lambda n: min(1, (20 - n) / 5),
        ),
        (
            {"lr_scheduler": "warmup_stable_decay", "decay_ratio": 0.25, "min_lr_ratio": 0.5},
            lambda n: 0.5 + 0.5 * min(1, (20 - n) / 5),
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_the_emitted_schedule(folder, optim, expected):
    """Of 20 steps 4 warm up; `expected` is the share of the peak after that."""
    rate = learning_rate(folder, {**optim, **SHARE, "learning_rate": 1.0})
    assert [rate(n, 20) for n in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert [rate(n, 20) for n in range(4, 20)] == pytest.approx([expected(n) for n in range(4, 20)])


def learning_rate(folder, optim):
    """The function of that name in the train.py of a spec with this [optim]."""
    text = render(merged(BASE, {"optim": optim}), folder)["train.py"].content.decode()
    constants = ("LEARNING_RATE", "WARMUP_RATIO", "MIN_LR_RATIO", "DECAY_RATIO")
    kept = [
        node
        for node in ast.parse(text).body
        if (isinstance(node, ast.Assign) and node.targets[0].id in constants)
        or (isinstance(node, ast.FunctionDef) and node.name == "learning_rate")
    ]
    scope = {"math": math}
    exec(compile(ast.Module(kept, []), "train.py", "exec"), scope)
    return scope["learning_rate"]


def test_a_run_is_what_it_says(compiled):
    run: Run = compiled(**{"optim.optimizer": '"lion"'})
    text = (run.folder / "train.py").read_text()
    assert "from bitsandbytes.optim import Lion32bit" in text
    assert "bitsandbytes==" in (run.folder / "requirements.txt").read_text()


def test_a_warm_up_that_takes_the_whole_run_is_told_before_it(compiled, monkeypatch):
    """Of a run of epochs, whose steps are known when its rows are packed."""
    from ftc.runtime.errors import RunError

    length = {"train.max_steps": None, "train.num_epochs": "2"}
    run = compiled(**length, **{"optim.warmup_ratio": None, "optim.warmup_steps": "100"})
    with pytest.raises(RunError, match="and 100 of them are to warm up"):
        begin(run, monkeypatch)
