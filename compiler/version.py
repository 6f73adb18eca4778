"""The version of ftc that is installed."""

from __future__ import annotations

from importlib import metadata


def tool_version() -> str:
    try:
        return metadata.version("ftc")
    except metadata.PackageNotFoundError:
        return "unknown"
