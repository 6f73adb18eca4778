"""The parts of a model that text never reaches: they see pictures or hear sounds, and stay as they are."""

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# What transformers' processors are saved as, beside the tokenizer.
PROCESSOR = (
    *("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"),
    *("image_preprocessor_config.json", "audio_preprocessor_config.json"),
)


def inside(names: Iterable[str], towers: Sequence[str]) -> list[str]:
    """Those of the full names that are of a module so called, or lie in it: "visual" is in a.visual.b.weight."""
    within = re.compile(rf"(?:.*\.)?(?:{'|'.join(map(re.escape, towers))})(?:\..*)?")
    return [name for name in names if towers and within.fullmatch(name)]


def freeze(model: Any, towers: Sequence[str]) -> None:
    """Freezes what lies in modules of these names, of which the model may lack some."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in inside(parameters, towers):
        parameters[name].requires_grad_(False)


def leave_out(model: Any, config: Any, towers: Sequence[str]) -> None:
    """Adds what lies in modules of these names to what `config` (a LoraConfig) excludes."""
    names = inside((name for name, _ in model.named_modules()), towers)
    config.exclude_modules = {*(config.exclude_modules or ()), *names}


def copy_processor(base: str, revision: str | None, folder: Path) -> None:
    """Copies into `folder` the base's files that prepare pictures and sounds for a model."""
    from transformers.utils import cached_file

    for name in PROCESSOR:
        found = cached_file(
            base,
            name,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if found:
            shutil.copyfile(found, folder / name)
