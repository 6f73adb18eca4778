"""The parts of a model that text never reaches: they see pictures or hear sounds, and stay as they are."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# What transformers' processors are saved as, beside the tokenizer.
PROCESSOR = (
    *("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"),
    *("image_preprocessor_config.json", "audio_preprocessor_config.json"),
)


def pattern(towers: Sequence[str]) -> str:
    """A regular expression for the full names of all modules inside those of such names, as in `a.visual.b`."""
    return rf"(?:.*\.)?(?:{'|'.join(map(re.escape, towers))})(?:\..*)?"


def freeze(model: Any, towers: Sequence[str]) -> None:
    """Freezes what lies in modules of these names, of which the model may lack some."""
    inside = re.compile(pattern(towers))
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if towers and inside.fullmatch(name):
            parameter.requires_grad_(False)


def leave_out(config: Any, towers: Sequence[str]) -> None:
    """Has PEFT put no adapter there, nor on what the list in `config` (a LoraConfig) excludes."""
    listed = [rf"(?:.*\.)?{re.escape(name)}" for name in sorted(config.exclude_modules or ())]
    config.exclude_modules = "|".join([*listed, pattern(towers)])


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
