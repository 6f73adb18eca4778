"""Packing: which samples share a sequence. Best fit, decreasing (arXiv 2404.10830), whole samples only."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Fills sequences of at most `capacity` tokens with samples, longest first, each where it fits best.

    Returns the samples' numbers, one list a sequence. The result is a function of the lengths' order
    alone: equal lengths keep it. Raises ValueError if a sample is longer than the capacity.
    """
    order = sorted(range(len(lengths)), key=lambda sample: -lengths[sample])
    if order and lengths[order[0]] > capacity:
        raise ValueError(f"a sample of {lengths[order[0]]} tokens doesn't fit into {capacity}")
    packs: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (room left, number of the pack), sorted
    for sample in order:
        place = bisect_left(rooms, (lengths[sample], -1))
        if place == len(rooms):
            packs.append([sample])
            room, number = capacity - lengths[sample], len(packs) - 1
        else:
            room, number = rooms.pop(place)
            packs[number].append(sample)
            room -= lengths[sample]
        insort(rooms, (room, number))
    return packs
