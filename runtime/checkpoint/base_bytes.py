"""Every byte of a local base's weights, as a digest a file: what `ftc verify --deep` compares."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from ..process import clock, digests, lock


def record() -> bytes:
    """The content of a checkpoint's base.json: the sha256 of each weight file, by name.

    They are computed at the first checkpoint of each start, as the base may be another one by then. It is empty
    for a base that is not a folder: a commit of the Hub and a package are what they are. It is empty, with one
    warning, for a folder that can't be read any more, as training does not need it.
    """
    folder = lock.read()["facts"]["model"].get("folder")
    return json.dumps(_digests(Path(folder).absolute()) if folder else {}, indent=1).encode()


@cache
def _digests(folder: Path) -> dict[str, str]:
    def of(path: Path) -> str:
        found = digests.whole_sha256(path)
        clock.moved()
        return found

    try:
        paths = list(digests.weight_files(folder))
        with ThreadPoolExecutor(8) as pool:  # hashing lets other threads run
            return dict(zip((path.name for path in paths), pool.map(of, paths), strict=True))
    except OSError as error:
        print(
            f"WARNING: the base in {folder} can't be read ({error.strerror}), so checkpoints do not record its "
            "weights for `ftc verify --deep`.",
            flush=True,
        )
        return {}
