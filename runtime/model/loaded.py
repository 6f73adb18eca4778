"""The base in memory is the base on disk: compared before anything is spent on it.

Code that lies beside a model's weights was often written for transformers 4. In transformers 5 it may draw weights anew
after they were read, and its rotary frequencies may be whatever lay in memory, both without a word.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import safe_open
from transformers.initialization import no_init_weights
from transformers.utils import cached_file

from ..errors import RunError

SAMPLE = 2**16  # numbers of a weight that are compared; all of them where it has fewer
Weights = Iterator[tuple[str, torch.Tensor]]


def prove(model: Any, loading: dict[str, Any], base: str, revision: str | None = None) -> None:
    """Raises RunError unless the model's weights are those in the files of `base` (a folder or a Hub id).

    `loading`: what from_pretrained said (output_loading_info). Of each weight a sample is compared, in its dtype; a
    quantized or converted one (transformers.core_model_loading makes one weight of several) only has to be there.
    What is computed, as rotary frequencies, is compared with that of a model made anew.
    """
    whole = _config(base, revision)
    if "text_config" in whole and whole.get("model_type") != model.config.model_type:
        named = (whole.get("architectures") or ["?"])[0]
        raise RunError(
            "not-the-base",
            f"it was saved as a {named}, and this is its text model alone: servers load the whole, where an "
            "adapter of this run would fit nowhere",
            "download it, and set model.base to the folder: ftc reads its config.json, and loads the whole",
            where=base,
        )
    weights = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    if missing := sorted((weights & {*loading["missing_keys"]}) - {*tied}):
        raise _other(base, missing, "are not in its files and were drawn at random")
    wrong, broken = _compare(model, base, revision)
    if wrong:
        raise _other(base, wrong, "are not those of its files")
    if broken:
        raise RunError(
            "weights-not-finite",
            f"{len(broken)} of the base's weights are no finite numbers in {model.dtype}, {broken[0]} first",
            "the file is damaged: download it again",
            'or its numbers are too large for the dtype: set model.dtype = "bfloat16" or "float32"',
            where=base,
        )
    _prove_computed(model, base, {*loading["missing_keys"]} - weights)


def _other(base: str, names: list[str], what: str) -> RunError:
    return RunError(
        "not-the-base",
        f"{len(names)} weights of the loaded model {what}, {names[0]} first",
        "code of the model's own may be for another transformers: take a model type that transformers has",
        "else its class is not that of the files: look at `architectures` and `model_type` in its config.json",
        where=base,
    )


def _compare(model: Any, base: str, revision: str | None) -> tuple[list[str], list[str]]:
    """The names of weights that are not those of the files, and of those that are, and are no finite numbers."""
    wrong: list[str] = []
    broken: list[str] = []
    state = model.state_dict(keep_vars=True)
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    for name, stored in _stored(model, state, base, revision):
        ours = state.get(name)
        if ours is None or name in tied or not (_is_plain(ours) and _is_plain(stored)):
            continue
        with torch.no_grad(), _gathered(ours):
            if ours.shape != stored.shape:
                continue
            found = _sample(ours).cpu()
        if not torch.equal(found.nan_to_num(), _sample(stored).to(found.dtype).nan_to_num()):
            wrong.append(name)
        elif not found.isfinite().all():
            broken.append(name)
    return wrong, broken


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether its numbers are the weight, and not a packed or scaled form of it."""
    return tensor.is_floating_point() and tensor.element_size() > 1


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    """About SAMPLE numbers, in rows of its last dimension, evenly spread."""
    if tensor.dim() < 2 or tensor.numel() <= SAMPLE:
        return tensor.detach().reshape(-1)
    rows = tensor.detach().reshape(-1, tensor.shape[-1])
    chosen = torch.linspace(0, len(rows) - 1, max(2, SAMPLE // rows.shape[1]), dtype=torch.float64)
    return rows[chosen.long().to(rows.device)].reshape(-1)


@contextmanager
def _gathered(parameter: torch.Tensor) -> Iterator[None]:
    """Within it a weight that ZeRO 3 shares out among the ranks is whole."""
    if not hasattr(parameter, "ds_id"):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters([parameter]):
        yield


def _stored(model: Any, state: dict[str, Any], base: str, revision: str | None) -> Weights:
    """What the files hold, by the names that it has in the model; nothing of it is read before it is used."""
    from transformers import core_model_loading as core

    steps = getattr(model, "_weight_conversions", None) or []
    renamings = [step for step in steps if isinstance(step, core.WeightRenaming)]
    converters = [step for step in steps if isinstance(step, core.WeightConverter)]
    for name, tensor in _tensors(base, revision):
        prefix = model.base_model_prefix
        found, converted = core.rename_source_key(name, renamings, converters, prefix, state)
        if converted is None:
            yield name if found not in state and name in state else found, tensor


def _config(base: str, revision: str | None) -> dict[str, Any]:
    found = _file(base, revision, "config.json")
    return json.loads(found.read_text("utf-8")) if found else {}


def _tensors(base: str, revision: str | None) -> Weights:
    for file in _files(base, revision):
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (it is no mapping)
                    yield name, opened.get_tensor(name)
        else:
            yield from torch.load(file, map_location="cpu", mmap=True, weights_only=True).items()


def _files(base: str, revision: str | None) -> list[Path]:
    """The files that transformers reads the weights from."""
    for whole in ("model.safetensors", "pytorch_model.bin"):
        if found := _file(base, revision, whole):
            return [found]
        if index := _file(base, revision, f"{whole}.index.json"):
            names = sorted({*json.loads(index.read_text("utf-8"))["weight_map"].values()})
            return [file for name in names if (file := _file(base, revision, name))]
    return []


def _file(base: str, revision: str | None, name: str) -> Path | None:
    """A file of a folder, or of a Hub id that transformers has a copy of by now."""
    settings = {"revision": revision, "_raise_exceptions_for_missing_entries": False}
    found = cached_file(base, name, **settings)
    return Path(found) if found else None


def _prove_computed(model: Any, base: str, missing: set[str]) -> None:
    """Compares buffers that were not read with those of a model without weights, made anew of the config."""
    computed = {name for name, _ in model.named_non_persistent_buffers()} | missing
    buffers = {name: tensor for name, tensor in model.named_buffers() if name in computed}
    if not buffers:
        return
    with init_empty_weights(include_buffers=False), torch.random.fork_rng([]), no_init_weights():
        fresh = dict(type(model)(model.config).named_buffers())
    wrong = [name for name, ours in buffers.items() if not _alike(ours, fresh.get(name))]
    if wrong:
        raise RunError(
            "not-the-base",
            f"{len(wrong)} tables that the model computes are not what its config gives, {wrong[0]} first",
            "its own code is for another transformers, which let it compute them in __init__: "
            "take a model type that transformers has",
            "or have its code compute them in _init_weights, too",
            where=base,
        )


def _alike(ours: torch.Tensor, fresh: torch.Tensor | None) -> bool:
    """Whether they are the same in the precision of the coarser one."""
    if fresh is None or fresh.is_meta or fresh.shape != ours.shape:
        return not ours.is_floating_point() or bool(ours.isfinite().all())
    ours = ours.detach().cpu()
    if not ours.is_floating_point():
        return torch.equal(ours, fresh.to(ours.dtype))
    coarse = max(torch.finfo(each.dtype).eps for each in (ours, fresh) if each.is_floating_point())
    return torch.allclose(ours.double(), fresh.double(), rtol=8 * coarse, atol=0, equal_nan=True)
