"""Rules about [train]: how long, how large a batch, which checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at, first_set
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.spec import Spec
from .rule import SHARED, Rule, conflict


def twice(
    document: Document, one: tuple[str, str], other: tuple[str, str], what: str
) -> Diagnostic:
    return conflict(
        document,
        one,
        f"`{'.'.join(one)}` and `{'.'.join(other)}` both say {what}",
        others=[(other, f"{other[1]} is set here")],
        hints=[f"remove {one[1]}", f"or remove {other[1]}"],
    )


def one_length(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """num_epochs or max_steps."""
    if spec.train.num_epochs is not None and spec.train.max_steps is not None:
        yield twice(document, ("train", "max_steps"), ("train", "num_epochs"), "how long to train")


def validation_is_used(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """What a validation loss decides needs something to evaluate on."""
    if _evaluates(spec):
        return
    for name in ("eval_every", "keep_best", "early_stopping_patience"):
        path: KeyPath = ("train", name)
        if document.key(path) and getattr(spec.train, name):
            yield at(
                document,
                path,
                "nothing-to-evaluate",
                "there is no validation data, so nothing to evaluate",
                hints=[
                    "set data.validation_fraction, such as 0.02",
                    "or name held-out files in [[data.validation]]",
                    f"or remove {name}",
                ],
            )


def _evaluates(spec: Spec) -> bool:
    return bool(spec.data.validation or spec.data.validation_fraction)


def best_is_evaluated(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """keep_best compares checkpoints, so each of them needs a validation loss of its own."""
    save, evaluate = spec.train.save_every, spec.train.eval_every
    if not (spec.train.keep_best and _evaluates(spec)) or save % evaluate == 0:
        return
    smaller = max(steps for steps in range(1, evaluate + 1) if save % steps == 0)
    set_here = [name for name in ("save_every", "eval_every") if document.key(("train", name))]
    yield conflict(
        document,
        ("train", "keep_best"),
        f"a checkpoint is saved every {save} steps and the validation loss taken every {evaluate}, so "
        "not every checkpoint has one",
        why="the best checkpoint is the one with the lowest validation loss",
        others=[(("train", n), f"{n} is {getattr(spec.train, n)}") for n in set_here],
        hints=[
            f"set save_every to a multiple of {evaluate}",
            f"or set eval_every = {smaller}",
            "or remove keep_best",
        ],
    )


def patience_can_end(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The run is long enough for early_stopping_patience to have a say."""
    patience, steps = spec.train.early_stopping_patience, spec.train.max_steps
    if patience is None or steps is None or not _evaluates(spec):
        return
    evaluations = (steps - 1) // spec.train.eval_every  # before the last step
    if evaluations <= patience:
        yield conflict(
            document,
            ("train", "early_stopping_patience"),
            f"the run is over before its loss could fail to fall {patience} times",
            on="value",
            why=f"max_steps = {steps} leaves {evaluations} evaluations before the end, one every "
            f"{spec.train.eval_every} steps, and the first is the one to compare with",
            others=[(("train", "max_steps"), f"max_steps is {steps}")],
            hints=[
                "lower train.eval_every or early_stopping_patience",
                "or remove early_stopping_patience",
            ],
        )


def batch_divides(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """global_batch_size = devices x micro_batch_size x accumulation, all of them whole."""
    nodes, devices = spec.hardware.nodes, spec.hardware.devices_per_node
    micro, total = spec.train.micro_batch_size, spec.train.global_batch_size
    shared = spec.parallel.sequence_parallel_size
    world = nodes * devices // shared  # groups, each with sequences of its own
    unit = world * micro
    if nodes * devices % shared or total % unit == 0:
        return
    sizes = [str(size) for size in (total // unit * unit, (total // unit + 1) * unit) if size]
    hints = [f"set train.global_batch_size to {' or '.join(sizes)}"]
    share = min(micro, total // world)
    smaller = (d for d in range(share, max(0, share - 10_000), -1) if total % (world * d) == 0)
    hints += [f"or set train.micro_batch_size to {size}" for size in (next(smaller, None),) if size]
    keys: list[tuple[KeyPath, str]] = [
        (("train", "global_batch_size"), f"global_batch_size is {total}"),
        (("train", "micro_batch_size"), f"micro_batch_size is {micro}"),
        (("hardware", "devices_per_node"), f"devices_per_node is {devices}"),
        (("hardware", "nodes"), f"nodes is {nodes}"),
        *[(SHARED, f"{shared} devices share a sequence")] * (shared > 1),
    ]
    place = first_set(document, *(path for path, _ in keys))
    yield at(
        document,
        place,
        "batch-arithmetic",
        f"a global batch of {plural(total, 'sequence')} can't be shared out evenly",
        on="value",
        why=f"{plural(world, 'device' if shared == 1 else 'group')} x {micro} a micro-batch = {unit} in each pass, "
        f"and {total} is no multiple of {unit}",
        others=[(path, text) for path, text in keys if path != place],
        hints=hints,
    )


def plural(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


RULES: tuple[Rule, ...] = (
    one_length,
    validation_is_used,
    best_is_evaluated,
    patience_can_end,
    batch_divides,
)
