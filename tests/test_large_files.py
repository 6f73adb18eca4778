"""A file larger than memory may hold, shown with a file larger than a process may."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from . import tiny
from .conftest import environ

SIZE = 160 * 10**6  # bytes of the file
ROOM = 128 * 2**20  # bytes that each process may take beside its imports
LOAD = """\
import json, re, resource, sys
from pathlib import Path
from ftc.runtime import data
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
begun = 1024 * int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_DATA, (begun + int(sys.argv[2]),) * 2)
samples = data.load([data.Source(file=sys.argv[3])], tokenizer, 4096, "assistant", "drop", "data.json")
sequences = data.pack(samples, 4096)
print(len(sequences), samples[len(samples) - 1].row)
"""


@pytest.mark.slow
def test_neither_rows_nor_tokens_are_held_in_memory(tmp_path, tiny_model):
    some = tiny.rows(400)
    turns = [message for row in some for message in row["messages"]]
    lines = [json.dumps({"messages": turns[n : n + 40]}) for n in range(0, len(turns) - 40, 40)]
    count = SIZE // sum(map(len, lines)) * len(lines)
    with Path(tmp_path, "rows.jsonl").open("w") as file:
        for number in range(count):
            file.write(lines[number % len(lines)] + "\n")
    command = [sys.executable, "-c", LOAD, str(tiny_model), str(ROOM), "rows.jsonl"]
    env = environ(FTC_CACHE=str(tmp_path / "cache"))
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (ledger,) = json.loads(Path(tmp_path, "data.json").read_text())
    assert ledger["rows"] == ledger["samples"] == count
    assert 4 * ledger["tokens"] > ROOM, "ids alone would not fit"
    assert done.stdout.splitlines()[-1].endswith(f":{count}")
