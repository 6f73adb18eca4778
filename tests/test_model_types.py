"""What the compiler knows of transformers' classes is what the installed version has."""

from ftc.compiler import architectures
from ftc.compiler.model_types import CAUSAL, OTHERS, WITH_MEDIA

from . import model_types


def test_the_table_is_that_of_the_installed_transformers():
    assert model_types.FILE.read_text("utf-8") == model_types.text()


def test_no_type_is_in_two_places():
    assert len({*CAUSAL, *OTHERS, *WITH_MEDIA}) == len(CAUSAL) + len(OTHERS) + len(WITH_MEDIA)
    assert len(CAUSAL) > 180 and len(OTHERS) > 400 and len(WITH_MEDIA) > 80


def test_what_is_said_of_a_type_is_about_one_that_exists():
    said = {*architectures.OF_MEDIA, *architectures.ENCODERS, *architectures.SEQ2SEQ}
    assert said <= {*CAUSAL, *OTHERS, *WITH_MEDIA}
