"""compiler/catalog/model_types.py, made from the transformers that is installed.

    python -m tests.model_types

tests/test_model_types.py fails where the two differ.
"""

import textwrap

from .conftest import ROOT

FILE = ROOT / "compiler" / "catalog" / "model_types.py"
HEAD = '''"""What transformers loads, by model_type: made by `python -m tests.model_types`, not by hand."""

TRANSFORMERS = "{version}"  # the version that it was made with

_CAUSAL = """
{causal}
"""
_WHOLE = """
{whole}
"""
_WITH_MEDIA = """
{media}
"""
_OTHERS = """
{others}
"""

# The class that AutoModelForCausalLM takes.
CAUSAL = {{kind: name for kind, _, name in (pair.partition(":") for pair in _CAUSAL.split())}}
# Of them, those whose folder holds a model of pictures or sounds as well, where that class is its text model alone:
# the class of the whole, which AutoModelForImageTextToText takes.
WHOLE = {{kind: name for kind, _, name in (pair.partition(":") for pair in _WHOLE.split())}}
# Models of pictures or sounds that answer in text, without a causal class.
WITH_MEDIA = frozenset(_WITH_MEDIA.split())
# All others that transformers knows.
OTHERS = frozenset(_OTHERS.split())
'''


def text() -> str:
    """The file, from the names in transformers' auto classes; no model is imported."""
    import transformers
    from transformers.models.auto import modeling_auto as auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES as CONFIGS

    def classes(names: dict[str, str]) -> dict[str, str]:
        """By model_type; a config that several types share leads to one class."""
        by_config = {CONFIGS[kind]: name for kind, name in names.items()}
        return {kind: by_config[config] for kind, config in CONFIGS.items() if config in by_config}

    causal = classes(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    images = classes(auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    media = images.keys() | classes(auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES).keys()
    whole = {k: images[k] for k in causal if k in images and images[k] != causal[k]}
    return HEAD.format(
        version=transformers.__version__,
        causal=_lines(f"{kind}:{name}" for kind, name in causal.items()),
        whole=_lines(f"{kind}:{name}" for kind, name in whole.items()),
        media=_lines(media - causal.keys()),
        others=_lines(CONFIGS.keys() - causal.keys() - media),
    )


def _lines(words) -> str:
    return textwrap.fill(
        " ".join(sorted(words)), 100, break_long_words=False, break_on_hyphens=False
    )


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
