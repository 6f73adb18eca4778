"""Compiles every golden case anew: python -m tests.golden. Reviewing the diff in git is the review."""

import json
import re
from pathlib import Path

from ftc.compiler import compile_file, write
from ftc.compiler.run_dir.lock import LOCK

GOLDEN = Path(__file__).parent / "golden"


def cases() -> list[Path]:
    return sorted(path.parent for path in GOLDEN.rglob("spec.toml") if path.parent.name != "run")


def expected(case: Path) -> dict[str, bytes]:
    """What the case compiles to. Of the lock only the plan and the facts are kept, without their digests, beside
    the run: the rest names versions and hashes of the whole runtime."""
    files = compile_file(case / "spec.toml", case / "run").files
    run = {f"run/{path}": file.content for path, file in files.items() if path != LOCK}
    return {**run, "lock.json": decided(files[LOCK].content)}


def decided(lock: bytes) -> bytes:
    """The plan and the facts of a lock, a value a line."""
    content = json.loads(lock)
    plan = [f"{json.dumps(path)}: {json.dumps(value)}" for path, value in content["plan"].items()]
    facts = json.dumps(content["facts"], indent=1)
    text = "{\n" + ",\n".join([*plan, f'"facts": {facts}']) + "\n}\n"
    return re.sub(r"\b[0-9a-f]{64}\b", "digest", text).encode()


if __name__ == "__main__":
    for case in cases():
        files = compile_file(case / "spec.toml", case / "run").files
        changed = write(files, case / "run", force=True)
        (case / "run" / LOCK).unlink()
        (case / "lock.json").write_bytes(decided(files[LOCK].content))
        print(f"{case.name}: {len([name for name in changed if name != LOCK])} files changed")
