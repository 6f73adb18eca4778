"""The sources of a spec as the runtime reads them from here, without a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..facts.checked import Checked
from ..facts.gather import is_file, modelscope_id
from ..spec.data import Source


def row_sources(
    checked: Checked, folder: Path, group: str, number: int | None
) -> tuple[list[dict[str, Any]], int | None]:
    """(arguments of `ftc.runtime.reading.Source`, rows in all if known) of [[data.GROUP]].

    `folder` is the spec's; `number`, from 1, chooses one source.
    """
    sources: list[Source] = getattr(checked.spec.data, group)
    chosen = [(i, s) for i, s in enumerate(sources) if number is None or i + 1 == number]
    rows: list[int | None] = []
    for index, source in chosen:
        file = checked.facts.files.get((group, index))
        known = file.rows if file else None
        rows.append(min(known, source.max_samples or known) if known is not None else None)
    total = None if None in rows else sum(n for n in rows if n is not None)
    return [_arguments(checked, folder, group, i, s) for i, s in chosen], total


def _arguments(
    checked: Checked, folder: Path, group: str, index: int, source: Source
) -> dict[str, Any]:
    found = checked.facts.formats[group, index]
    code = found.code
    given: dict[str, Any] = {
        "format": f"{code.path}:{code.function}" if code else found.name,
        **{key: getattr(source, key) for key in ("revision", "subset", "split", "max_samples")},
    }
    file = checked.facts.files.get((group, index))
    if file is not None and file.parts:
        given["files"] = [str(part.path) for part in file.parts]
    elif is_file(source.source):
        given["file"] = str(folder / source.source)
    elif name := modelscope_id(source.source):
        given["modelscope"] = name
    else:
        given["hub"] = source.source
    return {key: value for key, value in given.items() if value is not None}
