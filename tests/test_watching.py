"""What a run tells of itself, and what its validation losses decide: the best checkpoint, and when to stop."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from . import tiny
from .specs import lock_text


def test_a_run_stagnates_when_no_lower_loss_came() -> None:
    from ftc.runtime.checkpoint.validation import stagnates

    def after(*losses: float) -> bool:
        return stagnates(list(enumerate(losses)), 2)

    assert not after() and not after(3.0) and not after(3.0, 3.0)
    assert after(3.0, 3.0, 3.0) and after(2.0, 3.0, 2.5) and after(3.0, math.nan, math.nan)
    assert not after(3.0, 3.0, 2.9) and not after(3.0, 2.0, 2.5) and not after(math.nan, 3.0, 3.1)


def test_the_best_checkpoint_has_the_lowest_loss_of_its_own(tmp_path) -> None:
    """One between two evaluations has none, nor has a damaged one; the earlier of two equals is the best."""
    from ftc.runtime.checkpoint.validation import best

    states = {1: [[1, 3.0]], 2: [[1, 3.0]], 3: [[1, 3.0], [3, 2.0]], 4: [[3, 2.0], [4, 2.0]]}
    paths = [tmp_path / f"step-{step:06d}" for step in (1, 2, 3, 4, 5)]
    for path in paths:
        path.mkdir()
        step = int(path.name[5:])
        text = json.dumps({"step": step, "validation_losses": states.get(step)})
        (path / "state.json").write_text(text if step in states else "{")
        put_lock(path, "same")
    assert best(paths) == paths[2]
    assert best([paths[1], paths[4]]) is None


def test_losses_on_other_validation_data_are_no_match(tmp_path) -> None:
    from ftc.runtime.checkpoint.validation import best

    paths = []
    for step, loss, digest in ((1, 1.0, "a"), (2, 3.0, "b"), (3, 2.5, "b")):
        paths.append(tmp_path / f"step-{step:06d}")
        paths[-1].mkdir()
        state = {"step": step, "validation_losses": [[step, loss]]}
        (paths[-1] / "state.json").write_text(json.dumps(state))
        put_lock(paths[-1], digest)
    assert best(paths) == paths[2]
    assert best(paths[:1]) == paths[0]


def put_lock(folder: Path, digest: str) -> None:
    """A lock of a run that is validated on data of this digest."""
    data = [
        {"group": group, "file": f"{group}.jsonl", "copied": True, "sha256": digest}
        for group, digest in (("train", "t"), ("validation", digest))
    ]
    plan = {
        f"data.{each['group']}[0].file": {"value": each["file"], "changes": "data"} for each in data
    }
    (folder / "ftc.lock").write_text(lock_text(plan=plan, facts={"data": data, "model": {}}))


@pytest.mark.parametrize("adapter", [False, True])
def test_flops_are_those_that_torch_counts(tiny_model, adapter) -> None:
    """Forward and backward, counted by torch operation by operation; causal attention as the whole square."""
    import torch
    from ftc.runtime.data import Step
    from ftc.runtime.train.flops import counter
    from peft import LoraConfig, get_peft_model
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation="eager")
    if adapter:
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    model.enable_input_require_grads()  # as if there were a trained layer before the first
    tokens, supervised = 60, 7
    with FlopCounterMode(display=False) as counted:
        ids = torch.arange(tokens)[None]
        output = model(input_ids=ids, logits_to_keep=supervised, use_cache=False)
        output.logits.sum().backward()
    step = Step([], supervised, tokens, tokens**2, 1, 0.0)
    assert counter(model)(step) == pytest.approx(counted.get_total_flops(), rel=0.02)


def test_flops_of_layers_with_other_heads() -> None:
    """Gemma 4 tells the heads of each layer, and refuses to tell them of all."""
    from ftc.runtime.data import Step
    from ftc.runtime.train.flops import counter

    from .architectures import make

    model = make("gemma4_text")
    dimensions = sum(4 * layer.head_dim for layer in model.config.per_layer_config)
    assert counter(model)(Step([], 0, 0, 100, 1, 0.0)) == 12 * 100 * dimensions


def test_flops_of_experts_and_of_packed_weights() -> None:
    """Experts that a token is not sent to don't count; 4-bit weights count as what they stand for."""
    import torch
    from ftc.runtime.train.flops import _cost

    experts = torch.nn.Parameter(torch.empty(8, 5, 3))
    config = SimpleNamespace(num_experts_per_tok=2)
    assert _cost(experts, config) == 6 * 2 * 5 * 3
    packed = torch.nn.Parameter(torch.empty(8, 1, dtype=torch.uint8), requires_grad=False)
    packed.quant_state = SimpleNamespace(shape=(4, 4))
    assert _cost(packed, config) == 4 * 16
    assert _cost(torch.nn.Parameter(torch.empty(9)), config) == 0


def test_mfu_is_what_was_done_of_what_could_be(tmp_path, monkeypatch) -> None:
    import torch
    from ftc.runtime.data import Step
    from ftc.runtime.process.clock import SPENT, apart
    from ftc.runtime.train import metrics

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    clock = iter([0.0, 2.0, 2.5, 5.5, 9.0])  # of which 3 s go to an evaluation
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: next(clock))
    monkeypatch.setitem(SPENT, "apart", 0.0)
    log = metrics.Log(3, 0, 1, flops=lambda step: 10**12 * step.num_tokens)
    numbers = {"loss": 1.0, "learning_rate": 0.1, "grad_norm": 1.0}
    for peak in (None, 5e12):
        log.peak = peak
        log.step(0, Step([], 2, 4, 16, 1, 0.5), **numbers)
        evaluation = apart(lambda: None) if peak is None else int
        evaluation()
    plain, measured = map(json.loads, (tmp_path / "logs/metrics.jsonl").read_text().splitlines())
    assert plain["tflops"] == 2.0 and "mfu" not in plain
    assert measured["tflops"] == 1.0 and measured["mfu"] == 0.2
    assert plain["tokens_per_second"] == 2.0 and measured["supervised_tokens_per_second"] == 0.5


def test_the_time_left_is_told_by_the_steps_that_were_taken(tmp_path, monkeypatch, capsys) -> None:
    """Also where a start goes on between two records."""
    import torch
    from ftc.runtime.data import Step
    from ftc.runtime.process.clock import SPENT
    from ftc.runtime.train import metrics

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    clock = iter([0.0, 20.0, 120.0])  # 10 s a step
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: next(clock))
    monkeypatch.setitem(SPENT, "apart", 0.0)
    log = metrics.Log(40, 8, 10, flops=lambda step: 1)
    capsys.readouterr()  # what DeepSpeed says when it is first imported
    for step in range(8, 20):
        log.step(step, Step([], 2, 4, 16, 1, 0.5), loss=1.0, learning_rate=0.1, grad_norm=1.0)
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("5:00 left") and second.endswith("3:20 left")


@pytest.fixture
def guard(tmp_path, monkeypatch):
    """A guard of a run with samples of 4 tokens, and the records that it writes."""
    import numpy as np
    import torch
    from ftc.runtime import data
    from ftc.runtime.data.tokens import Sample
    from ftc.runtime.train import guards

    monkeypatch.chdir(tmp_path)
    made = [Sample(np.arange(4), np.ones(4, bool), f"a.jsonl:{n}") for n in range(3)]
    samples = tiny.in_memory(made)
    sequences = data.one_by_one(samples)
    stream = data.Stream(samples, sequences, 1, 0, 1, 2, 1, device="cuda:0")
    records = []
    log = SimpleNamespace(writes=False, write=lambda **record: records.append(record))
    return guards.Guard(SimpleNamespace(module=torch.nn.Linear(1, 1)), stream, log), records


@pytest.mark.parametrize(("after", "kept"), [(0, []), (4, [0, 2, 4])])
def test_what_a_killed_start_wrote_is_written_once(after, kept, tmp_path, monkeypatch) -> None:
    """The samples before the first step go, too, where nothing was saved: they come again."""
    from ftc.runtime.train import metrics

    monkeypatch.chdir(tmp_path)
    metrics.FILE.parent.mkdir()
    file = metrics.FILE.parent / "samples.jsonl"
    lines = [
        json.dumps({"step": n, "answer": "a\u2028b"}, ensure_ascii=False) for n in (0, 2, 4, 6)
    ]
    for cut in ('{"step": 8', '{"step": 8, "answer": "{}', '{"step": 8}'):
        file.write_text("\n".join([*lines, cut]), "utf-8")
        metrics._forget(after)
        left = file.read_text("utf-8").split("\n")[:-1]
        assert [json.loads(line)["step"] for line in left] == kept


def test_a_loss_that_stays_high_is_not_told_for_ever(guard) -> None:
    watching, records = guard
    losses = [1.0, 1.1] * 10 + [5.0] + [1.0, 1.1] * 10 + [5.0] * 60
    for step, loss in enumerate(losses):
        watching._spike(step, loss)
    told = [record["step"] for record in records]
    assert told[:2] == [21, 42] and records[0]["rows"]
    assert told[1:] == list(range(42, 42 + len(told) - 1)) and len(told) < 15


def test_an_evaluation_is_no_step_that_hangs(guard, monkeypatch) -> None:
    """However long it takes; and as long as it moves, it does not hang."""
    from ftc.runtime.process import clock

    watching, _ = guard
    now = [100.0]
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])

    def evaluate() -> None:
        for _ in range(10):
            now[0] += 100
            assert clock.quiet() == 100
            clock.moved()

    watching._alive(1)
    clock.apart(evaluate)()
    assert clock.quiet() == 0
    now[0] += 3
    longest = watching.longest
    watching._alive(2)
    assert watching.longest <= max(longest, 3)


def test_a_full_memory_is_told_without_asking_for_more(guard, monkeypatch) -> None:
    """Of a device that isn't there at all, as it happens."""
    from ftc.runtime.train import guards

    plan = {
        "batch.micro_batch_size": 2,
        "model.max_seq_length": 9,
        "batch.world_size": 1,
        "parallel.zero_stage": 0,
    }
    plan = {key: {"value": value, "changes": ""} for key, value in plan.items()}
    Path("ftc.lock").write_text(lock_text(plan=plan))
    monkeypatch.setattr(guards.Guard, "latest", guard[0])
    told = str(guards.out_of_memory(MemoryError("full")))
    assert "full (rank 0; the step's micro-batches have 8 to 8 tokens)" in told


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer"), "lost"),
        (ConnectionResetError("Connection reset by peer"), 2),  # of a download, perhaps
    ],
)
def test_only_torch_loses_a_peer(error, code, monkeypatch, tmp_path) -> None:
    from ftc.runtime.train import launch

    monkeypatch.chdir(tmp_path)

    def ends(told):
        raise SystemExit(told)

    def fails(options):
        raise error

    monkeypatch.setattr(launch, "options", lambda: None)
    monkeypatch.setattr(launch.stop, "listen", lambda: None)
    monkeypatch.setattr(launch.stop, "end_with_parent", lambda parent: None)
    monkeypatch.setattr(launch, "_peer_lost", lambda error: ends("lost"))
    monkeypatch.setattr(launch, "_end", ends)
    with pytest.raises(SystemExit) as ended:
        launch.run(fails)
    assert ended.value.code == code


STAGNATES = {  # at a learning rate that changes no bit of the loss, the first one stays the lowest
    "data.validation_fraction": "0.2",
    "optim.learning_rate": "1e-30",
    "train.max_steps": "20",
    "train.eval_every": "1",
    "train.save_every": "1",
    "train.keep_best": "true",
    "train.early_stopping_patience": "3",
}


@pytest.mark.executed
def test_a_run_stops_early_and_exports_its_best_checkpoint(compiled) -> None:
    """Interrupted or not, after the same step; the best checkpoint outlives the newer ones."""
    whole = compiled("whole", **STAGNATES, **{"train.keep_checkpoints": "99"})
    said = whole.launch().stdout
    losses = {r["step"]: r["validation_loss"] for r in whole.records() if "validation_loss" in r}
    best, last = min(losses, key=losses.__getitem__), max(losses)
    assert (best, last) == (1, 4)
    assert f"Stopped early, after {last} steps: the validation loss was lowest" in said
    assert whole.records()[-1] == {"step": last, "stopped_early": True, "best_step": best}
    steps = [record for record in whole.records() if "loss" in record]
    assert all(r["tflops"] > 0 and 0.1 < r["peak_memory_gb"] < 9 for r in steps)
    assert "mfu" not in steps[0]  # nobody knows a CPU's peak, unless the spec says it

    peak = {"hardware.peak_tflops": "0.001"}
    part = compiled("part", **STAGNATES, **peak, **{"train.keep_checkpoints": "1"})
    first = f"step-{best + 1:06d}"
    for name in (first, f"step-{best:06d}"):
        shutil.copytree(whole.folder / "checkpoints" / name, part.folder / "checkpoints" / name)
    part.launch("--resume", first)
    assert part.losses() == whole.losses()[best + 1 :]
    for step in (record for record in part.records() if "loss" in record):
        assert step["mfu"] == pytest.approx(step["tflops"] / 0.001, rel=1e-3, abs=1e-4)
    kept = sorted(path.name for path in (part.folder / "checkpoints").iterdir())
    assert kept == [f"step-{best:06d}", f"step-{last:06d}"]
    again = part.launch("--resume", "latest").stdout
    assert f"Stopped early, after {last} steps" in again
    assert part.losses() == whole.losses()[best + 1 :]
    assert f"Converting checkpoints/step-{best:06d}" in part.bash("convert.sh").stdout


def test_a_norm_that_the_engine_does_not_clip_to_is_refused():
    from ftc.runtime.errors import RunError
    from ftc.runtime.train import guards

    stream = SimpleNamespace(micro_batch_size=2, gradient_accumulation_steps=4)
    engine = SimpleNamespace(
        train_micro_batch_size_per_gpu=lambda: 2,
        gradient_accumulation_steps=lambda: 4,
        gradient_clipping=lambda: 0.5,
    )
    for same in (0.5, None):  # None: a script of an earlier version
        guards._same_numbers(engine, stream, same)
    with pytest.raises(RunError, match=r"gradient_clipping is 0.5 here, and 1.0 in train.py"):
        guards._same_numbers(engine, stream, 1.0)
    engine.gradient_clipping = lambda: math.inf  # as the log has it where nothing is clipped
    guards._same_numbers(engine, stream, 0.0)
