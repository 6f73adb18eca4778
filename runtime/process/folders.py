"""Folders outside of a run directory, and who may write there."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import RunError


def cache() -> Path:
    """Where ftc keeps models: $FTC_CACHE, or ftc/ in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FTC_CACHE") or Path(home) / "ftc")


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """No other process makes `place` meanwhile. Raises RunError on a file system that has no locks."""
    import filelock

    held = filelock.FileLock(f"{place}.lock")
    try:
        held.acquire()
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EIO):
            raise
        raise RunError(
            "no-locks",
            f"a lock is refused ({error.strerror}); processes that write here at once would harm each other",
            "mount it with locks, or set FTC_CACHE to a folder on a local disk",
            where=str(place.parent),
        ) from None
    try:
        yield
    finally:
        held.release()
