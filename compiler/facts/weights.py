"""The weight files of a model folder, as far as it can be seen without reading them: are they whole, are they safe?

A safetensors file is 8 bytes with the length of a header, the header (JSON: a tensor's dtype, shape and place in
what follows), and the tensors, end to end. https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..diagnostics.tree import is_array, is_table

SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
LARGEST = 100_000_000  # bytes of a header that the library takes
BY_BITS = {
    4: "F4",
    6: "F6_E2M3 F6_E3M2",
    8: "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0",
    16: "U16 I16 F16 BF16",
    32: "U32 I32 F32",
    64: "U64 I64 F64 C64",
}
BITS = {name: bits for bits, names in BY_BITS.items() for name in names.split()}
MOST = 64  # dimensions of a weight
FETCH = "download it"
AGAIN = "it is damaged, or was not downloaded to its end: download it again"


class Fault(NamedTuple):
    """What is wrong with a weight file, and how to mend it."""

    code: str
    file: Path
    message: str
    hints: tuple[str, ...] = (AGAIN,)


def fault(folder: Path, allow_pickle: bool) -> Fault | None:
    """The first thing that is wrong with the files that transformers would read the weights from.

    Raises OSError for what can't be read.
    """
    for name in (SAFE, PICKLED):
        whole, index = folder / name, folder / f"{name}.index.json"
        if not whole.is_file() and not index.is_file():
            continue
        if name == PICKLED and not allow_pickle:
            return _pickled(whole if whole.is_file() else index)
        shards = [whole] if whole.is_file() else _shards(index)
        if isinstance(shards, Fault):
            return shards
        return next((found for path in shards if (found := _damage(path, name == SAFE))), None)
    if any(folder.glob("model-*-of-*.safetensors")):
        missing = folder / f"{SAFE}.index.json"
        return Fault(
            "bad-model", missing, "it is missing, and says which weight is in which file", (FETCH,)
        )
    return None


def parts_of_names(folder: Path) -> frozenset[str]:
    """What the names of the weights are made of: model, layers, q_proj, ...; none where they can't be read.

    Of several files, the index has the names; of one, its header.
    """
    with suppress(OSError, ValueError, RecursionError):
        index = folder / f"{SAFE}.index.json"
        if index.is_file():
            found: Any = json.loads(index.read_bytes())
            names = found.get("weight_map") if is_table(found) else None
        else:
            with (folder / SAFE).open("rb") as opened:
                length = int.from_bytes(opened.read(8), "little")
                names = json.loads(opened.read(min(length, LARGEST)))
        if is_table(names):
            return frozenset(
                part for name in {*names} - {"__metadata__"} for part in name.split(".")
            )
    return frozenset()


def _pickled(file: Path) -> Fault:
    return Fault(
        "pickled-weights",
        file,
        "the weights are a pickle, a format that can hold code",
        (
            "take the base in safetensors form, which most models on the Hub have",
            "or, if you trust where it comes from, set model.allow_pickle = true",
        ),
    )


def _shards(index: Path) -> list[Path] | Fault:
    """The files that an index names."""
    try:
        found: Any = json.loads(index.read_bytes())
    except (ValueError, RecursionError):
        return Fault("bad-model", index, "it is not JSON")
    places: Any = found.get("weight_map") if is_table(found) else None
    if not is_table(places) or not places:
        return Fault(
            "bad-model", index, "it has no weight_map, which names the file of each weight"
        )
    names = {name if isinstance(name, str) else "" for name in places.values()}
    if odd := sorted(
        name for name in names if not name or name in (".", "..") or set(name) & {*"/\\\0"}
    ):
        return Fault(
            "bad-model",
            index,
            f"it names a weight file {odd[0]!r}, which is not the name of a file",
        )
    return [index.with_name(name) for name in sorted(names)]


def _damage(file: Path, safe: bool) -> Fault | None:
    if not file.is_file():
        return Fault("bad-model", file, "the weight file is missing", (FETCH,))
    try:
        if safe:
            _check(file)
        elif not file.stat().st_size:
            raise ValueError("it is empty")
    except ValueError as error:
        return Fault("bad-model", file, str(error))
    return None


def _check(file: Path) -> None:
    """Raises ValueError if the header and the size of a safetensors file do not agree."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST):
            raise ValueError(
                f"its header says that it has {length:,} bytes itself, and the file has {size:,}"
                if size >= 8
                else f"it has {size} bytes, which is no safetensors file"
            )
        text = opened.read(length)
    try:
        header: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("its header is not JSON, so this is no safetensors file") from None
    if not is_table(header):
        raise ValueError("its header is not a JSON object, so this is no safetensors file")
    header.pop("__metadata__", None)
    end = 0
    for start, stop, name in sorted(_place(name, entry) for name, entry in header.items()):
        if start != end:
            raise ValueError(
                f"its header has the weight {name[:80]} at byte {start:,}, and {end:,} is next"
            )
        end = stop
    if 8 + length + end != size:
        raise ValueError(
            f"by its header it has {8 + length + end:,} bytes, and the file has {size:,}"
        )


def _place(name: str, entry: Any) -> tuple[int, int, str]:
    """Where a tensor begins and ends, and its name. Raises ValueError if that is not what it takes."""
    offsets: Any = entry.get("data_offsets") if is_table(entry) else None
    shape: Any = entry.get("shape") if is_table(entry) else None
    dtype: Any = entry.get("dtype") if is_table(entry) else None
    numbers = [*offsets, *shape] if is_array(offsets) and is_array(shape) else [None]
    if not isinstance(dtype, str):
        raise ValueError(f"its header does not say what the weight {name[:80]} is made of")
    if (
        any(type(number) is not int or not 0 <= number < 1 << 63 for number in numbers)
        or len(offsets) != 2
        or len(shape) > MOST
    ):
        raise ValueError(f"its header does not say where the weight {name[:80]} is")
    start, stop = offsets
    bits = BITS.get(dtype)
    if stop < start or (bits and math.prod(shape) * bits != 8 * (stop - start)):
        raise ValueError(f"the weight {name[:80]} takes other bytes than its shape and dtype say")
    return start, stop, name
