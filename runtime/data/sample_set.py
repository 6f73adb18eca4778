"""Samples as views into Arrow files: a sequence that holds only what is looked at."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .ledger import place_now
from .tokens import Sample


class Samples(Sequence[Sample]):
    """Samples of several sources, some of them perhaps more than once.

    One for each sample: `lengths`, how many of its tokens are `supervised`, which is predicted,
    `digests` (see `tokenizing.digest`) and `source` (its number).
    """

    def __init__(self, shelf: "_Shelf", numbers: np.ndarray | None = None) -> None:
        self.shelf = shelf
        self.numbers = np.arange(len(shelf.lengths)) if numbers is None else numbers
        chosen = slice(None) if numbers is None else numbers  # all of them: no copies
        self.lengths = shelf.lengths[chosen]
        self.supervised = shelf.supervised[chosen]
        self.digests = shelf.digests[chosen]
        self.source = shelf.source[chosen]

    @classmethod
    def of(cls, tables: Sequence[pa.Table], moved: Sequence[dict[str, str]]) -> "Samples":
        """All samples of tables of tokenizing.SCHEMA, one a source; `moved`: see cache.Tokens."""
        return cls(_Shelf(tables, moved))

    def take(self, places: np.ndarray) -> "Samples":
        """Those at the places."""
        return Samples(self.shelf, self.numbers[places])

    def doubles(self) -> np.ndarray:
        """(n,) bool: whether a sample before has the same tokens."""
        found = np.ones(len(self), bool)
        found[np.unique(self.digests, return_index=True)[1]] = False
        return found

    def beyond(self, number: int) -> Sample | None:
        """The first sample with a token id of `number` or more."""
        largest = [np.asarray(b["ids"].values).max(initial=0) for b in self.shelf.batches]
        if max(largest, default=0) < number:
            return None
        return next((sample for sample in self if sample.ids.max() >= number), None)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.shelf.sample(int(number)) for number in self.numbers[index]]
        return self.shelf.sample(int(self.numbers[index]))


def digest(samples: Sequence[Sample]) -> str:
    """64 hexadecimal digits that stand for the samples' tokens, how many are learnt, and their order."""
    arrays = ()
    if isinstance(samples, Samples):
        arrays = (samples.digests, samples.lengths, samples.supervised)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


class _Shelf:
    """The batches of Arrow tables, numbered through."""

    def __init__(self, tables: Sequence[pa.Table], moved: Sequence[dict[str, str]]) -> None:
        self.moved = moved
        self.batches = [batch for table in tables for batch in table.to_batches()]
        self.starts = np.cumsum([0, *(len(batch) for batch in self.batches)])
        numbers = np.arange(len(tables), dtype=np.int16)
        self.source = np.repeat(numbers, [len(table) for table in tables])
        offsets = [np.asarray(batch["ids"].offsets) for batch in self.batches]
        self.lengths = self._joined([np.diff(each) for each in offsets], np.int32)
        self.supervised = self._joined(
            [np.asarray(b["supervised"]) for b in self.batches], np.int32
        )
        self.digests = self._joined([np.asarray(b["digest"]) for b in self.batches], np.uint64)

    def _joined(self, arrays: list[np.ndarray], dtype: Any) -> np.ndarray:
        return np.concatenate([np.empty(0, dtype), *(array.astype(dtype) for array in arrays)])

    def sample(self, number: int) -> Sample:
        place = int(np.searchsorted(self.starts, number, "right")) - 1
        batch, row = self.batches[place], number - int(self.starts[place])
        ids, loss = (batch[name][row].values for name in ("ids", "loss"))
        told = place_now(batch["place"][row].as_py(), self.moved[self.source[number]])
        return Sample(ids.to_numpy(), loss.to_numpy().view(bool), told)
