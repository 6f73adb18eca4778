"""Compiles every golden case anew: python -m tests.golden. Reviewing the diff in git is the review."""

from pathlib import Path

from ftc.compiler import compile_file, write
from ftc.compiler.run_dir.lock import LOCK

GOLDEN = Path(__file__).parent / "golden"


def cases() -> list[Path]:
    return sorted(path.parent for path in GOLDEN.rglob("spec.toml") if path.parent.name != "run")


def expected(case: Path) -> dict[str, bytes]:
    """What the case compiles to. The lock is left out: it names versions and hashes of the whole runtime."""
    files = compile_file(case / "spec.toml", case / "run").files
    return {path: file.content for path, file in files.items() if path != LOCK}


if __name__ == "__main__":
    for case in cases():
        changed = write(
            compile_file(case / "spec.toml", case / "run").files, case / "run", force=True
        )
        (case / "run" / LOCK).unlink()
        print(f"{case.name}: {len([name for name in changed if name != LOCK])} files changed")
