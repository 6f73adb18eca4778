"""The training state in pieces, written so that any other number of processes can read it.

What the optimizer updates on a rank is a *master*: a parameter itself (ZeRO 0), or a flat float32
tensor with pieces of many parameters (ZeRO 1 to 3). A file holds each piece under the parameter's name
and the place where it starts, so a rank with other pieces finds in the files what it needs. No rank
talks to another, and each writes only what it owns.

Keys: `weight/NAME@START`, and for the optimizer `part/KEY/NAME@START` (as long as the piece),
`scalar/...` and `host/...` (one element, on the master's device or on the host), `number/...` (one that
is no tensor) and `whole/...`, which only the same layout can take up again.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ..errors import RunError


@dataclass(frozen=True)
class Piece:
    """Elements [start, start + length) of a flattened parameter, at `offset` of its master."""

    name: str
    start: int
    length: int
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.name}@{self.start}"


@dataclass(frozen=True)
class Master:
    """A tensor that the optimizer updates on this rank, and what lies in it. `writes`: is it this
    rank that writes it down? Masters that every rank holds are shared out."""

    tensor: torch.Tensor
    pieces: list[Piece]
    writes: bool = True

    def part(self, tensor: torch.Tensor, piece: Piece) -> torch.Tensor:
        """The piece's elements of a tensor shaped like the master, as a view of one dimension."""
        return tensor.detach().view(-1)[piece.offset : piece.offset + piece.length]


def masters(engine: Any) -> list[Master]:
    """This rank's masters, at any ZeRO stage of DeepSpeed and in any dtype."""
    names = {id(parameter): name for name, parameter in engine.module.named_parameters()}
    optimizer = engine.optimizer
    if hasattr(optimizer, "fp32_partitioned_groups_flat"):  # ZeRO 3
        flats, groups = optimizer.fp32_partitioned_groups_flat, optimizer.fp16_groups
        return [Master(f, list(_split(names, g))) for f, g in zip(flats, groups, strict=True)]
    for flats, groups in (
        ("single_partition_of_fp32_groups", "bit16_groups"),  # ZeRO 1 and 2
        ("fp32_groups_flat_partition", "bf16_groups"),  # ZeRO 1 in bfloat16, gradients in float32
    ):
        if hasattr(optimizer, flats):
            pairs = zip(getattr(optimizer, flats), getattr(optimizer, groups), strict=True)
            return [Master(flat, list(_mapped(names, group))) for flat, group in pairs]
    pairs = _whole(optimizer)
    rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    return [
        Master(master, [Piece(names[id(p)], 0, p.numel())], number % world_size == rank)
        for number, (p, master) in enumerate(pairs)
    ]


def _whole(optimizer: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """ZeRO 0: (parameter, its master), which are one in float32 and two in 16 bits."""
    if hasattr(optimizer, "fp32_groups"):
        groups = chain(*optimizer.fp16_groups), chain(*optimizer.fp32_groups)
        return list(zip(*groups, strict=True))
    return [(p, p) for group in optimizer.param_groups for p in group["params"]]


def _mapped(names: dict[int, str], group: list[Any]) -> Iterator[Piece]:
    for parameter in group:
        mapping = parameter._hp_mapping
        if mapping is not None:
            inside, flat = mapping.lp_fragment_address, mapping.hp_fragment_address
            yield Piece(names[id(parameter)], inside.start, inside.numel, flat.start)


def _split(names: dict[int, str], group: list[Any]) -> Iterator[Piece]:
    """ZeRO 3 cuts each parameter into equal parts, one a rank; the last may be padded."""
    offset = 0
    for parameter in group:
        size = parameter.partition_numel()
        start = size * torch.distributed.get_rank()
        if start < parameter.ds_numel:
            length = min(size, parameter.ds_numel - start)
            yield Piece(names[id(parameter)], start, length, offset)
        offset += size


def layout(engine: Any) -> str:
    """How the state is shared out, in words; the same layout has the same pieces."""
    if not engine.zero_optimization_stage():
        return "whole on each process"
    world_size = torch.distributed.get_world_size()
    return f"ZeRO stage {engine.zero_optimization_stage()} on {world_size} processes"


def shapes(engine: Any) -> dict[str, list[int]]:
    """The shape of each trained parameter, by name."""
    return {
        name: list(getattr(p, "ds_shape", p.shape))
        for name, p in engine.module.named_parameters()
        if p.requires_grad
    }


def weights(engine: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """What this rank writes of the trained weights: (key, elements)."""
    for master in masters(engine):
        for piece in master.pieces if master.writes else ():
            yield f"weight/{piece}", master.part(master.tensor, piece)


def optimizer_state(engine: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """What this rank writes of the optimizer's state: (key, elements)."""
    states = _inner(engine).state
    for master in masters(engine):
        state = states.get(master.tensor, {})
        for key, value in state.items() if master.writes and master.pieces else ():
            if not isinstance(value, torch.Tensor):
                kind, value = "number", torch.tensor(value)
            elif value.shape == master.tensor.shape and value.dtype.is_floating_point:
                for piece in master.pieces:
                    yield f"part/{key}/{piece}", master.part(value, piece)
                continue
            elif value.numel() == 1:
                kind = "scalar" if value.device == master.tensor.device else "host"
            else:
                kind = "whole"
            # The first piece stands for the master, unless each of its parameters may want the value.
            for piece in master.pieces[:1] if kind == "whole" else master.pieces:
                yield f"{kind}/{key}/{piece}", value.detach()


def load(engine: Any, folder: Path, same_layout: bool) -> None:
    """Takes up weights and optimizer state from a checkpoint's files, whoever wrote them.

    Raises RunError if the optimizer's state can't be shared out in another way than it was.
    """
    optimizer, states = engine.optimizer, _inner(engine).state
    reader = Reader(folder, "weights")
    state_reader = Reader(folder, "optimizer")
    if not same_layout and (stuck := state_reader.keys_of("whole")):
        raise RunError(
            "not-elastic",
            f"this optimizer keeps {', '.join(stuck)} for a process's whole share, which can't be "
            "divided anew",
            "go on with the parallel.zero_stage and the number of processes of the checkpoint",
            "or set parallel.zero_stage = 0 before you train, for any number of processes",
            where=str(folder),
        )
    partitioned = hasattr(optimizer, "fp32_partitioned_groups_flat")
    if partitioned:
        optimizer.checkpoint_event_prologue()
    with torch.no_grad():
        for master in masters(engine):
            for piece in master.pieces:
                reader.fill(master.part(master.tensor, piece), "weight", piece)
            state = state_reader.state(master)
            if state:
                states[master.tensor] = state
        if partitioned:
            for number in range(len(optimizer.fp16_groups)):
                optimizer._reassign_or_swap_out_partitioned_parameters(number)
            optimizer.checkpoint_event_epilogue()
        elif hasattr(optimizer, "update_lp_params"):
            optimizer.update_lp_params()
        else:
            for parameter, master in _whole(optimizer):
                parameter.copy_(master)


def _inner(engine: Any) -> Any:
    """The torch optimizer inside DeepSpeed's."""
    return getattr(engine.optimizer, "optimizer", engine.optimizer)


class Reader:
    """The files of one kind ("weights" or "optimizer") of a checkpoint."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        # parameter -> prefix -> (start, file, key) of its pieces, in order
        self.places: dict[str, dict[str, list[tuple[int, Any, str]]]] = defaultdict(dict)
        for path in sorted(folder.glob(f"{kind}-*.safetensors")):
            file = safe_open(path, framework="pt")
            for key in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
                prefix, _, place = key.rpartition("/")
                name, _, start = place.rpartition("@")
                self.places[name].setdefault(prefix, []).append((int(start), file, key))
        for prefixes in self.places.values():
            for pieces in prefixes.values():
                pieces.sort(key=lambda piece: piece[0])

    def keys_of(self, kind: str) -> list[str]:
        """The optimizer's keys that are stored as `kind`."""
        prefixes = {prefix for prefixes in self.places.values() for prefix in prefixes}
        return sorted(p.removeprefix(f"{kind}/") for p in prefixes if p.startswith(f"{kind}/"))

    def dtype(self, name: str, prefix: str) -> torch.dtype:
        _, file, key = self.places[name][prefix][0]
        return file.get_slice(key)[:0].dtype

    def fill(self, target: torch.Tensor, prefix: str, piece: Piece) -> None:
        """Copies the piece's elements into `target`. Raises RunError if some are nowhere."""
        end, found = piece.start + piece.length, 0
        for start, file, key in self.places.get(piece.name, {}).get(prefix, ()):
            source = file.get_slice(key)
            low, high = max(start, piece.start), min(start + source.get_shape()[0], end)
            if low < high:
                values = source[low - start : high - start]
                target[low - piece.start : high - piece.start].copy_(values)
                found += high - low
        if found != piece.length:
            raise RunError(
                "other-model",
                f"the checkpoint lacks {piece.length - found:,} elements of {piece.name} ({prefix})",
                "go on with the model and the method that it was trained with",
                where=str(self.folder),
            )

    def state(self, master: Master) -> dict[str, Any]:
        """A master's optimizer state; {} if it had none yet."""
        state: dict[str, Any] = {}
        for piece in master.pieces:
            for prefix, stored in self.places.get(piece.name, {}).items():
                kind, key = prefix.split("/")
                if kind == "part":
                    if key not in state:
                        dtype = self.dtype(piece.name, prefix)
                        state[key] = torch.zeros_like(master.tensor, dtype=dtype).detach()
                    self.fill(master.part(state[key], piece), prefix, piece)
                elif key not in state:
                    own = [place for place in stored if place[0] == piece.start]
                    _, file, name = (own or stored)[0]
                    value = file.get_tensor(name)
                    if kind == "number":
                        state[key] = value.item()
                    else:
                        state[key] = value if kind == "host" else value.to(master.tensor.device)
        return state


def each(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The trained weights of a checkpoint, whole, one at a time: (name, weight)."""
    reader = Reader(folder, "weights")
    for name, shape in json.loads((folder / "state.json").read_text("utf-8"))["shapes"].items():
        flat = torch.empty(math.prod(shape), dtype=reader.dtype(name, "weight"))
        reader.fill(flat, "weight", Piece(name, 0, flat.numel()))
        yield name, flat.view(shape)
