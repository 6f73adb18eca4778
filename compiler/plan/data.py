"""[data] -> its plan, and where its files go."""

from __future__ import annotations

from pathlib import PurePath
from typing import NamedTuple

from ..facts.gather import CopyKey, Facts, is_file, modelscope_id
from ..spec.data import Source, TrainSource
from ..spec.spec import Spec
from .take import Taker, derived
from .values import Value


def copied_names(facts: Facts) -> dict[CopyKey, str]:
    """Where copied files go in the run: data/NAME, numbered where two have the same name."""
    names: dict[CopyKey, str] = {}
    taken: dict[str, bytes] = {}
    for key, path, content in facts.copied():
        name, number = f"data/{path.name}", 2
        stem, dot, suffixes = path.name.partition(".")  # rows.jsonl.gz has two
        while taken.get(name, content) != content:
            name = f"data/{stem}-{number}{dot}{suffixes}"
            number += 1
        taken[name] = content
        names[key] = name
    return names


def data_plan(spec: Spec, facts: Facts, take: Taker, spec_folder: str) -> DataPlan:
    names = copied_names(facts)

    def plan(group: str, index: int, source: Source) -> SourcePlan:
        file: Value[str] | None = None
        files = several(group, index, source)
        if (group, index, "source") in names:
            file = derived(names[group, index, "source"], f"a copy of {source.source}")
        elif is_file(source.source) and not files:
            file = derived(str(PurePath(spec_folder, source.source)), "from the run directory")
        table = f"data.{group}[{index}]"
        named = take(f"{table}.source")
        other = modelscope_id(source.source)
        return take.fill(
            SourcePlan,
            table,
            file=file,
            files=files,
            hub=None if file or files or other else named,
            modelscope=Value(other, named.origin) if other else None,
            format=row_format(group, index) or take(f"{table}.format"),
            weight=take(f"{table}.weight")
            if isinstance(source, TrainSource) and source.weight != 1
            else None,
        )

    def several(group: str, index: int, source: Source) -> Value[list[str]] | None:
        """The files of a pattern: where they are copied to, or the way to them."""
        found = facts.files.get((group, index))
        if found is None or not found.parts:
            return None
        pattern = PurePath(source.source)
        folder = None if pattern.is_absolute() else found.path.parents[len(pattern.parts) - 1]
        paths = [
            names.get((group, index, f"source{number}"))
            or PurePath(
                spec_folder, part.path.relative_to(folder) if folder else part.path
            ).as_posix()
            for number, part in enumerate(found.parts)
        ]
        return derived(paths, f"the files that fit {source.source}")

    def row_format(group: str, index: int) -> Value[str] | None:
        """Where it is not the spec's own word: what `auto` found, or a copied file."""
        found = facts.formats[group, index]
        if found.code is not None:
            copy = f"{names[group, index, 'format']}:{found.code.function}"
            return derived(copy, f"a copy of {found.name}")
        return derived(found.name, found.told_by) if found.told_by else None

    return take.fill(
        DataPlan,
        "data",
        train=tuple(plan("train", i, s) for i, s in enumerate(spec.data.train)),
        validation=tuple(plan("validation", i, s) for i, s in enumerate(spec.data.validation)),
        max_dropped_fraction=take.set("data.max_dropped_fraction"),
        max_truncated_fraction=take.set("data.max_truncated_fraction"),
    )


class SourcePlan(NamedTuple):
    """`file` or `files` (relative to the run directory), `hub` or `modelscope`."""

    file: Value[str] | None
    files: Value[list[str]] | None
    hub: Value[str] | None
    modelscope: Value[str] | None
    format: Value[str]
    revision: Value[str] | None
    subset: Value[str] | None
    split: Value[str] | None
    max_samples: Value[int] | None
    weight: Value[float] | None


class DataPlan(NamedTuple):
    train: tuple[SourcePlan, ...]
    validation: tuple[SourcePlan, ...]
    validation_fraction: Value[float] | None
    packing: Value[bool]
    group_by_length: Value[bool] | None
    on_overlong: Value[str]
    max_dropped_fraction: Value[float] | None
    max_truncated_fraction: Value[float] | None
    loss_on: Value[str]
