"""The same bytes everywhere."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ftc.compiler.run_dir.write import LOCK

from .specs import ROOT, SPECS, render, toml

DIGESTS = """
import hashlib, json, sys
from pathlib import Path
from ftc.compiler import compile_file
for spec in sys.argv[1:]:
    files = compile_file(spec, Path(spec).parent / "out").files
    for name, file in files.items():
        print(Path(spec).name, name, hashlib.sha256(file.content).hexdigest())
"""


def test_the_same_bytes_under_another_hash_seed_time_zone_locale_and_folder(folder: Path) -> None:
    specs = []
    for name, data in SPECS.items():
        (folder / f"{name}.toml").write_text(toml(data), "utf-8")
        specs.append(f"{name}.toml")
    seen = []
    for seed, zone, locale, where in (
        ("1", "UTC", "C.UTF-8", folder),
        ("2", "Asia/Tokyo", "C", ROOT),
        ("3", "America/New_York", "tr_TR.UTF-8", folder / "my weights"),
    ):
        env = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale}
        env.pop("PYTHONUTF8", None)
        paths = [os.path.relpath(folder / spec, where) for spec in specs]
        command = [sys.executable, "-c", DIGESTS, *paths]
        seen.append(subprocess.run(command, cwd=where, env=env, capture_output=True, check=True))
    assert len(seen[0].stdout.splitlines()) > 12 * len(SPECS)
    assert seen[0].stdout == seen[1].stdout == seen[2].stdout


@pytest.mark.parametrize("name", SPECS)
def test_the_order_of_keys_and_tables_does_not_matter(name: str, folder: Path) -> None:
    def backwards(data: Any) -> Any:
        if isinstance(data, dict):
            return {key: backwards(value) for key, value in reversed(data.items())}
        return [backwards(item) for item in data] if isinstance(data, list) else data

    there, back = render(SPECS[name], folder), render(backwards(SPECS[name]), folder)
    assert there["spec.toml"] != back["spec.toml"]
    for path in there.keys() - {"spec.toml", LOCK}:
        assert there[path] == back[path], path
