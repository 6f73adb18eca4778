"""Rules about [deploy]."""

from __future__ import annotations

from collections.abc import Iterator

from ..catalog.engines import ENGINES, engine_for
from ..diagnostics.diagnostic import Diagnostic
from ..document.at import at
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.spec import Spec
from .rule import DEVICE, Rule


def engine_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The server runs on the target."""
    name, device = spec.deploy.engine, spec.hardware.device
    if name != "auto" and device not in ENGINES[name].devices:
        yield at(
            document,
            ("deploy", "engine"),
            "engine-not-supported",
            f"{name} serves on GPUs only, and the target is a CPU",
            on="value",
            others=[(DEVICE, 'device is "cpu"')],
            hints=[f'set engine = "{engine_for(device)}"', 'or leave it to engine = "auto"'],
        )


RULES: tuple[Rule, ...] = (engine_fits,)
