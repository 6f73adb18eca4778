"""The checkpoints of a run on disk: which are there, which of them are whole."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xxhash

from ..errors import RunError
from ..process import distributed

FOLDER = Path("checkpoints")
DIGESTS = "digests.json"


def steps(folder: Path = FOLDER) -> list[tuple[int, Path]]:
    """The complete checkpoints, oldest first: (steps trained, folder)."""
    named = [p for p in folder.glob("step-*") if re.fullmatch("step-[0-9]+", p.name) and p.is_dir()]
    return sorted((int(p.name[5:]), p) for p in named)


def damage(path: Path) -> list[str]:
    """What is wrong with a checkpoint's files, in words; empty if nothing is.

    Ranks share the work; each gets the whole answer.
    """
    digests = _digests(path)
    found = [] if digests else [f"{DIGESTS} is missing or can't be read"]
    rank, world_size = distributed.place()
    for name, (size, digest) in list(digests.items())[rank::world_size]:
        file = path / name
        if not file.is_file():
            found.append(f"{name} is missing")
        elif file.stat().st_size != size:
            found.append(f"{name} has {file.stat().st_size:,} bytes and had {size:,}")
        elif _digest(file) != digest:
            found.append(f"{name} has other bytes than were written")
    return list(dict.fromkeys(text for part in distributed.gather(found) for text in part))


def _digests(path: Path) -> dict[str, tuple[int, str]]:
    """The sizes and digests that a checkpoint's files should have, by name; none if they can't be read."""
    try:
        found: Any = json.loads((path / DIGESTS).read_text("utf-8"))
        return {name: (int(size), str(digest)) for name, (size, digest) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def newest(set_aside: bool = False) -> Path | None:
    """The newest checkpoint that is whole. Damaged ones are named and passed over.

    `set_aside`: and renamed. Only training does that: a reader may see one that is just being removed.
    """
    for _, path in reversed(steps()):
        wrong = damage(path)
        if not wrong:
            return path
        if not path.exists():  # removed meanwhile, for a newer one
            return newest(set_aside)
        if not set_aside:
            print(
                f"WARNING: {path} is damaged: {'; '.join(wrong)}. The one before it is taken.",
                flush=True,
            )
            continue
        aside = FOLDER / f"damaged-{path.name}"
        distributed.barrier()
        if distributed.place()[0] == 0:
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            print(
                f"WARNING: {path} is damaged: {'; '.join(wrong)}.\n"
                f"         It is now {aside}, and the one before it is taken.",
                flush=True,
            )
        distributed.barrier()
    return None


def find(choice: str) -> Path:
    """The checkpoint that a path means: seen from the run directory or from where launch.sh was called,
    or a name in checkpoints/. Raises RunError if there is none, or it is damaged.
    """
    called_from = os.environ.get("OLDPWD", ".")  # launch.sh changes to its own folder
    places = [Path(choice), FOLDER / choice, Path(called_from, choice)]
    path = next((p for p in places if (p / "state.json").is_file()), None)
    others = "the complete ones: " + (", ".join(str(p) for _, p in steps()) or "none yet")
    if path is None:
        raise RunError("no-checkpoint", f"{choice} is no complete checkpoint", others)
    if wrong := damage(path):
        raise RunError("damaged-checkpoint", "; ".join(wrong), others, where=choice)
    return path


def shelve(paths: Iterable[Path]) -> Path:
    """Moves what is no longer wanted, by its path, below a new folder previous/N; returns that."""
    taken = [int(p.name) for p in Path("previous").glob("*") if p.name.isdecimal()]
    shelf = Path("previous", str(1 + max(taken, default=0)))
    for path in paths:
        (shelf / path).parent.mkdir(parents=True, exist_ok=True)
        path.rename(shelf / path)
    return shelf
