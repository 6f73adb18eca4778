"""What values of the plan are called, and the keys of the spec that decide them.

`ftc explain`, `ftc diff` and the lock use the plan's names. Most are the spec's own; of the others a user who wants to
set one is told which key to set.
"""

from __future__ import annotations

import re

from ..catalog.presets import Package

# Where the plan calls a key of the spec otherwise than the spec does.
PLACES = (("batch.", "train."), ("method.lora.", "method."))

BASES = ("model.hub_id", "model.modelscope", "model.folder")
# Values that follow from other keys.
DERIVED = {
    "summary": (),
    **{f"model.package.{part}": ("model.base", "model.source") for part in Package._fields},
    **dict.fromkeys((*BASES, "model.auto_class", "model.towers"), ("model.base",)),
    "model.max_position": ("model.rope_scaling.factor",),
    "model.fused": ("model.fused_kernels",),
    "model.liger": ("model.fused_kernels",),
    "method.lora.ensure_weight_tying": ("method.modules_to_save",),
    "method.lora.parameters": ("method.rank", "method.target_modules"),
    "method.lora.rank_pattern": ("method.rank_pattern[0].rank",),
    "method.lora.alpha_pattern": ("method.rank_pattern[0].alpha",),
    "batch.world_size": ("hardware.nodes", "hardware.devices_per_node"),
    "batch.data_parallel_size": ("hardware.devices_per_node", "parallel.sequence_parallel_size"),
    "batch.gradient_accumulation_steps": ("train.global_batch_size", "train.micro_batch_size"),
    "export.tolerance": ("model.dtype",),
    "deploy.backend": ("deploy.engine", "model.base"),
    "deploy.tp": ("hardware.devices_per_node", "model.base"),
}
SOURCE = re.compile(r"(data\.(?:train|validation)\[\d+\])\.(?:file|files|hub|modelscope)")


def key_of(path: str) -> str:
    """The key of the spec that a value of the plan at `path` is taken from."""
    if path in BASES:
        return "model.base"
    if path.endswith(("].hub", "].modelscope")):
        return path.rpartition(".")[0] + ".source"
    for place, table in PLACES:
        if path.startswith(place):
            return table + path.removeprefix(place)
    return path


def decided_by(path: str) -> tuple[str, ...]:
    """The keys to set for a value that the spec has no key of this name for; none for a key itself."""
    match = SOURCE.fullmatch(path)
    if match:
        return (f"{match[1]}.source",)
    if path in DERIVED:
        return DERIVED[path]
    key = key_of(path)
    return () if key == path else (key,)
