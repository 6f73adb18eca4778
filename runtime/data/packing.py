"""Packing: which samples share a sequence. Best fit, decreasing (arXiv 2404.10830), whole samples only.

Samples of one length are placed together and packs of one room are found together, so that the work
grows with the number of different lengths: a million samples take about a second.
"""

from collections.abc import Sequence

import numpy as np


class Sequences(Sequence[np.ndarray]):
    """Lists of samples' numbers, one a sequence, in two flat arrays: `members[bounds[i] : bounds[i + 1]]`."""

    def __init__(self, members: np.ndarray, bounds: np.ndarray) -> None:
        self.members, self.bounds = members, bounds

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return self.members[self.bounds[index] : self.bounds[index + 1]]


def pack(lengths: Sequence[int] | np.ndarray, capacity: int) -> Sequences:
    """Fills sequences of at most `capacity` tokens with samples, longest first, each where it fits best.

    The result is a function of the lengths' order alone: equal lengths keep it. Raises ValueError if a
    sample is longer than the capacity, or empty.
    """
    lengths = np.asarray(lengths, np.int64)
    if len(lengths) and not 1 <= lengths.min() <= lengths.max() <= capacity:
        wrong = lengths.max() if lengths.max() > capacity else lengths.min()
        raise ValueError(f"a sample of {wrong} tokens doesn't fit into {capacity}")
    order = np.argsort(-lengths, kind="stable")
    borders = np.flatnonzero(np.diff(lengths[order])) + 1
    rooms = _Rooms(capacity)
    pack_of = np.empty(len(lengths), np.int64)
    for alike in np.split(order, borders) if len(order) else []:
        _place(alike, int(lengths[alike[0]]), rooms, pack_of)
    members = np.argsort(pack_of, kind="stable")
    return Sequences(members, np.searchsorted(pack_of[members], np.arange(rooms.packs + 1)))


def _place(samples: np.ndarray, length: int, rooms: "_Rooms", pack_of: np.ndarray) -> None:
    """Puts samples of one length where they fit best: the smallest room that takes one takes more
    of them first, as its rest is smaller still."""
    while len(samples):
        room = rooms.smallest(length)
        each = room // length
        packs = rooms.take(room, -(-len(samples) // each))
        fits = min(len(samples), each * len(packs))
        pack_of[samples[:fits]] = np.repeat(packs, each)[:fits]
        samples = samples[fits:]
        last = fits - each * (len(packs) - 1)  # the last pack may take fewer
        rooms.give(room - each * length, packs[:-1])
        rooms.give(room - last * length, packs[-1:])


class _Rooms:
    """The packs by the room that they have left. A new pack has room for `capacity` tokens."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.packs = capacity, 0
        self.by_room: dict[int, list[np.ndarray]] = {}
        self.bits = 0  # bit r is set while a pack has a room of r

    def smallest(self, length: int) -> int:
        """The smallest room of at least `length`."""
        fitting = self.bits >> length
        if not fitting:
            return self.capacity
        return length + (fitting & -fitting).bit_length() - 1

    def take(self, room: int, wanted: int) -> np.ndarray:
        """Up to `wanted` packs with this room; if there are none, so many new ones."""
        found = self.by_room.pop(room, None)
        if found is None:
            self.packs += wanted
            return np.arange(self.packs - wanted, self.packs)
        packs = np.concatenate(found)
        self.bits &= ~(1 << room)
        self.give(room, packs[wanted:])
        return packs[:wanted]

    def give(self, room: int, packs: np.ndarray) -> None:
        if room and len(packs):
            self.by_room.setdefault(room, []).append(packs)
            self.bits |= 1 << room
