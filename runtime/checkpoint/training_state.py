"""Checkpoints, complete or invisible.

A checkpoint is a folder checkpoints/step-NNNNNN: the trained weights and the optimizer's state in pieces
(see shards.py; safetensors only), adapter_config.json (if an adapter is trained), ftc.lock as it was,
state.json, and the token ids of a few training sequences (probe.json) with the logits that the model in
training gives their last token (probe.safetensors), on which convert.sh proves its work.

It is written under checkpoints/.saving, flushed to disk and renamed when every rank is done, so that a
kill at any moment, or a full disk, leaves whole checkpoints only. digests.json holds the size and digest
of every file; they are compared before a checkpoint is gone on with.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import xxhash

from ..data import Stream, sample_set
from ..errors import RunError
from ..process import clock, distributed, lock, stop
from . import base_bytes, shards, validation
from .stored import DIGESTS, FOLDER, find, newest, shelve, steps

SAVING = FOLDER / ".saving"
FILE_BYTES = 1 << 30  # a file's tensors are copied to the host's memory before they are written


@clock.apart
def save(
    engine: Any,
    step: int,
    keep: int,
    stream: Stream,
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
    rows = [sample.ids[:128].tolist() for sample in stream.samples[:4]]
    proof = {
        "probe.json": json.dumps(rows).encode(),
        "probe.safetensors": _last_logits(engine, rows),
    }
    more = {
        "step": step,
        "sequences": stream.seen(step),
        "samples": sample_set.digest(stream.samples),
        "validation_losses": list(validation_losses),
    }

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
        batch[key] = tensor.to("cpu", copy=True)
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
        "base.json": base_bytes.record(),
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
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # it flushes no folders
            raise
    finally:
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


def resume(engine: Any, choice: str | None, stream: Stream) -> tuple[int, list[tuple[int, float]]]:
    """Loads a checkpoint ("latest" or a path); returns the number of steps that it has behind it, and the
    validation losses on the way, as (steps, loss).

    "latest" without any checkpoint starts from the beginning, so that a queue may always pass it.
    Raises RunError for a path that holds no checkpoint, or a damaged one, or one of another run: changed
    data, samples, or a changed key that makes a new run, or another base, by the logits; and where rows would
    be left out.
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
    _same_samples(path, state, stream)
    _no_gap(path, state, stream)
    shards.load(engine, path, same_layout=state["layout"] == shards.layout(engine))
    for name, value in state["loss_scale"].items():
        if hasattr(_scaler(engine), name):
            setattr(_scaler(engine), name, value)
    engine.global_steps = state["step"]
    _prove(engine, path)
    _set_aside(after=state["step"])
    losses = [(step, loss) for step, loss in state["validation_losses"]]
    if losses and lock.validation(path) != lock.validation():
        if distributed.place()[0] == 0:
            print("The validation data changed: earlier losses don't count any more.", flush=True)
        losses = []
    return state["step"], losses


def _same_samples(path: Path, state: dict[str, Any], stream: Stream) -> None:
    """Raises RunError if the rows become other samples than they did, or others of them are held out."""
    then = state.get("samples")
    if then is not None and then != sample_set.digest(stream.samples):
        raise RunError(
            "other-samples",
            f"the rows become other tokens now, or others of them are held out, than when {path} was saved",
            "put back the tokenizer, the format and the version of ftc that it was trained with",
            "or train anew: bash launch.sh --start-over",
            where=str(path),
        )


def _no_gap(path: Path, state: dict[str, Any], stream: Stream) -> None:
    """Raises RunError if the last step was short, as the epochs ended there, and they don't any more."""
    step, taken = state["step"], state["sequences"]
    gap = stream.seen(step) - taken
    if gap > 0:
        raise RunError(
            "short-step",
            f"step {step} took the last {taken - stream.seen(step - 1)} sequences of its run; in the longer "
            f"one it takes {stream.global_batch_size}, and going on from here would leave {gap} out",
            f"go on from a checkpoint before step {step}: bash launch.sh --resume PATH",
            "train the longer run anew: bash launch.sh --start-over",
            "or leave train.num_epochs as it was",
            where=str(path),
        )


def _prove(engine: Any, path: Path) -> None:
    """Raises RunError if the model answers otherwise than it did when it was saved.

    The checkpoint holds what is trained alone: a base that was changed since then shows itself here.
    """
    rows = json.loads((path / "probe.json").read_text("utf-8"))
    then = safetensors.torch.load_file(path / "probe.safetensors")
    now = safetensors.torch.load(_last_logits(engine, rows))
    scale = max((logits.abs().max().item() for logits in then.values()), default=1.0)
    differences = [(now[name] - then[name]).abs().max().item() / scale for name in then]
    tolerance = 1e-3 if lock.plan().get("model.dtype") == "float32" else 0.1
    if any(not difference < tolerance for difference in differences):
        raise RunError(
            "logits-differ",
            f"with the weights of {path} the model answers otherwise than when they were saved (by "
            f"{max(differences):.1g} of the logits' scale): its base is another one",
            "put the base model back that the run was trained on",
            "or train anew: bash launch.sh --start-over",
            where=str(path),
        )


def _set_aside(after: int) -> None:
    """Moves checkpoints beyond the step that is gone on from to previous/: other ones will follow it."""
    later = [path for step, path in steps() if step > after]
    distributed.barrier()
    if later and torch.distributed.get_rank() == 0:
        print(f"Later checkpoints were moved to {shelve(later)}/.", flush=True)
    distributed.barrier()
