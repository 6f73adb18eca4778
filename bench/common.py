"""What the benchmarks share: rows, and the memory of processes."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path


def alpaca_rows(folder: Path) -> list[dict[str, str]]:
    """The 999 alpaca rows in the source distribution of llamafactory 0.9.5, downloaded to `folder`."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary"]
    subprocess.run(
        [*command, "llamafactory", "--dest", str(folder), "llamafactory==0.9.5"], check=True
    )
    with tarfile.open(next(folder.glob("llamafactory-*.tar.gz"))) as sdist:
        member = next(m for m in sdist.getmembers() if m.name.endswith("/alpaca_en_demo.json"))
        file = sdist.extractfile(member)
        assert file is not None
        return json.load(file)


def memory(pid: int, kind: str) -> int:
    """The proportional set size of a process and all below it, in bytes: shared pages count once."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(kind):
                total += int(line.split()[1]) * 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += memory(int(child), kind)
    except OSError:  # it has ended
        pass
    return total
