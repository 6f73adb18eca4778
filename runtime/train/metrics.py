"""What a run tells while it trains: logs/metrics.jsonl for machines, a progress bar for people."""

import json
import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from deepspeed.runtime.utils import clip_grad_norm_
from tqdm import tqdm

from ..checkpoint import stored
from ..checkpoint.validation import Losses, lowest
from ..data import Step, Stream, listed
from ..errors import RunError
from ..process import clock, lock
from . import duration, flops

FILE = Path("logs/metrics.jsonl")


def say(text: str) -> None:
    """Prints above the progress bar."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


class Log:
    """The log of one run; only rank 0 writes. Made by `start`.

    `flops`: the operations of a step. `peak`: what all devices could do, in FLOP a second, or None.
    """

    def __init__(
        self, total_steps: int, first_step: int, log_every: int, flops: Callable[[Step], int]
    ) -> None:
        self.total_steps, self.log_every = total_steps, log_every
        self.writes = torch.distributed.get_rank() == 0
        self.flops, self.peak = flops, None
        self.grad_norm: Callable[[], Any] = lambda: None
        self.time, self.since = clock.training(), [0, 0, 0, 0]  # steps, tokens, supervised, FLOP
        self.may_overflow = False
        self.trackers: Sequence[Any] = ()  # see trackers.start
        self.bar: Any = None
        if self.writes:
            FILE.parent.mkdir(exist_ok=True)
            _forget(after=first_step)
            if sys.stderr.isatty():
                self.bar = tqdm(
                    total=total_steps, initial=first_step, unit="step", dynamic_ncols=True
                )

    def step(
        self,
        step: int,
        batch: Step,
        *,
        loss: float,
        learning_rate: float,
        grad_norm: Any = None,
    ) -> None:
        """After a step on `batch`: `loss` is the mean over its supervised tokens, in nats.

        `grad_norm`: of the gradients before they are clipped; the engine's, if it isn't given.
        Raises RunError if the gradient was no finite number, as the weights are harmed then. In float16
        that happens now and again, and DeepSpeed leaves the step out.
        """
        grad_norm = self.grad_norm() if grad_norm is None else grad_norm
        if grad_norm is not None and not self.may_overflow and not math.isfinite(grad_norm):
            raise RunError(
                "gradient-not-finite",
                f"the loss of step {step + 1} is {loss:.4f}, and its gradient is no finite number: the "
                f"weights are harmed. They were not saved; the newest checkpoint is {_newest()}. The step's "
                f"rows: {listed(batch.rows())}",
                "look at these rows for what no other row has",
                "lower optim.learning_rate",
                "then go on from the newest checkpoint: bash launch.sh --resume latest",
                where=f"step {step + 1}",
            )
        counts = (1, batch.num_tokens, batch.num_supervised, self.flops(batch))
        self.since = [old + new for old, new in zip(self.since, counts, strict=True)]
        done = step + 1
        if self.bar is not None:
            self.bar.update()
        if done % self.log_every and done != self.total_steps:
            return
        now = clock.training()
        seconds, self.time = now - self.time, now
        steps_speed, speed, supervised_speed, flops_speed = (n / seconds for n in self.since)
        self.since = [0, 0, 0, 0]
        self.write(
            step=done,
            epoch=round(batch.epoch, 4),
            loss=loss,
            learning_rate=learning_rate,
            grad_norm=None if grad_norm is None else float(grad_norm),
            samples=batch.num_samples,
            tokens=batch.num_tokens,
            supervised_tokens=batch.num_supervised,
            tokens_per_second=round(speed, 1),
            supervised_tokens_per_second=round(supervised_speed, 1),
            tflops=float(f"{flops_speed / 1e12:.4g}"),
            **({"mfu": round(flops_speed / self.peak, 4)} if self.peak else {}),
            peak_memory_gb=round(_peak_memory() / 1e9, 3),
        )
        if self.bar is not None:
            self.bar.set_postfix_str(
                f"loss {loss:.4f}, lr {learning_rate:.2e}, {speed:,.0f} tokens/s", refresh=True
            )
        elif self.writes:
            left = (self.total_steps - done) / steps_speed
            say(
                f"step {done}/{self.total_steps}  loss {loss:.4f}  lr {learning_rate:.2e}  "
                f"{speed:,.0f} tokens/s  {int(left) // 60}:{int(left) % 60:02d} left"
            )

    def validation(self, step: int, loss: float) -> None:
        """The validation loss after `step` steps."""
        self.write(step=step, validation_loss=loss)
        if self.writes:
            say(f"After {step} steps: validation loss {loss:.4f}")

    def stopped_early(self, losses: Losses) -> None:
        """Training ends because the validation loss stagnates."""
        (last, _), (best, loss) = losses[-1], losses[lowest(losses)]
        self.write(step=last, stopped_early=True, best_step=best)
        if self.writes:
            say(
                f"Stopped early, after {last} steps: the validation loss was lowest, {loss:.4f}, "
                f"after {best}."
            )

    def write(self, **record: Any) -> None:
        """Appends a record to logs/metrics.jsonl."""
        if self.writes:
            with FILE.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            for tracker in self.trackers:
                tracker.send(record)

    def close(self, message: str) -> None:
        """Ends the progress bar and says what comes next."""
        if self.bar is not None:
            self.bar.close()
        if self.writes:
            say(message)


def start(
    engine: Any,
    stream: Stream,
    total_steps: int,
    first_step: int,
    log_every: int,
    drift: bool,
    peak_tflops: float | None = None,
) -> Log:
    """Opens the log, says how long the run is, and writes down which run this is and which of its files were
    edited.

    `peak_tflops`: what one device can do.
    """
    _keep_grad_norm(engine)
    log = Log(total_steps, first_step, log_every, flops.counter(engine.module))
    if peak_tflops:
        log.peak = peak_tflops * 1e12 * torch.distributed.get_world_size()
    log.may_overflow, log.grad_norm = engine.fp16_enabled(), engine.get_global_grad_norm
    compiled, edited = lock.edited() if log.writes else ("", {})
    if log.writes:  # another plan may be compiled into its place, and `ftc report` shows this one
        (FILE.parent / lock.LOCK).write_bytes(lock.content())
    log.write(
        start=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        first_step=first_step,
        total_steps=total_steps,
        trainable_parameters=sum(
            getattr(p, "ds_numel", p.numel()) for p in engine.module.parameters() if p.requires_grad
        ),
        plan=compiled,
        edited=edited,
        allow_drift=drift,
    )
    if log.writes and first_step >= total_steps:
        say(f"All {total_steps} steps are done already.")
    elif log.writes:
        sequences, size = len(stream.sequences), stream.global_batch_size
        epochs = None if stream.end is None else stream.end // sequences
        lengths = stream.samples.lengths
        tokens = int(lengths.sum())
        say(duration.words(len(lengths), tokens, sequences, size, total_steps, epochs))
        ranks = duration.number(stream.world_size, "rank")
        each, times = stream.micro_batch_size, stream.gradient_accumulation_steps
        say(f"A step: {ranks} x {each} a micro-batch x {times} accumulated = {size} sequences.")
        if stream.end is not None and (few := duration.few_steps(total_steps)):
            say(few)
        say(f"Training steps {first_step + 1} to {total_steps}.")
    return log


def _peak_memory() -> int:
    """Bytes at most since the last record on this rank's GPU; without one, of this process so far."""
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return peak
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB, getrusage(2)


def _newest() -> str:
    found = [str(path) for _, path in stored.steps()]
    return found[-1] if found else "none"


def _forget(after: int) -> None:
    """Drops what an interrupted start wrote beyond the step that this one resumes from."""
    for name in (FILE, FILE.parent / "samples.jsonl"):
        if not name.exists():
            continue
        fresh = name.with_suffix(".new")
        with name.open("rb") as lines, fresh.open("wb") as kept:
            kept.writelines(line for line in lines if _stays(line, after))
        fresh.replace(name)


def _stays(line: bytes, after: int) -> bool:
    try:
        step = json.loads(line).get("step")
    except ValueError:
        return False  # cut short
    return line.endswith(b"\n") and (step is None or step <= after > 0)


def _keep_grad_norm(engine: Any) -> None:
    """DeepSpeed keeps the norm before clipping at every ZeRO stage but 0 in float32; here it does.

    It has no norm there of what is not clipped: that is clipped to infinity, so that a gradient that is no
    finite number is found.
    """

    def clip() -> None:
        engine._global_grad_norm = clip_grad_norm_(
            parameters=engine.module.parameters(),
            max_norm=engine.gradient_clipping(),
            mpu=engine.mpu,
        )

    engine.clip_fp32_gradients = clip
    limit = engine.gradient_clipping() or math.inf
    engine.gradient_clipping = lambda: limit
