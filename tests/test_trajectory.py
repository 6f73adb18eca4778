"""Steps of an emitted script against those of a loop in transformers, PEFT and torch alone, written anew here."""

import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from .emitted import begin
from .test_executed import METHODS

pytestmark = pytest.mark.executed

STEPS, WARMUP, PEAK, LIMIT, DECAY = 8, 3, 5e-3, 0.5, 0.1
KEYS = {
    "train.max_steps": str(STEPS),
    "optim.warmup_ratio": None,
    "optim.warmup_steps": str(WARMUP),
    "optim.learning_rate": str(PEAK),
    "optim.max_grad_norm": str(LIMIT),
    "optim.weight_decay": str(DECAY),
}


def plain_model(folder, method):
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    if method == "full":
        return model
    torch.manual_seed(7)
    return get_peft_model(
        model,
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
    )


def rate(step: int) -> float:
    if step < WARMUP:
        return PEAK * (step + 1) / WARMUP
    return PEAK * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


@pytest.mark.parametrize("method", ["full", pytest.param("lora", marks=pytest.mark.slow)])
def test_a_run_takes_the_steps_of_a_plain_loop(compiled, monkeypatch, tiny_model, method):
    """Each sample by itself, one after the other; clipped, decayed, with a warm-up and a cosine."""
    alpha = {"method.alpha": "8"} if method == "lora" else {}
    run = compiled(**METHODS[method], **KEYS, **alpha)
    run.launch()
    stream = begin(run, monkeypatch).stream
    model = plain_model(tiny_model, method)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, PEAK, weight_decay=DECAY)
    losses, norms = [], []
    for step in range(STEPS):
        samples = [stream.samples[int(number)] for number in stream.numbers(step)]
        count = sum(int(sample.loss[1:].sum()) for sample in samples)
        total = 0.0
        for sample in samples:
            ids = torch.from_numpy(sample.ids.astype("int64"))[None]
            labels = torch.where(torch.from_numpy(sample.loss.copy()), ids[0], -100)[1:]
            logits = model(input_ids=ids).logits[0, :-1]
            loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum") / count
            loss.backward()
            total += loss.item()
        losses.append(total)
        norms.append(float(torch.nn.utils.clip_grad_norm_(trained, LIMIT)))
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.step()
        optimizer.zero_grad()
    assert max(norms) > LIMIT
    assert run.losses() == pytest.approx(losses, rel=1e-5)
    steps = [record for record in run.records() if "loss" in record]
    assert [record["grad_norm"] for record in steps] == pytest.approx(norms, rel=1e-4)
    assert [record["learning_rate"] for record in steps] == pytest.approx(
        [rate(step) for step in range(STEPS)], rel=1e-6
    )
