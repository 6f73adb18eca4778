"""Folders outside of a run directory."""

import os
from pathlib import Path


def cache() -> Path:
    """Where ftc keeps models: $FTC_CACHE, or ftc/ in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FTC_CACHE") or Path(home) / "ftc")
