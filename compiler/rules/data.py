"""Rules about what the spec refers to: model, data, and what must not stand in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps

from ..catalog.hubs import repository
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..diagnostics.secrets import SECRET, mask
from ..document.at import at, on_span
from ..document.load import Document
from ..facts.gather import Facts, is_file, is_hub_id, modelscope_id
from ..spec.data import Source
from ..spec.keys import Refused
from ..spec.model import Model
from ..spec.spec import Spec

Rule = Callable[[Spec, Facts, Document], Iterator[Diagnostic]]
SourceRule = Callable[[Source, KeyPath, Facts, Document], Iterator[Diagnostic]]

GROUPS = ("train", "validation")
BASE: KeyPath = ("model", "base")
REVISION: KeyPath = ("model", "revision")
COMMIT = re.compile(r"[0-9a-fA-F]{40}\Z")  # branches and tags move; what is shorter may be one


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
            yield at(
                document,
                (*path, key),
                "conflict",
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
        yield from _unpinned(document, path, "source", source, table, address)


def weights_have_a_source(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """`source` chooses where a preset's weights come from."""
    model, preset, path = spec.model, facts.preset, ("model", "source")
    others = [(BASE, f'base is "{model.base}"')]
    if model.source is not None and (preset is None or modelscope_id(model.base)):
        yield at(
            document,
            path,
            "conflict",
            f"`source` is for presets, and {model.base} is not one: it names its own weights",
            others=others,
            hints=["remove model.source"],
        )
    elif model.source == "package" and preset is not None and preset.package is None:
        yield at(
            document,
            path,
            "no-package",
            f"no package carries the weights of {model.base}",
            on="value",
            others=others,
            hints=['set source = "hub"', "or remove it: the Hub is where they come from"],
        )


def model_is_pinned(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A model of the Hub has a revision, and no other has."""
    model, preset = spec.model, facts.preset
    packaged = preset is not None and preset.package is not None and model.source != "hub"
    on_hub = not packaged and facts.local_model is None
    broken = any(problem.code in ("unknown-model", "bad-model") for problem in facts.problems)
    if model.revision is not None and not on_hub:
        where = "a package, pinned by its hash" if packaged else "a local folder"
        yield at(
            document,
            REVISION,
            "conflict",
            f"`revision` is for models of the Hub, and {model.base} comes from {where}",
            others=[(BASE, f'base is "{model.base}"')],
            hints=["remove model.revision", *(['or set source = "hub"'] if packaged else [])],
        )
    elif on_hub and not broken:
        other = modelscope_id(model.base) is not None
        address = repository(preset.hub_id if preset and not other else model.base)
        yield from _unpinned(document, ("model",), "base", model, "[model]", address)


def _unpinned(
    document: Document, path: KeyPath, key: str, pinned: Source | Model, table: str, address: str
) -> Iterator[Diagnostic]:
    """The warning where `pinned`, the table at `path`, names (with `key`) what may change at `address`."""
    name, revision = getattr(pinned, key), pinned.revision
    if revision is not None and COMMIT.match(revision):
        return
    site = "ModelScope" if modelscope_id(name) else "the Hub"
    message = f"{name} has no `revision`, so it is whatever {site} has on the day"
    if revision is not None:
        message = f'the revision "{revision}" of {name} is no commit in full, so it may move'
    yield at(
        document,
        (*path, key if revision is None else "revision"),
        "unpinned",
        message,
        on="value",
        why="two runs of this spec may differ, and nobody would be told",
        hints=[
            f"set revision in {table} to a commit (40 hexadecimal digits)",
            f"this prints the newest: git ls-remote {address} HEAD",
        ],
        severity="warning",
    )


def no_secret(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A spec, with its comments, is copied into the run and committed with it."""
    for match in SECRET.finditer(document.text.replace("\r\n", "\n")):
        yield on_span(
            document,
            document.span(*match.span()),
            "secret-in-spec",
            f"this looks like a secret ({mask(match[0])[:8]}), and a spec is no place for one",
            notes=["a spec is copied into its run and committed with it"],
            hints=[
                "keep it in an environment variable, such as HF_TOKEN",
                "and revoke it, if this file was ever shared",
            ],
        )
