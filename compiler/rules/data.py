"""Rules about [data]: its sources, and what becomes of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import wraps

from ..catalog.hubs import repository
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at
from ..document.load import Document
from ..facts.gather import Facts, is_file, is_hub_id, modelscope_id
from ..spec.data import Source
from ..spec.keys import Refused
from ..spec.spec import Spec
from .pinned import unpinned
from .rule import Rule, SourceRule, conflict
from .train import twice

GROUPS = ("train", "validation")


def _each_source(rule: SourceRule) -> Rule:
    """The rule for every source; of one that has problems it says nothing."""

    @wraps(rule)
    def judged(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
        for group in GROUPS:
            with suppress(Refused):
                for index, source in spec.data.each(group):
                    with suppress(Refused):
                        yield from rule(source, ("data", group, index), facts, document)

    return judged


@_each_source
def source_keys_fit(
    source: Source, path: KeyPath, facts: Facts, document: Document
) -> Iterator[Diagnostic]:
    """revision, subset and split are for data sets of the Hub."""
    for key in ("revision", "subset", "split"):
        if is_file(source.source) and getattr(source, key) is not None:
            yield conflict(
                document,
                (*path, key),
                f"`{key}` is for data sets of the Hub, and {source.source} is a file",
                others=[((*path, "source"), f'source is "{source.source}"')],
                hints=[f"remove {key}"],
            )


@_each_source
def formats_can_be_trained(
    source: Source, path: KeyPath, facts: Facts, document: Document
) -> Iterator[Diagnostic]:
    """Pairs of answers are for methods that ftc lacks; images are left out, and that is said."""
    name = facts.format(str(path[1]), int(path[2]), source)
    if name == "preference":
        yield at(
            document,
            (*path, "format"),
            "pairs-not-trained",
            f"{source.source} holds preference pairs, and no method of ftc trains on them yet",
            on="value",
            why="DPO and ORPO learn from pairs; full, lora and qlora from one answer",
            hints=[
                "`ftc data export` checks the pairs and writes them in one form",
                "to learn the better answers alone, write a function that returns them: "
                'format = "my_formats.py:FUNCTION"',
            ],
        )
    elif name == "llava":
        yield at(
            document,
            (*path, "format"),
            "images-not-read",
            f"{source.source} may hold images, and ftc reads the text alone",
            on="value",
            why="the model sees the mark <image> in place of an image",
            hints=["leave out rows with an image, or go on if that is what you want"],
            severity="warning",
        )


def _taken_whole(spec: Spec, facts: Facts) -> dict[str, KeyPath]:
    """The files of which every row is trained on: digest -> the first source that names it."""
    found: dict[str, KeyPath] = {}
    for index, source in spec.data.each("train"):
        file = facts.files.get(("train", index))
        with suppress(Refused):
            if file and source.max_samples is None:
                found.setdefault(file.sha256, ("data", "train", index, "source"))
    return found


def files_are_named_once(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Rows count twice by a weight, not by a source written twice."""
    whole = _taken_whole(spec, facts)
    for index, source in spec.data.each("train"):
        path, file = ("data", "train", index, "source"), facts.files.get(("train", index))
        first = whole.get(file.sha256) if file else None
        if first and first != path:
            yield at(
                document,
                path,
                "source-twice",
                f"{source.source} is trained on already",
                on="value",
                why="each of its rows is taken once more",
                others=[(first, "the same content")],
                hints=["remove one of the two", "or set weight = 2.0 for the other, to say it"],
                severity="warning",
            )


def held_out_is_not_trained(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Some rows of a file for the validation are not trained on."""
    whole = _taken_whole(spec, facts)
    for index, source in spec.data.each("validation"):
        file = facts.files.get(("validation", index))
        if file and file.sha256 in whole:
            yield at(
                document,
                ("data", "validation", index, "source"),
                "trained-and-held-out",
                f"every row of {source.source} is trained on",
                on="value",
                why="rows that are trained on are left out of the validation: none would remain",
                others=[(whole[file.sha256], "the same content")],
                hints=["name other rows, or hold out some of these: data.validation_fraction"],
            )


@_each_source
def data_is_pinned(
    source: Source, path: KeyPath, facts: Facts, document: Document
) -> Iterator[Diagnostic]:
    """A data set of the Hub has a revision."""
    if is_hub_id(modelscope_id(source.source) or source.source):
        address = repository(source.source, data=True)
        table = f"this [[data.{path[1]}]]"
        yield from unpinned(document, path, "source", source, table, address)


def group_or_pack(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Packed sequences are all equally long."""
    if spec.data.group_by_length and spec.data.packing:
        yield conflict(
            document,
            ("data", "group_by_length"),
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
        yield conflict(
            document,
            ("data", "max_truncated_fraction"),
            f'nothing is truncated: on_overlong is "{data.on_overlong}"',
            others=[(key, f'on_overlong is "{data.on_overlong}"')] if document.key(key) else [],
            hints=[
                "remove max_truncated_fraction; max_dropped_fraction limits what is dropped",
                'or set on_overlong = "truncate" in [data]',
            ],
        )


def one_validation(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Rows that are held out, or sources of their own."""
    if spec.data.validation and spec.data.validation_fraction:
        yield twice(
            document, ("data", "validation_fraction"), ("data", "validation"), "what to validate on"
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
        yield conflict(
            document,
            path,
            f'plain text has no assistant, so loss_on = "{spec.data.loss_on}" chooses nothing',
            others=[(("data", "train", 0, "format"), f'format is "{names[0]}"')],
            hints=[
                "remove loss_on: all of a plain text carries loss",
                'or set format = "messages"',
            ],
        )


RULES: tuple[Rule, ...] = (
    source_keys_fit,
    formats_can_be_trained,
    files_are_named_once,
    held_out_is_not_trained,
    data_is_pinned,
    group_or_pack,
    truncates,
    one_validation,
    loss_is_chosen,
)
