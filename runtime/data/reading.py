"""Reading rows from files and from the Hub, each row with the place where it stands.

Nothing is held but the row at hand, so a file may be larger than memory.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..errors import RunError
from ..rows import files
from ..rows.files import without_none


@dataclass(frozen=True)
class Source:
    """Rows of files (`file`, or several `files`; relative to the run directory) or of one data set of
    the Hub (`hub`) or of ModelScope (`modelscope`).

    `format` is a name in `formats.FORMATS`, or `FILE.py:FUNCTION`. `max_samples` takes the first so many
    rows. `weight` is how often an epoch goes through the source (see `data.weigh`).
    """

    file: str | None = None
    files: tuple[str, ...] = ()
    hub: str | None = None
    modelscope: str | None = None
    format: str = "messages"
    revision: str | None = None
    subset: str | None = None
    split: str = "train"
    max_samples: int | None = None
    weight: float = 1.0

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.file,) if self.file else tuple(self.files)

    @property
    def name(self) -> str:
        if len(self.paths) > 1:
            return f"{self.paths[0]} and {len(self.paths) - 1} more"
        return self.paths[0] if self.paths else self.hub or self.modelscope or ""


def raw_rows(source: Source) -> Iterator[tuple[str, files.Raw]]:
    """Yields (place, row) for each row, not yet parsed where that can be put off to `formats.convert`."""
    of_files = (row for path in source.paths for row in files.read(path))
    limit = None if source.max_samples is None else min(source.max_samples, sys.maxsize)
    return islice(of_files if source.paths else _hub_rows(source), limit)


def hub_data(source: Source):
    """The data set of the Hub, or of ModelScope, as `datasets` has it on disk.

    Raises RunError if it can't be had.
    """
    import datasets

    if source.modelscope:  # its files alone: its own reader wants another version of `datasets`
        from modelscope.hub.snapshot_download import dataset_snapshot_download

        folder = dataset_snapshot_download(source.modelscope, revision=source.revision)
        return datasets.load_dataset(folder, source.subset, split=source.split)
    try:
        return datasets.load_dataset(
            source.hub, source.subset, revision=source.revision, split=source.split
        )
    except (OSError, ValueError) as error:
        raise RunError(
            "no-data",
            f"the data set can't be had: {str(error).splitlines()[0] if str(error) else error!r}",
            "check the name, its subset and split, the network and the access (`hf auth login`)",
            where=source.hub or "",
        ) from None


def _hub_rows(source: Source) -> Iterator[tuple[str, files.Raw]]:
    for number, row in enumerate(hub_data(source), 1):
        yield f"{source.name}: row {number}", without_none(row)


def check_there(source: Source) -> list[tuple[int, int]]:
    """The size and time of each file. Raises RunError for one that is gone, or may not be read."""
    for path in source.paths:
        if not Path(path).is_file():
            raise RunError(
                "missing-file", "the data file is gone", "compile the spec again", where=path
            )
        if not os.access(path, os.R_OK):
            raise RunError(
                "missing-file", "the data file may not be read", f"chmod u+r {path}", where=path
            )
    stats = [Path(path).stat() for path in source.paths]
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats]
