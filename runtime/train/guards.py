"""What watches over a run: losses that are no numbers, sudden rises, steps that hang, memory that is full."""

import faulthandler
import math
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..data import Stream, listed
from ..errors import RunError
from ..process import clock, distributed, lock, stop
from .metrics import Log, say

# A step that takes this long, in seconds, is reported with the stacks of all threads (and again after as
# long). It is not stopped: DeepSpeed ends a collective operation that hangs, after 30 minutes.
HUNG_AFTER = 900.0
# A loss is a spike if it is so many standard deviations above the mean of the last steps.
SPIKE, WINDOW, WARM = 6.0, 50, 10


class Guard:
    """Watches one run. Made by `start`; `check` is called after each micro-batch's backward pass."""

    latest: "Guard | None" = None

    def __init__(self, engine: Any, stream: Stream, log: Log) -> None:
        self.engine, self.stream, self.log = engine, stream, log
        self.losses: list[torch.Tensor] = []
        self.recent: deque[float] = deque(maxlen=WINDOW)
        self.step, self.beat, self.longest = 0, clock.training(), 0.0
        self.unreached, self.hooks = _unreached(engine.module)

    def check(self, step: int, loss: torch.Tensor) -> None:
        """`loss`: this rank's share of the step's loss so far. Call it before the weights change.

        Raises RunError on every rank if the step's loss is no finite number: it names the rows; and after
        the first step's, if an adapter had no gradient.
        """
        self._alive(step)
        self.losses.append(loss.detach().clone())
        if not self.engine.is_gradient_accumulation_boundary():
            return
        losses, self.losses = torch.stack(self.losses), []
        total = distributed.total([losses[-1]])[0]
        if not math.isfinite(total):
            self._not_finite(step, losses)
        if self.hooks:
            self._reached()
        self._spike(step, total)
        self.step = step + 1

    def _alive(self, step: int) -> None:
        clock.moved()
        now = clock.training()
        self.longest = max(self.longest, now - self.beat)
        self.step, self.beat = step, now

    def _not_finite(self, step: int, losses: torch.Tensor) -> None:
        bad = (~losses.isfinite()).nonzero().flatten().tolist()
        mine = self.stream.rows(step, self.stream.turn(bad[0])) if bad else []
        found = [row for part in distributed.gather(mine) for row in part]
        raise RunError(
            "loss-not-finite",
            f"the loss of step {step + 1} is no finite number; the rows of its micro-batch: "
            f"{listed(found)}. The weights are still those of step {step}",
            "look at these rows for what no other row has",
            "lower optim.learning_rate, or raise optim.warmup_steps, if the loss rose before",
            'train anew with model.dtype = "bfloat16" or "float32" if it is float16',
            f"then go on from the newest checkpoint: {stop.RESUME}",
            where=f"step {step + 1}",
        )

    def _reached(self) -> None:
        """Raises RunError if the loss depends on some adapter on no rank: it would stay as it began."""
        for hook in self.hooks:
            hook.remove()
        self.hooks = []
        never = set.intersection(*distributed.gather(self.unreached))
        if never:
            layers = sorted({name.partition(".lora_")[0] for name in never})
            raise RunError(
                "no-gradient",
                f"{len(layers)} adapted layers get no gradient, so they would not learn: {listed(layers)}",
                "leave them out: name them in method.exclude_modules",
                "nothing has been trained yet",
            )

    def _spike(self, step: int, loss: float) -> None:
        """Writes a record for a loss far above the last ones, with its rows.

        It counts among them as the highest that is none: it hides no other, and a loss that stays up there
        is told until the mean has followed.
        """
        if len(self.recent) >= WARM:
            mean, deviation = statistics.fmean(self.recent), statistics.pstdev(self.recent)
            highest = max(mean + SPIKE * deviation, 1.2 * mean)
            if loss > highest:
                found = self.stream.rows(step)
                self.log.write(step=step + 1, loss_spike=loss, mean_before=mean, rows=found)
                if self.log.writes:
                    say(
                        f"Step {step + 1}: the loss jumped to {loss:.4f} from {mean:.4f} ({listed(found)})"
                    )
                loss = highest
        self.recent.append(loss)

    def watch(self) -> None:
        """Reports what hangs, for ever; runs in a thread of its own. Evaluations and saves give signs
        of life of their own, so that a long one is none and a stuck one is."""
        reported = 0.0
        while True:
            limit = max(HUNG_AFTER, 10 * self.longest)
            time.sleep(min(limit / 4, 5.0))
            quiet = clock.quiet()
            if quiet < limit:
                reported = 0.0
            elif quiet > reported + limit:
                reported = quiet
                self._report(quiet)

    def _report(self, quiet: float) -> None:
        rank, _ = distributed.place()
        text = (
            f"rank {rank}: nothing has moved for {quiet:,.0f} s, before the end of step {self.step + 1} "
            f"({listed(self.stream.rows(self.step))}).\nWhere each thread stands:"
        )
        with Path("logs", f"hung-rank-{rank}.txt").open("a", encoding="utf-8") as file:
            for target in (file, sys.stderr):
                print(text, file=target, flush=True)
                faulthandler.dump_traceback(target, all_threads=True)


def _unreached(model: Any) -> tuple[set[str], list[Any]]:
    """The names of adapters and copies of modules, each of which goes when it gets a gradient, and the hooks that
    see to it. Experts are not among them: the first rows may be sent to others."""
    names = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and (".lora_" in name or ".modules_to_save." in name)
        and "expert" not in name
    }
    unreached = set(names)

    def hook(name: str) -> Callable[[torch.Tensor], None]:
        return lambda _: unreached.discard(name)

    return unreached, [parameter.register_hook(hook(name)) for name, parameter in names.items()]


def start(engine: Any, stream: Stream, log: Log, max_grad_norm: float | None = None) -> Guard:
    """Begins to watch; from now on a request to stop waits for the end of the step.

    Raises RunError if the engine counts another batch than train.py does, or clips to another norm.
    """
    _same_numbers(engine, stream, max_grad_norm)
    guard = Guard(engine, stream, log)
    Guard.latest = guard
    Path("logs").mkdir(exist_ok=True)
    threading.Thread(target=guard.watch, daemon=True, name="watch").start()
    stop.heed()
    return guard


def _same_numbers(engine: Any, stream: Stream, max_grad_norm: float | None) -> None:
    """One of the two files may be of another compilation, or edited: the loss would be weighed wrongly."""
    for key, theirs, ours in (
        (
            "train_micro_batch_size_per_gpu",
            engine.train_micro_batch_size_per_gpu(),
            stream.micro_batch_size,
        ),
        (
            "gradient_accumulation_steps",
            engine.gradient_accumulation_steps(),
            stream.gradient_accumulation_steps,
        ),
        ("gradient_clipping", engine.gradient_clipping(), max_grad_norm),
    ):
        if ours is not None and theirs != (ours or math.inf):
            raise RunError(
                "other-batch",
                f"{key} is {theirs} here, and {ours} in train.py",
                "compile the spec again, which writes both files",
                where="ds_config.json",
            )


def out_of_memory(error: BaseException) -> RunError:
    """The error of a full memory: what was computed, and which setting to lower first."""
    plan = lock.plan()
    said = str(error).strip().split("\n")[0].split(" If reserved")[0]
    guard = Guard.latest
    if guard is None:
        return RunError("out-of-memory", f"{said} (before the first step)", *_smaller_model(plan))
    batch = replace(guard.stream, device="cpu").step(guard.step)  # none of the memory that is full
    tokens = [micro.input_ids.shape[1] for micro in batch.micro_batches]
    return RunError(
        "out-of-memory",
        f"{said} (rank {distributed.place()[0]}; the step's micro-batches have {min(tokens):,} to "
        f"{max(tokens):,} tokens)",
        *_smaller_step(plan),
        *_smaller_model(plan),
        f"compile again, then: {stop.RESUME}",
        where=f"step {guard.step + 1}",
    )


def _smaller_step(plan: dict[str, Any]) -> list[str]:
    hints = []
    size = plan["batch.micro_batch_size"]
    if size > 1:
        hints.append(
            f"set train.micro_batch_size to {size // 2} (it is {size}): half the tokens in memory, "
            "the same global batch and the same losses"
        )
    if not plan.get("model.gradient_checkpointing"):
        hints.append("set model.gradient_checkpointing = true: a third slower, far less memory")
    length = plan["model.max_seq_length"]
    hints.append(f"lower model.max_seq_length (it is {length:,}): that makes a new run")
    return hints


def _smaller_model(plan: dict[str, Any]) -> list[str]:
    hints = []
    stage, world = plan["parallel.zero_stage"], plan["batch.world_size"]
    if world > 1 and stage < 3 and not plan.get("method.quantization.type"):
        hints.append(f"set parallel.zero_stage = 3 (it is {stage}), which shares out the weights")
    if stage and plan.get("hardware.device") == "cuda":
        if not plan.get("parallel.offload_optimizer"):
            hints.append("set parallel.offload_optimizer = true: its state goes to the host")
        if stage == 3 and not plan.get("parallel.offload_params"):
            hints.append("set parallel.offload_params = true: the weights go to the host")
    if not plan.get("method.quantization.type"):
        hints.append('set method.kind = "qlora": a 4-bit base, which makes a new run')
    return hints
