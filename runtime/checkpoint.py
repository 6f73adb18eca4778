"""Checkpoints: DeepSpeed writes them; here they become complete or stay invisible.

A checkpoint is a folder checkpoints/step-NNNNNN. It is written under checkpoints/.saving, flushed to
disk and renamed when every rank is done, so that a kill at any moment leaves whole checkpoints only.
Beside DeepSpeed's files it holds adapter_config.json (if an adapter is trained), ftc.lock as it was, and
probe.json: token ids of a few training sequences, on which convert.sh proves its work.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from . import distributed, lock
from .errors import RunError
from .tokens import Sample

FOLDER = Path("checkpoints")
SAVING = FOLDER / ".saving"


def steps(folder: Path = FOLDER) -> list[tuple[int, Path]]:
    """The complete checkpoints, oldest first: (steps trained, folder)."""
    found = [(int(p.name[5:]), p) for p in folder.glob("step-*") if p.name[5:].isdigit()]
    return sorted(found)


def save(engine: Any, step: int, keep: int, probe: Sequence[Sample]) -> None:
    """Writes the state after `step` steps and keeps the newest `keep` checkpoints. Every rank calls it."""
    tag = f"step-{step:06d}"
    engine.save_checkpoint(
        str(SAVING),
        tag=tag,
        client_state={"step": step},
        save_latest=False,
        exclude_frozen_parameters=True,
    )
    distributed.barrier()
    if torch.distributed.get_rank() == 0:
        written = SAVING / tag
        config = getattr(engine.module, "peft_config", {}).get("default")
        if config is not None:
            config.save_pretrained(str(written))
        shutil.copy(lock.LOCK, written)
        ids = [sample.ids[:128].tolist() for sample in probe[:4]]
        (written / "probe.json").write_text(json.dumps(ids), "utf-8")
        for path in [*written.rglob("*"), written]:
            _flush(path)
        if (FOLDER / tag).exists():
            shutil.rmtree(FOLDER / tag)
        written.rename(FOLDER / tag)
        _flush(FOLDER)
        shutil.rmtree(SAVING)
        for _, old in steps()[:-keep]:
            shutil.rmtree(old)
    distributed.barrier()


def resume(engine: Any, choice: str | None) -> int:
    """Loads a checkpoint ("latest" or a path); returns the number of steps that it has behind it.

    "latest" without any checkpoint starts from the beginning, so that a queue may always pass it.
    Raises RunError for a path that holds no checkpoint, or one of another run: changed data, or a changed
    key that makes a new run.
    """
    if choice is None or (choice == "latest" and not steps()):
        return 0
    path = steps()[-1][1] if choice == "latest" else Path(choice)
    if not (path / "probe.json").is_file():
        raise RunError(
            "no-checkpoint",
            f"{choice} is no complete checkpoint of this run",
            "the complete ones: " + (", ".join(str(p) for _, p in steps()) or "none yet"),
        )
    if differences := lock.differences(path):
        raise RunError(
            "other-run",
            f"{path} is of another run: {'; '.join(differences)}",
            "compile the spec that it was trained with, or train anew: bash launch.sh --start-over",
            where=lock.LOCK,
        )
    # Frozen weights are not in a checkpoint: they come from the base model.
    _, state = engine.load_checkpoint(str(path.parent), tag=path.name, load_module_strict=False)
    return int(state["step"])


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
