"""What `ftc diff` says of checkpoints is what the run itself says when it is to go on from them."""

from pathlib import Path
from typing import Any

import pytest
from ftc.compiler import compile_document
from ftc.compiler.diff import diff
from ftc.compiler.load import Document, parse
from ftc.compiler.sides import of_compiled
from ftc.compiler.write import LOCK
from ftc.runtime import lock

from .changes import CHANGES, put
from .specs import toml


@pytest.mark.parametrize("path", sorted(CHANGES))
def test_a_verdict_is_what_the_run_says(path: str, folder: Path) -> None:
    one, other, data = CHANGES[path]
    sides = []
    for name, value in (("then", one), ("now", other)):
        document = parsed(put(data, path, value), folder)
        compiled = compile_document(document)
        (folder / name).mkdir()
        (folder / name / LOCK).write_bytes(compiled.files[LOCK].content)
        sides.append(of_compiled(document, compiled))
    refused = lock.differences(folder / "then", folder / "now")
    difference = diff(*sides)
    assert (difference.resume == "new run") == bool(refused), (refused, str(difference))


def parsed(data: dict[str, Any], folder: Path) -> Document:
    return parse(toml(data), str(folder / "spec.toml"))
