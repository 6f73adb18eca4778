"""How what a command needs is installed, as a line that works as it stands.

ftc is not on the package index, so a line never names it there: it names the clone, archive or repository
that this ftc was installed from (PEP 610), or else the packages themselves.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..diagnostics.diagnostic import Diagnostic
from ..diagnostics.tree import is_table

# By what it is told whether an extra of ftc is installed.
ASKED = {"train": ("numpy", "tqdm", "transformers", "datasets"), "report": ("matplotlib",)}


def not_installed(extra: str, what: str, path: str) -> Diagnostic | None:
    """What is wrong where this environment lacks an extra that `what` needs; None if it is there."""
    lacking = [name for name in ASKED[extra] if importlib.util.find_spec(name) is None]
    if not lacking:
        return None
    names = f"{', '.join(lacking[:-1])} and {lacking[-1]}" if lacking[1:] else lacking[0]
    message = f"{what} needs {names}, which {'are' if lacking[1:] else 'is'} not installed"
    return Diagnostic("no-runtime", message, path, hints=(install(extra),))


def install(extra: str) -> str:
    """The command line that installs an extra of ftc."""
    try:
        found = distribution("ftc")
        origin: Any = json.loads(found.read_text("direct_url.json") or "null")
        required = found.requires or []
    except (PackageNotFoundError, ValueError):
        origin, required = None, []
    if is_table(origin) and (words := _from_origin(origin, extra)):
        return f"pip install {words}"
    marker = f'extra == "{extra}"'
    names = [line.partition(";")[0].strip() for line in required if marker in line]
    return f"pip install {' '.join(map(shlex.quote, names or ASKED[extra]))}"


def _from_origin(origin: dict[str, Any], extra: str) -> str:
    """What pip is given for the extra of the same ftc again; "" if that is not there any more."""
    url = str(origin.get("url", ""))
    if is_table(vcs := origin.get("vcs_info")):
        commit = f"@{vcs['commit_id']}" if vcs.get("commit_id") else ""
        return shlex.quote(f"ftc[{extra}] @ {vcs.get('vcs', 'git')}+{url}{commit}")
    if urlsplit(url).scheme != "file":
        return shlex.quote(f"ftc[{extra}] @ {url}") if url else ""
    path = Path(unquote(urlsplit(url).path))
    info = origin.get("dir_info")
    editable = "-e " if is_table(info) and info.get("editable") else ""
    return f"{editable}{shlex.quote(f'{path}[{extra}]')}" if path.exists() else ""
