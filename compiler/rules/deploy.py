"""Rules about [deploy]."""

from __future__ import annotations

from collections.abc import Iterator

from ..diagnostics.diagnostic import Diagnostic
from ..document.at import at
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.spec import Spec
from .rule import DEVICE, Rule


def engine_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The server runs on the target."""
    if spec.deploy.engine == "lmdeploy" and spec.hardware.device == "cpu":
        yield at(
            document,
            ("deploy", "engine"),
            "engine-not-supported",
            "lmdeploy serves on GPUs only, and the target is a CPU",
            on="value",
            others=[(DEVICE, 'device is "cpu"')],
            hints=['set engine = "transformers"', 'or leave it to engine = "auto"'],
        )


RULES: tuple[Rule, ...] = (engine_fits,)
