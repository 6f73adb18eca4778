"""Checkpoints, complete or invisible.

A checkpoint is a folder checkpoints/step-NNNNNN: the trained weights and the optimizer's state in pieces
(see shards.py; safetensors only), adapter_config.json (if an adapter is trained), ftc.lock as it was,
state.json, and the token ids of a few training sequences (probe.json) with the logits that the model in
training gives their last token (probe.safetensors), on which convert.sh proves its work.

It is written under checkpoints/.saving, flushed to disk and renamed when every rank is done, so that a
kill at any moment, or a full disk, leaves whole checkpoints only. digests.json holds the size and digest
of every file; they are compared before a checkpoint is gone on with.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import xxhash

from . import clock, distributed, lock, shards, stop, validation
from .errors import RunError
from .tokens import Sample

FOLDER = Path("checkpoints")
SAVING = FOLDER / ".saving"
DIGESTS = "digests.json"
FILE_BYTES = 1 << 30  # a file's tensors are copied to the host's memory before they are written


def steps(folder: Path = FOLDER) -> list[tuple[int, Path]]:
    """The complete checkpoints, oldest first: (steps trained, folder)."""
    found = [(int(p.name[5:]), p) for p in folder.glob("step-*") if p.name[5:].isdigit()]
    return sorted(found)


@clock.apart
def save(
    engine: Any,
    step: int,
    keep: int,
    probe: Sequence[Sample],
    validation_losses: validation.Losses = (),
    keep_best: bool = False,
) -> None:
    """Writes the state after `step` steps and keeps the newest `keep` checkpoints. Every rank calls it.

    `keep_best`: and the one with the lowest validation loss. Older ones go when the new one is complete.
    Raises RunError on every rank if one of them can't write.
    """
    written = SAVING / f"step-{step:06d}"
    first = torch.distributed.get_rank() == 0
    _all_or_none(written, lambda: _begin(written) if first else None)
    _all_or_none(written, lambda: _write_pieces(engine, written))
    rows = [sample.ids[:128].tolist() for sample in probe[:4]]
    proof = {
        "probe.json": json.dumps(rows).encode(),
        "probe.safetensors": _last_logits(engine, rows),
    }
    more = {"step": step, "validation_losses": list(validation_losses)}

    _all_or_none(written, lambda: _complete(engine, written, more, proof) if first else None)
    if first:
        _rotate(keep, keep_best)


def _last_logits(engine: Any, rows: list[list[int]]) -> bytes:
    """The logits of each row's last token, (1, vocabulary) float32, by the row's number.

    Every rank computes them, as a model partitioned over ranks needs them all.
    """
    model, training = engine.module, engine.module.training
    model.eval()
    with torch.no_grad():
        found = {
            str(number): model(
                input_ids=torch.tensor([row], device=engine.device),
                logits_to_keep=1,
                use_cache=False,
            ).logits[0]
            for number, row in enumerate(rows)
        }
    model.train(training)
    tensors = {number: logits.float().cpu().contiguous() for number, logits in found.items()}
    return safetensors.torch.save(tensors)


def _begin(folder: Path) -> None:
    shutil.rmtree(SAVING, ignore_errors=True)
    folder.mkdir(parents=True)


def _write_pieces(engine: Any, folder: Path) -> None:
    """This rank's files: weights-RANK-N and optimizer-RANK-N, and their digests."""
    rank, digests = torch.distributed.get_rank(), {}
    kinds = {"weights": shards.weights(engine), "optimizer": shards.optimizer_state(engine)}
    for kind, tensors in kinds.items():
        for number, batch in enumerate(_batches(tensors)):
            content = safetensors.torch.save(batch)
            name = f"{kind}-{rank:05d}-{number:03d}.safetensors"
            digests[name] = _write(folder / name, content)
            clock.moved()
    _write(folder / f"digests-{rank:05d}.json", json.dumps(digests).encode())


def _batches(
    tensors: Iterable[tuple[str, torch.Tensor]],
) -> Iterator[dict[str, torch.Tensor]]:
    """The tensors in batches of about FILE_BYTES, copied to the host."""
    batch: dict[str, torch.Tensor] = {}
    size = 0
    for key, tensor in tensors:
        if batch and size + tensor.nbytes > FILE_BYTES:
            yield batch
            batch, size = {}, 0
        batch[key] = tensor.to("cpu").clone()
        size += tensor.nbytes
    if batch:
        yield batch


def _complete(engine: Any, folder: Path, more: dict[str, Any], proof: dict[str, bytes]) -> None:
    """What rank 0 adds when all pieces are there; then the checkpoint gets its name."""
    digests: dict[str, Any] = {}
    for rank in range(torch.distributed.get_world_size()):
        part = folder / f"digests-{rank:05d}.json"
        if not part.is_file():
            raise RunError(
                "not-shared",
                f"what rank {rank} wrote to checkpoints/ can't be seen by rank 0",
                "put the run directory on a file system that all nodes share",
                where=str(folder),
            )
        digests |= json.loads(part.read_text("utf-8"))
        part.unlink()
    state = {
        **more,
        "layout": shards.layout(engine),
        "shapes": shards.shapes(engine),
        "loss_scale": _loss_scale(engine),
    }
    contents = {
        **proof,
        "state.json": json.dumps(state).encode(),
        lock.LOCK: lock.content(),
    }
    config = getattr(engine.module, "peft_config", {}).get("default")
    if config is not None:
        config.save_pretrained(str(folder))
        contents["adapter_config.json"] = (folder / "adapter_config.json").read_bytes()
    for name, content in contents.items():
        digests[name] = _write(folder / name, content)
    _write(folder / DIGESTS, json.dumps(digests, indent=1).encode())
    _flush(folder)
    folder.rename(FOLDER / folder.name)
    _flush(FOLDER)
    shutil.rmtree(SAVING)


def _rotate(keep: int, keep_best: bool) -> None:
    """Old checkpoints go: out of sight first, as a kill while one is deleted would leave a part of it.

    What can't be deleted yet, as a reader on NFS holds its files, is tried again after the next save.
    """
    best = validation.best(path for _, path in steps()) if keep_best else None
    for _, old in steps()[:-keep]:
        if old != best:
            try:
                old.rename(old.with_name(f".removed-{old.name}"))
            except OSError as error:
                print(f"WARNING: {old} can't be removed: {error.strerror}.", flush=True)
    for removed in FOLDER.glob(".removed-*"):
        shutil.rmtree(removed, ignore_errors=True)


def _write(path: Path, content: bytes) -> list[Any]:
    """Writes a file through to the disk; returns its [size, digest]."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return [len(content), xxhash.xxh3_128_hexdigest(content)]


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _all_or_none(folder: Path, work: Callable[[], None]) -> None:
    """Does the work; if it fails on any rank, the checkpoint is given up and each rank raises RunError."""
    error = None
    try:
        work()
    except RunError as stopped:
        error = stopped
    except OSError as failed:
        error = _cannot_save(folder, failed)
    errors = [found for found in distributed.gather(error) if found is not None]
    if errors:
        if torch.distributed.get_rank() == 0:
            shutil.rmtree(SAVING, ignore_errors=True)
        raise errors[0]


def _cannot_save(folder: Path, failed: OSError) -> RunError:
    """The error of a save that failed: what was to be written, what is free, what is still there."""
    written = sum(p.stat().st_size for p in folder.glob("*") if p.is_file())
    previous = [path for _, path in steps()]
    sizes = [sum(file.stat().st_size for file in path.glob("*")) for path in previous]
    needed = f"; a checkpoint takes {sizes[-1] / 1e6:,.0f} MB" if sizes else ""
    free = shutil.disk_usage(FOLDER if FOLDER.exists() else Path.cwd()).free
    return RunError(
        "cannot-save",
        f"{failed.strerror or failed}: {written / 1e6:,.0f} MB of the checkpoint were written, "
        f"{free / 1e6:,.0f} MB are free in {FOLDER.absolute()}{needed}",
        "make room, then go on from the last good one, "
        + (f"{previous[-1]}: {stop.RESUME}" if previous else "of which there is none"),
        "fewer checkpoints are kept with a smaller train.keep_checkpoints",
        where=str(folder),
    )


SCALES = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")


def _scaler(engine: Any) -> Any:
    """What holds float16's loss scale, by the optimizer that DeepSpeed chose."""
    optimizer = engine.optimizer
    return getattr(optimizer, "loss_scaler", getattr(optimizer, "loss_scale_config", None))


def _loss_scale(engine: Any) -> dict[str, Any]:
    scaler = _scaler(engine)
    return {name: getattr(scaler, name) for name in SCALES if hasattr(scaler, name)}


def damage(path: Path) -> list[str]:
    """What is wrong with a checkpoint's files, in words; empty if nothing is.

    Ranks share the work; each gets the whole answer.
    """
    digests: dict[str, Any] = {}
    found = []
    try:
        digests = json.loads((path / DIGESTS).read_text("utf-8"))
    except (OSError, ValueError):
        found.append(f"{DIGESTS} is missing or can't be read")
    rank, world_size = distributed.place()
    for name, (size, digest) in list(digests.items())[rank::world_size]:
        file = path / name
        if not file.is_file():
            found.append(f"{name} is missing")
        elif file.stat().st_size != size:
            found.append(f"{name} has {file.stat().st_size:,} bytes and had {size:,}")
        elif _digest(file) != digest:
            found.append(f"{name} has other bytes than were written")
    return list(dict.fromkeys(text for part in distributed.gather(found) for text in part))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def newest(set_aside: bool = False) -> Path | None:
    """The newest checkpoint that is whole. Damaged ones are named and passed over.

    `set_aside`: and renamed. Only training does that: a reader may see one that is just being removed.
    """
    for _, path in reversed(steps()):
        wrong = damage(path)
        if not wrong:
            return path
        if not path.exists():  # removed meanwhile, for a newer one
            return newest(set_aside)
        if not set_aside:
            print(
                f"WARNING: {path} is damaged: {'; '.join(wrong)}. The one before it is taken.",
                flush=True,
            )
            continue
        aside = FOLDER / f"damaged-{path.name}"
        distributed.barrier()
        if distributed.place()[0] == 0:
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            print(
                f"WARNING: {path} is damaged: {'; '.join(wrong)}.\n"
                f"         It is now {aside}, and the one before it is taken.",
                flush=True,
            )
        distributed.barrier()
    return None


def resume(engine: Any, choice: str | None) -> tuple[int, list[tuple[int, float]]]:
    """Loads a checkpoint ("latest" or a path); returns the number of steps that it has behind it, and the
    validation losses on the way, as (steps, loss).

    "latest" without any checkpoint starts from the beginning, so that a queue may always pass it.
    Raises RunError for a path that holds no checkpoint, or a damaged one, or one of another run: changed
    data, or a changed key that makes a new run.
    """
    if choice is None or (choice == "latest" and not steps()):
        return 0, []
    path = newest(set_aside=True) if choice == "latest" else find(choice)
    if path is None:
        raise RunError(
            "damaged-checkpoint",
            "every checkpoint of this run is damaged",
            "train anew: bash launch.sh --start-over",
            where=str(FOLDER),
        )
    if differences := lock.differences(path):
        raise RunError(
            "other-run",
            f"{path} is of another run: {'; '.join(differences)}",
            "compile the spec that it was trained with, or train anew: bash launch.sh --start-over",
            where=lock.LOCK,
        )
    state = json.loads((path / "state.json").read_text("utf-8"))
    shards.load(engine, path, same_layout=state["layout"] == shards.layout(engine))
    for name, value in state["loss_scale"].items():
        if hasattr(_scaler(engine), name):
            setattr(_scaler(engine), name, value)
    engine.global_steps = state["step"]
    _set_aside(after=state["step"])
    losses = [(step, loss) for step, loss in state.get("validation_losses", [])]
    if losses and lock.validation(path) != lock.validation():
        if distributed.place()[0] == 0:
            print("The validation data changed: earlier losses don't count any more.", flush=True)
        losses = []
    return state["step"], losses


def find(choice: str) -> Path:
    """The checkpoint that a path means: seen from the run directory or from where launch.sh was called,
    or a name in checkpoints/. Raises RunError if there is none, or it is damaged.
    """
    called_from = os.environ.get("OLDPWD", ".")  # launch.sh changes to its own folder
    places = [Path(choice), FOLDER / choice, Path(called_from, choice)]
    path = next((p for p in places if (p / "state.json").is_file()), None)
    others = "the complete ones: " + (", ".join(str(p) for _, p in steps()) or "none yet")
    if path is None:
        raise RunError("no-checkpoint", f"{choice} is no complete checkpoint", others)
    if wrong := damage(path):
        raise RunError("damaged-checkpoint", "; ".join(wrong), others, where=choice)
    return path


def _set_aside(after: int) -> None:
    """Moves checkpoints beyond the step that is gone on from to previous/: other ones will follow it."""
    later = [path for step, path in steps() if step > after]
    distributed.barrier()
    if later and torch.distributed.get_rank() == 0:
        print(f"Later checkpoints were moved to {shelve(later)}/.", flush=True)
    distributed.barrier()


def shelve(paths: Iterable[Path]) -> Path:
    """Moves what is no longer wanted, by its path, below a new folder previous/N; returns that."""
    taken = [int(p.name) for p in Path("previous").glob("*") if p.name.isdecimal()]
    shelf = Path("previous", str(1 + max(taken, default=0)))
    for path in paths:
        (shelf / path).parent.mkdir(parents=True, exist_ok=True)
        path.rename(shelf / path)
    return shelf
