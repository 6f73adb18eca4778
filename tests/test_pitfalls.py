"""Ways in which fine-tuning goes wrong that no other test covers; docs/pitfalls.md lists them all."""

import ast
import dataclasses
import json
import math
import re

import numpy as np
import pytest
import torch
from ftc.runtime import data
from ftc.runtime.data import tokens
from ftc.runtime.process import distributed
from ftc.runtime.rows import Conversation
from ftc.runtime.train import evaluate

from . import tiny
from .conftest import ROOT
from .emitted import begin
from .test_executed import FULL, METHODS, NO_DROPOUT

PAGE = (ROOT / "docs/pitfalls.md").read_text("utf-8")
PROOFS = re.findall(r"`(tests/\w+\.py)::(\w+)`", PAGE)


def test_the_page_lists_thirty_each_with_its_proof():
    rows = re.findall(r"^\| (\d+) \|.*\|$", PAGE, re.M)
    assert [int(number) for number in rows] == list(range(1, 31))
    assert all("::test_" in row for row in re.findall(r"^\| \d+ \|.*", PAGE, re.M))


@pytest.mark.parametrize("path, name", sorted(set(PROOFS)))
def test_the_proofs_exist(path, name):
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_a_row_that_teaches_nothing_is_dropped_and_counted(compiled, monkeypatch):
    run = compiled()
    quiet = {"role": "assistant", "content": "not to be learnt", "loss": False}
    silent = {"messages": [{"role": "user", "content": "a question"}, quiet]}
    with (run.folder / "data/rows.jsonl").open("a") as file:
        file.write(json.dumps(silent) + "\n")
    held = begin(run, monkeypatch)
    (ledger,) = json.loads((run.folder / "logs/data.json").read_text())
    assert ledger["dropped"]["no token carries loss"]["first"] == ["data/rows.jsonl:41"]
    assert all(tiny.num_supervised(sample) for sample in held.train_set)


class Unigram(torch.nn.Module):
    """Gives every token the same logits, so that the true loss is easily counted."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(64, generator=torch.manual_seed(0)))


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("max_seq_length", [30, 64, 1000])
def test_every_token_of_the_validation_set_counts_once(monkeypatch, ranks, max_seq_length):
    """Whatever the rows that share a sequence, and with ranks that have a sequence more than others."""
    chance = np.random.default_rng(0)
    held_out = tiny.in_memory(
        [
            tokens.Sample(chance.integers(3, 64, n, np.int32), chance.random(n) < 0.5, f"{n}")
            for n in (30, 2, 3, 17, 9, 30, 2, 5, 11, 30)
        ]
    )
    model, seen, totals = Unigram(), [], np.zeros(2)

    def forward(engine, batch):
        seen.extend(batch.targets.tolist())
        return -engine.weight.log_softmax(0)[batch.targets]

    def total(values):
        nonlocal totals
        totals = totals + list(values)
        return totals.tolist()

    monkeypatch.setattr(distributed, "total", total)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: ranks)
    for rank in range(ranks):  # the last one has the sums of all
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        sequences = data.pack(held_out, max_seq_length)
        found = evaluate.loss(model, forward, held_out, sequences, "cpu")
    expected = [
        i for s in held_out for i, learnt in zip(s.ids[1:], s.loss[1:], strict=True) if learnt
    ]
    assert sorted(seen) == sorted(expected)
    truth = -model.weight.log_softmax(0)[expected].mean().item()
    assert found == pytest.approx(truth, rel=1e-6)
    assert model.training, "evaluation ends where it began"


@pytest.mark.parametrize("alone", [True, False])
def test_samples_that_train_alone_are_validated_alone(compiled, monkeypatch, alone):
    """A state that runs through a row would make another validation loss of rows that are shared."""
    run = compiled(
        **{
            "data.packing": "false",
            "data.validation_fraction": "0.5",
            "train.micro_batch_size": "1" if alone else "2",
        }
    )
    sequences = begin(run, monkeypatch).validation_sequences
    assert all(len(sequence) == 1 for sequence in sequences) == alone


def test_an_end_token_that_pads_too_is_learnt(tiny_model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = tiny.TEMPLATE.read_text("utf-8")
    tokenizer.pad_token = tokenizer.eos_token
    conversations = [Conversation(row["messages"]) for row in tiny.rows(9)]
    samples = list(tokens.chat_samples(tokenizer, conversations, ["row"] * 9, "assistant"))
    answers = [m for c in conversations for m in c.messages if m["role"] == "assistant"]
    targets = data.batch(samples).targets.tolist()
    assert targets.count(tokenizer.eos_token_id) == len(answers)


def test_the_planned_steps_are_those_that_run(compiled, monkeypatch):
    """Packed rows, uneven ends: all ranks have as many micro-batches, and nothing is left or short."""
    run = compiled(**{"train.max_steps": None, "train.num_epochs": "3"})
    held = begin(run, monkeypatch)
    for world_size, accumulated in ((1, 4), (2, 2), (4, 1)):
        ranks = [
            dataclasses.replace(
                held.stream,
                rank=rank,
                world_size=world_size,
                gradient_accumulation_steps=accumulated,
            )
            for rank in range(world_size)
        ]
        planned, learnt = 0, 0
        for number in range(held.total_steps):
            parts = [stream.step(number) for stream in ranks]
            assert {len(part.micro_batches) for part in parts} == {accumulated}
            assert len({part.num_supervised for part in parts}) == 1 and parts[0].num_tokens
            planned += parts[0].num_supervised
            learnt += sum(len(batch.targets) for part in parts for batch in part.micro_batches)
        assert planned == learnt == 3 * sum(map(tiny.num_supervised, held.train_set))
        assert ranks[0].step(held.total_steps).num_tokens == 0


def gradients(held):
    """Those of the trained weights, of a micro-batch."""
    micro_batch = held.stream.step(0).micro_batches[0]
    torch.manual_seed(0)
    held.losses(held.model.train(), micro_batch).mean().backward()
    return {n: p.grad for n, p in held.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("method", METHODS)
def test_recomputed_activations_give_the_same_gradients(compiled, monkeypatch, method):
    """Also where all inputs of the first block are frozen."""
    keys = {**METHODS[method], "model.gradient_checkpointing": "true"}
    plain = gradients(begin(compiled("plain", **METHODS[method]), monkeypatch))
    held = begin(compiled("recomputed", **keys), monkeypatch)
    recomputed = gradients(held)
    blocks = [m for m in held.model.modules() if getattr(m, "gradient_checkpointing", False)]
    assert blocks, "checkpointing is on"
    assert plain.keys() == recomputed.keys() and len(plain) > 10
    for name, gradient in plain.items():
        assert gradient is not None and torch.equal(gradient, recomputed[name]), name
    zero = {name for name, gradient in plain.items() if not gradient.any()}
    assert zero == {name for name in plain if "lora_A" in name}  # B begins at zero


def test_the_script_and_deepspeed_are_told_the_same(compiled, monkeypatch):
    run = compiled(**{"hardware.devices_per_node": "2", "train.global_batch_size": "24"})
    held, told = begin(run, monkeypatch), json.loads((run.folder / "ds_config.json").read_text())
    assert told["train_batch_size"] == held.GLOBAL_BATCH_SIZE == 24
    assert told["train_micro_batch_size_per_gpu"] == held.MICRO_BATCH_SIZE == 2
    assert told["gradient_accumulation_steps"] == held.GRADIENT_ACCUMULATION_STEPS == 6
    assert held.stream.global_batch_size == 24 and "auto" not in json.dumps(told)
    # What the script does itself, DeepSpeed is not asked to do again.
    assert not told.keys() & {"optimizer", "scheduler", "gradient_predivide_factor"}


def test_what_is_learnt_and_how_long_stands_in_the_script(compiled, monkeypatch):
    """No silent limit, no silent scope: both are constants with their origin, and both are kept."""
    run = compiled()
    text = (run.folder / "train.py").read_text()
    assert "MAX_SEQ_LENGTH = 96  # spec" in text and 'LOSS_ON = "assistant"  # default' in text
    held = begin(run, monkeypatch)
    ledger = json.loads((run.folder / "logs/data.json").read_text())[0]
    steps = [held.stream.step(number) for number in range(math.ceil(len(held.sequences) / 8))]
    lengths = [n for step in steps for batch in step.micro_batches for n in batch.lengths]
    assert max(lengths) == ledger["longest"]


@pytest.mark.slow
def test_stages_take_the_same_steps_in_bfloat16(compiled):
    """At stage 0 DeepSpeed begins with a step of its own: AdamW's later ones would be too small."""
    losses = []
    for stage in ("0", "1"):
        keys = {"model.dtype": '"bfloat16"', "parallel.zero_stage": stage, "train.max_steps": "4"}
        run = compiled(f"stage{stage}", **NO_DROPOUT, **keys)
        run.launch()
        losses.append(run.losses())
    assert losses[0] == pytest.approx(losses[1], rel=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method, stage", [(FULL, 0), (NO_DROPOUT, 1)], ids=["full", "lora"])
def test_small_steps_are_not_lost_in_bfloat16(compiled, method, stage):
    """The weights are bfloat16 and a step is far below its precision: float32 masters add them up."""
    keys = {"model.dtype": '"bfloat16"', "parallel.zero_stage": str(stage)}
    keys |= {"optim.learning_rate": "1e-6", "optim.lr_scheduler": '"constant"'}
    run = compiled(**method, **keys, **{"train.max_steps": "6", "train.save_every": "3"})
    run.launch()
    first, last = run.weights("checkpoints/step-000003"), run.weights()
    assert first.keys() == last.keys() and len(last) > 10
    for name, weight in last.items():
        assert weight.dtype == torch.float32 and not torch.equal(weight, first[name]), name
