"""Rules about keys that say the same twice, or that nothing would read."""

from __future__ import annotations

from collections.abc import Iterator

from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.method import Full
from ..spec.spec import Spec


def group_or_pack(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Packed sequences are all equally long."""
    if spec.data.group_by_length and spec.data.packing:
        yield at(
            document,
            ("data", "group_by_length"),
            "conflict",
            "`group_by_length` is for samples that are not packed, and packing fills every sequence",
            others=[(("data", "packing"), "packing is true")]
            if document.key(("data", "packing"))
            else [],
            hints=["remove group_by_length", "or set packing = false in [data]"],
        )


def truncates(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A limit to what is truncated, where anything is."""
    data = spec.data
    if data.max_truncated_fraction is not None and data.on_overlong != "truncate":
        key = ("data", "on_overlong")
        yield at(
            document,
            ("data", "max_truncated_fraction"),
            "conflict",
            f'nothing is truncated: on_overlong is "{data.on_overlong}"',
            others=[(key, f'on_overlong is "{data.on_overlong}"')] if document.key(key) else [],
            hints=[
                "remove max_truncated_fraction; max_dropped_fraction limits what is dropped",
                'or set on_overlong = "truncate" in [data]',
            ],
        )


def _twice(
    document: Document, one: tuple[str, str], other: tuple[str, str], what: str
) -> Diagnostic:
    return at(
        document,
        one,
        "conflict",
        f"`{'.'.join(one)}` and `{'.'.join(other)}` both say {what}",
        others=[(other, f"{other[1]} is set here")],
        hints=[f"remove {one[1]}", f"or remove {other[1]}"],
    )


def one_length(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """num_epochs or max_steps."""
    if spec.train.num_epochs is not None and spec.train.max_steps is not None:
        yield _twice(document, ("train", "max_steps"), ("train", "num_epochs"), "how long to train")


def one_warmup(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """warmup_steps or warmup_ratio, and something left behind it."""
    steps, limit = spec.optim.warmup_steps, spec.train.max_steps
    if steps is not None and spec.optim.warmup_ratio is not None:
        yield _twice(
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


def one_validation(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Rows that are held out, or sources of their own."""
    if spec.data.validation and spec.data.validation_fraction:
        yield _twice(
            document,
            ("data", "validation_fraction"),
            ("data", "validation"),
            "what to validate on",
        )


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
    yield at(
        document,
        ("train", "keep_best"),
        "conflict",
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
        yield at(
            document,
            ("train", "early_stopping_patience"),
            "conflict",
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


def loss_is_chosen(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Plain text has no assistant."""
    path: KeyPath = ("data", "loss_on")
    names = [
        facts.format(group, index, source)
        for group in ("train", "validation")
        for index, source in enumerate(getattr(spec.data, group))
    ]
    plain = {"pretrain", "pretokenized"}.issuperset(names)
    if document.key(path) and spec.data.loss_on != "all" and plain:
        yield at(
            document,
            path,
            "conflict",
            f'plain text has no assistant, so loss_on = "{spec.data.loss_on}" chooses nothing',
            others=[(("data", "train", 0, "format"), f'format is "{names[0]}"')],
            hints=[
                "remove loss_on: all of a plain text carries loss",
                'or set format = "messages"',
            ],
        )


def adapter_is_merged(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """export.merge is about an adapter; a server needs the merged model."""
    path: KeyPath = ("export", "merge")
    if isinstance(spec.method, Full):
        if document.key(path):
            yield at(
                document,
                path,
                "conflict",
                "full fine-tuning has no adapter to merge",
                others=[(("method", "kind"), 'kind is "full"')],
                hints=["remove export.merge"],
            )
    elif not spec.export.merge and document.key(("deploy",)):
        yield at(
            document,
            path,
            "conflict",
            "the server of [deploy] serves the merged model, and merge = false makes none",
            on="value",
            others=[(("deploy",), "[deploy] is here")],
            hints=["remove export.merge", "or remove [deploy]"],
        )


def chat_samples(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """top_p has a say only where tokens are drawn."""
    path: KeyPath = ("chat", "top_p")
    if document.key(path) and not spec.chat.temperature:
        yield at(
            document,
            path,
            "conflict",
            "at temperature 0 the likeliest token is taken, so top_p has no say",
            others=[(("chat", "temperature"), "temperature is 0")],
            hints=["set chat.temperature above 0", "or remove top_p"],
        )
