"""What a row of the catalog names is there: templates, pins, functions of the runtime."""

import pytest
from ftc.compiler.catalog.architectures import MODEL_TYPES, USUAL, traits
from ftc.compiler.catalog.engines import ENGINES, engine_for
from ftc.compiler.catalog.optimizers import OPTIMIZERS
from ftc.compiler.emit.requirements import pins
from ftc.compiler.spec.deploy import Deploy
from ftc.compiler.spec.describe import literals
from ftc.compiler.spec.optim import Optim
from ftc.runtime.model import fused

from .specs import TEMPLATES


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_has_its_passage_and_its_packages(name):
    row = OPTIMIZERS[name]
    passage = (TEMPLATES / f"train/optimizer_{row.passage}.jinja").read_text("utf-8")
    assert {*row.packages} <= pins().keys()
    assert bool(row.module) == bool(row.name)
    assert {*row.lacks} <= Optim.model_fields.keys()
    for key in ("betas", "eps"):
        assert (key.upper() in passage) == (key not in row.lacks)
    assert not row.unpaged or not OPTIMIZERS[row.unpaged].unpaged


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_has_its_template_and_its_pins(name):
    row = ENGINES[name]
    assert (TEMPLATES / f"deploy_{name}.sh.jinja").is_file()
    assert {*row.packages} <= pins(row.pins).keys()
    assert not row.backends or row.backends[-1].any_type
    assert all(device in ENGINES[engine_for(device)].devices for device in row.devices)


def test_a_spec_can_name_what_the_catalog_has_and_nothing_else():
    assert literals(Optim.model_fields["optimizer"].annotation) == [*OPTIMIZERS]
    assert literals(Deploy.model_fields["engine"].annotation) == ["auto", *ENGINES]


def test_a_model_type_names_what_there_is():
    backends = {b.name for engine in ENGINES.values() for b in engine.backends if not b.any_type}
    for kind, row in MODEL_TYPES.items():
        assert all(callable(getattr(fused, swap)) for swap in row.swaps), kind
        assert {*row.backends} <= backends, kind
        assert row != USUAL, f"{kind}: a row that says nothing"
    assert {name for row in MODEL_TYPES.values() for name in row.backends} == backends
    assert traits("unheard_of") is USUAL
