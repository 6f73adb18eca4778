"""Rules about the optimizer and its schedule: which keys they read, where they run."""

from __future__ import annotations

from collections.abc import Iterator

from ..catalog.optimizers import OPTIMIZERS
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.spec import Spec
from .rule import DEVICE, STAGE, Rule, conflict
from .train import twice

OPTIMIZER: KeyPath = ("optim", "optimizer")
SCHEDULER: KeyPath = ("optim", "lr_scheduler")


def optimizer_reads_its_keys(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """betas and eps are for the optimizers that have them."""
    name = spec.optim.optimizer
    for lacked, why in OPTIMIZERS[name].lacks.items():
        path = ("optim", lacked)
        if document.key(path):
            yield conflict(
                document,
                path,
                f"{name} does not read {lacked}",
                why=why,
                others=[(OPTIMIZER, f'optimizer is "{name}"')],
                hints=[f"remove {lacked}", 'or set optimizer = "adamw"'],
            )


def optimizer_has_its_device(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Paging needs a GPU to page out of; only AdamW was tried on the host."""
    name = spec.optim.optimizer
    row = OPTIMIZERS[name]
    if row.unpaged and spec.hardware.device == "cpu":
        yield conflict(
            document,
            OPTIMIZER,
            f"{name} moves its state out of a GPU, and a CPU run has none",
            on="value",
            others=[(DEVICE, 'device is "cpu"')],
            hints=[f'set optimizer = "{row.unpaged}"'],
        )
    if spec.parallel.offload_optimizer and not row.offloads:
        yield conflict(
            document,
            ("parallel", "offload_optimizer"),
            f"offloaded weights are updated on the host, where ftc has AdamW only, not {name}",
            others=[(OPTIMIZER, f'optimizer is "{name}"')],
            hints=["remove offload_optimizer", 'or set optimizer = "adamw"'],
        )


def updates_are_not_clipped(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Updates that have a size of their own, ZeRO would clip as if they were gradients."""
    path: KeyPath = ("optim", "max_grad_norm")
    name = spec.optim.optimizer
    if (why := OPTIMIZERS[name].unclipped) and spec.optim.max_grad_norm:
        yield conflict(
            document,
            path,
            f"with {name} nothing is clipped",
            why=f"{why}; DeepSpeed's ZeRO would clip those updates, and a run on one device would not",
            others=[(OPTIMIZER, f'optimizer is "{name}"')],
            hints=["remove max_grad_norm", 'or set optimizer = "adamw"'],
        )


def matrices_stay_whole(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Some need rows and columns, and ZeRO and 16-bit training flatten every weight."""
    name = spec.optim.optimizer
    if not (needs := OPTIMIZERS[name].whole_matrices):
        return
    other = 'or set optimizer = "adamw_8bit", which saves memory at any stage'
    why = f"{needs}; {{}} every weight to one row"
    said = (OPTIMIZER, f'optimizer is "{name}"')
    if spec.parallel.zero_stage:
        yield at(
            document,
            STAGE,
            "zero-stage",
            f"{name} runs at ZeRO stage 0 only",
            on="value",
            why=why.format(f"stage {spec.parallel.zero_stage} flattens"),
            others=[said],
            hints=["set zero_stage = 0", other],
        )
    half = spec.model.dtype in ("bfloat16", "float16")
    if half or (spec.model.dtype == "auto" and spec.hardware.device == "cuda"):
        path: KeyPath = ("model", "dtype")
        yield conflict(
            document,
            path if half else OPTIMIZER,
            f"{name} trains in float32 only",
            on="value",
            why=why.format("DeepSpeed's 16-bit training flattens"),
            others=[said] if half else [],
            hints=['set model.dtype = "float32"', other],
        )


def schedule_reads_its_keys(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """What only some schedules have: a floor, a share that falls, a warm-up to fall from."""
    name = spec.optim.lr_scheduler
    endless = {
        "constant": "a constant learning rate never falls",
        "inverse_sqrt": "inverse_sqrt falls for ever",
    }
    if name in endless and spec.optim.min_lr_ratio:
        yield conflict(
            document,
            ("optim", "min_lr_ratio"),
            f"{endless[name]}, so it can't end at min_lr_ratio",
            others=[(SCHEDULER, f'lr_scheduler is "{name}"')],
            hints=["remove min_lr_ratio", 'or set lr_scheduler = "cosine" or "linear"'],
        )
    if name != "warmup_stable_decay" and spec.optim.decay_ratio is not None:
        yield conflict(
            document,
            ("optim", "decay_ratio"),
            f'only lr_scheduler = "warmup_stable_decay" has a decay_ratio, not "{name}"',
            others=[(SCHEDULER, f'lr_scheduler is "{name}"')],
            hints=["remove decay_ratio", 'or set lr_scheduler = "warmup_stable_decay"'],
        )
    warmups = [k for k in ("warmup_ratio", "warmup_steps") if getattr(spec.optim, k) == 0]
    if name == "inverse_sqrt" and warmups:
        yield conflict(
            document,
            ("optim", warmups[0]),
            "inverse_sqrt falls from the step at which the warm-up ends, so it needs a warm-up",
            on="value",
            others=[(SCHEDULER, 'lr_scheduler is "inverse_sqrt"')],
            hints=["set warmup_ratio = 0.03", 'or set lr_scheduler = "cosine"'],
        )


def decay_follows_warmup(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Warm-up and decay are shares of the same steps."""
    warmup, decay = spec.optim.warmup_ratio or 0.0, spec.optim.decay_ratio or 0.0
    if warmup + decay > 1:
        yield at(
            document,
            ("optim", "decay_ratio"),
            "warmup-too-long",
            f"warming up over {warmup:g} and falling over {decay:g} of the steps makes more than all",
            on="value",
            others=[(("optim", "warmup_ratio"), f"warmup_ratio is {warmup:g}")],
            hints=[f"set decay_ratio to {1 - warmup:g} or less", "or lower warmup_ratio"],
        )


def one_warmup(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """warmup_steps or warmup_ratio, and something left behind it."""
    steps, limit = spec.optim.warmup_steps, spec.train.max_steps
    if steps is not None and spec.optim.warmup_ratio is not None:
        yield twice(
            document, ("optim", "warmup_steps"), ("optim", "warmup_ratio"), "how long to warm up"
        )
    if steps is not None and limit is not None and steps >= limit:
        yield at(
            document,
            ("optim", "warmup_steps"),
            "warmup-too-long",
            f"{steps} steps of warm-up leave none of the {limit} steps of the run",
            on="value",
            why="the learning rate would reach its peak when training ends, or never",
            others=[(("train", "max_steps"), f"max_steps is {limit}")],
            hints=[f"set warmup_steps to less than {limit}", "or raise train.max_steps"],
        )


RULES: tuple[Rule, ...] = (
    optimizer_reads_its_keys,
    optimizer_has_its_device,
    updates_are_not_clipped,
    matrices_stay_whole,
    schedule_reads_its_keys,
    decay_follows_warmup,
    one_warmup,
)
