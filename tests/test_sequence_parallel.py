"""Processes that share each sequence train what one process trains."""

import importlib
import runpy
import shutil

import pytest
import torch
from ftc.compiler.rules.parallel import heads_can_be_shared
from ftc.runtime.process import distributed
from transformers import modeling_flash_attention_utils

from .emitted import begin
from .test_executed import METHODS, NO_DROPOUT, NORMS, equal
from .test_stop import edit

SHARED = {"hardware.devices_per_node": "2", "parallel.sequence_parallel_size": "2"}


def assert_same(run, alone):
    for each in (alone, run):
        each.launch()
    records = [[r for r in each.records() if "loss" in r] for each in (alone, run)]
    for value in ("loss", "grad_norm", "supervised_tokens", "tokens"):
        ours, theirs = ([r[value] for r in each] for each in records)
        assert ours == pytest.approx(theirs, rel=1e-5), value


@pytest.mark.parametrize("size", [2, 3, 7])
def test_slices_make_up_the_row(compiled, monkeypatch, size):
    held = begin(compiled(**SHARED), monkeypatch)
    whole = held.stream.step(0).micro_batches[0]
    parts = []
    for rank in range(size):
        monkeypatch.setattr(distributed, "place", lambda rank=rank: (rank, size))
        parts.append(held.sequence_parallel.share(whole, size))
    assert len({part.input_ids.shape for part in parts}) == 1
    ids = torch.cat([part.input_ids for part in parts], 1)
    count = whole.input_ids.shape[1]
    assert torch.equal(ids[:, :count], whole.input_ids) and ids.shape[1] - count < size
    positions = torch.cat([part.position_ids for part in parts], 1)
    assert torch.equal(positions[:, :count], whole.position_ids)
    assert all(sum(part.lengths) == ids.shape[1] for part in parts)
    width = parts[0].input_ids.shape[1]
    places = torch.cat([part.predict_at + rank * width for rank, part in enumerate(parts)])
    assert torch.equal(places, whole.predict_at)
    assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)


@pytest.mark.slow
@pytest.mark.executed
def test_two_processes_that_share_rows_train_what_one_trains(compiled, alone):
    """And what they save is exported."""
    run = compiled(**NO_DROPOUT, **SHARED)
    run.launch()
    assert run.losses() == pytest.approx(alone(**NO_DROPOUT), rel=1e-5)
    norms = [record["grad_norm"] for record in run.records() if "loss" in record]
    assert norms == pytest.approx(NORMS, rel=1e-4)
    assert "trained and re-loaded: largest difference" in run.bash("convert.sh").stdout


@pytest.mark.slow
@pytest.mark.parametrize("method, stage", [("full", 0), ("lora", 1), ("qlora", 2)])
def test_each_method_and_stage(compiled, method, stage):
    keys = {**METHODS[method], "data.validation_fraction": "0.15"}
    run = compiled(**keys, **SHARED, **{"parallel.zero_stage": str(stage)})
    alone = compiled("alone", **keys)
    assert_same(run, alone)
    ours, theirs = (
        [r["validation_loss"] for r in each.records() if "validation_loss" in r]
        for each in (run, alone)
    )
    assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.slow
def test_two_groups_of_two(compiled):
    keys = {**SHARED, "hardware.devices_per_node": "4"}
    assert_same(compiled(**METHODS["full"], **keys), compiled("alone", **METHODS["full"]))


@pytest.mark.slow
def test_a_model_that_mixes_tokens_elsewhere_is_found_out(compiled):
    run = compiled(**NO_DROPOUT, **SHARED)
    slices = (
        "    sequence_parallel.ALL_ATTENTION_FUNCTIONS['segment_sdpa'] = (\n"
        "        lambda module, q, k, v, mask, **more: attention.segment_sdpa(module, q, k, v, mask)\n"
        "    )\n"
    )
    edit(run, "    engine, optimizer, _, _ =", f"{slices}    engine, optimizer, _, _ =")
    done = run.launch(check=False)
    assert done.returncode == 2 and "error[rows-not-shared]" in done.stderr


@pytest.mark.slow
def test_heads_that_can_not_be_shared_are_told(compiled, monkeypatch):
    """Of a model whose heads the compiler knows it refuses this itself; of others, launch.sh does."""
    module = importlib.import_module(
        "ftc.compiler.check.validate"
    )  # a function of the package hides it
    rules = [rule for rule in module.RULES if rule is not heads_can_be_shared]
    monkeypatch.setattr(module, "RULES", rules)
    keys = {"hardware.devices_per_node": "3", "parallel.sequence_parallel_size": "3"}
    done = compiled(**NO_DROPOUT, **keys).launch(check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "deepspeed refuses this: Attention head count 4 is not divisible" in done.stderr


@pytest.mark.slow
def test_muon_uneven_rows_evaluation_samples_and_a_resume(compiled):
    """All at once: what one process trains, evaluates and says; gone on with, bit for bit."""
    keys = {**METHODS["full"], "optim.optimizer": '"muon"', "optim.max_grad_norm": "0.0"}
    keys |= {"data.packing": "false", "data.validation_fraction": "0.15", "train.eval_every": "2"}
    keys |= {
        "samples.prompts": '["the model"]',
        "samples.every": "2",
        "samples.max_new_tokens": "6",
    }
    keys |= {"train.save_every": "3", "train.keep_checkpoints": "9"}
    alone, run = compiled("alone", **keys), compiled(**keys, **SHARED)
    again = compiled("again", **keys, **SHARED)
    alone.launch()
    run.launch()
    shutil.copytree(
        run.folder / "checkpoints/step-000003", again.folder / "checkpoints/step-000003"
    )
    again.launch("--resume", "latest")
    assert run.losses() == pytest.approx(alone.losses(), rel=1e-5)
    assert again.losses() == run.losses()[3:] and equal(again.weights(), run.weights())
    ours, theirs = (
        [r["validation_loss"] for r in each.records() if "validation_loss" in r]
        for each in (run, alone)
    )
    assert ours == pytest.approx(theirs, rel=1e-5) and len(ours) == 3
    answers = [(each.folder / "logs/samples.jsonl").read_text() for each in (run, alone)]
    assert answers[0] == answers[1] and answers[0].count("\n") == 4


def test_flash_attention_is_told_of_the_whole_row(compiled, monkeypatch, tiny_model):
    """What the script for GPUs gives transformers reaches the kernel: samples stay apart, slice or row."""
    keys = {"hardware.device": '"cuda"', "hardware.accelerator": '"A100-80G"'}
    run = compiled("gpu", **keys, **{"model.attention": '"flash_attention_2"'}, **SHARED)
    script = runpy.run_path(str(run.folder / "train.py"))
    seen = []

    def kernel(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, **_):
        lengths = cu_seqlens_q.diff().tolist()
        assert torch.equal(cu_seqlens_q, cu_seqlens_k) and sum(lengths) == len(q)
        assert max_seqlen_q == max_seqlen_k == max(lengths) and cu_seqlens_q.dtype == torch.int32
        seen.append(lengths)
        parts = zip(*(x.transpose(0, 1).split(lengths, 1) for x in (q, k, v)), strict=True)
        attend = torch.nn.functional.scaled_dot_product_attention
        each = [attend(*part, is_causal=True, enable_gqa=True) for part in parts]
        return torch.cat(each, 1).transpose(0, 1)

    def arguments(**given):
        return {k: v for k, v in given.items() if k.startswith("max_seqlen")}

    found = ((None, kernel, None, None, None), (arguments, None))
    monkeypatch.setattr(
        modeling_flash_attention_utils, "lazy_import_flash_attention", lambda *_: found
    )
    held = begin(compiled(**NO_DROPOUT), monkeypatch)
    whole = held.stream.step(0).micro_batches[0]
    expected = held.head(held.model.eval(), whole)
    held.model.config._attn_implementation = "flash_attention_2"
    torch.testing.assert_close(script["head"](held.model, whole), expected, rtol=0, atol=1e-5)
    assert seen[0] == whole.lengths and len(whole.lengths) > 1
    monkeypatch.setattr(distributed, "place", lambda: (1, 2))
    part = script["sequence_parallel"].share(whole, 2)
    assert part.cu_seq_lens[-1] == 2 * part.input_ids.shape[1], (
        "of the row that the kernel will see"
    )
