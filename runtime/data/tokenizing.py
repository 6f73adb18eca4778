"""From rows to samples, a chunk at a time, in as many processes as there are processors.

What a row becomes is a function of the row and of the `Settings` alone, so chunks and processes change
nothing.
"""

import gc
import hashlib
import os
import re
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, groupby, islice
from multiprocessing import get_context
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from ..errors import RunError
from ..formats import convert, function
from ..process import stop
from ..rows import Conversation, Dropped, Preference, Tokens
from ..rows.files import Raw
from . import reading
from .ledger import Ledger
from .reading import Source
from .tokens import Sample, chat_samples, control_tokens, ends, text_samples

CHUNK = 500  # rows at a time
LARGEST = 1 << 19  # characters of them: the tokenizer takes a hundred bytes for each
# One row of this is a sample. `loss`: 1 where a token is learnt. `supervised`: how many are predicted.
# `digest`: of the ids, equal for duplicates.
SCHEMA = pa.schema(
    [
        ("ids", pa.large_list(pa.int32())),
        ("loss", pa.large_list(pa.uint8())),
        ("place", pa.string()),
        ("supervised", pa.int32()),
        ("digest", pa.uint64()),
    ]
)


@dataclass(frozen=True)
class Settings:
    """`loss_on`: "assistant", "last_assistant" or "all". `on_overlong`: "drop", "truncate" or "error"."""

    max_seq_length: int
    loss_on: str
    on_overlong: str


Chunk = list[tuple[str, Raw]]


def tokenized(
    source: Source, tokenizer: PreTrainedTokenizerBase, settings: Settings
) -> Iterator[tuple[pa.RecordBatch, Ledger]]:
    """Yields the samples of some rows after the other, with their counts.

    Raises RunError for a row that can't be read.
    """

    def work(chunk: Chunk) -> tuple[pa.RecordBatch, Ledger]:
        return tokenize(chunk, source, tokenizer, settings)

    chunks = _chunks(reading.raw_rows(source))
    return _in_processes(work, chunks, len(os.sched_getaffinity(0)))


def _chunks(rows: Iterable[tuple[str, Raw]]) -> Iterator[Chunk]:
    """The rows, at most CHUNK and about LARGEST characters at a time."""
    chunk, size = [], 0
    for place, raw in rows:
        chunk.append((place, raw))
        size += _size(raw)
        if len(chunk) >= CHUNK or size >= LARGEST:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _size(value: Any) -> int:
    """About how many characters a value of a row has."""
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 8


def _in_processes(work: Callable, chunks: Iterator[Chunk], processes: int) -> Iterator:
    """`work` of each chunk, in order; few chunks are under way at a time, so memory is bounded."""
    head = list(islice(chunks, 2))
    chunks = chain(head, chunks)
    if len(head) < 2 or processes == 1:
        yield from map(work, chunks)
        return
    global _work
    _work = work
    parallelism = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each process has its own processor
    try:
        # Forked, so that nothing is imported or copied again, and nothing there is looked through for garbage.
        gc.freeze()
        fork = get_context("fork")
        with ProcessPoolExecutor(processes, fork, _begin, (os.getpid(),)) as pool:
            under_way: deque = deque()
            for chunk in chunks:
                under_way.append(pool.submit(_do, chunk))
                if len(under_way) > 2 * processes:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
    except BrokenProcessPool:
        raise RunError(
            "killed",
            "a process that tokenizes was killed, most likely for want of memory",
            "close other programs, or train where there is more memory",
        ) from None
    finally:
        gc.unfreeze()
        if parallelism is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = parallelism


_work: Callable = tuple


def _begin(parent: int) -> None:
    """A process that tokenizes lasts as long as its parent, which also says the word on Ctrl-C."""
    stop.end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _do(chunk: Chunk) -> tuple[pa.RecordBatch, Ledger]:
    return _work(chunk)


def tokenize(
    chunk: Chunk, source: Source, tokenizer: PreTrainedTokenizerBase, settings: Settings
) -> tuple[pa.RecordBatch, Ledger]:
    """The samples of a chunk of rows as an Arrow batch of SCHEMA, and what became of the rows."""
    ledger = Ledger(source.name, rows=len(chunk))
    contents = []
    format = function(source.format)
    for place, raw in chunk:
        content = convert(format, source.format, place, raw)
        if isinstance(content, Dropped):
            ledger.drop(str(content) or "left out by its format", place)
        else:
            contents.append((place, content))
            if isinstance(content, Conversation) and content.unread:
                ledger.lacks(content.unread, place, "unread")
    kept = []
    for kind, group in groupby(contents, key=lambda pair: type(pair[1])):
        places, some = zip(*group, strict=True)
        control = control_tokens(tokenizer)
        held = [p for p, c in zip(places, some, strict=True) if _holds(c, control)]
        ledger.control.add(len(held), held)
        for sample in _samples(kind, some, places, tokenizer, settings):
            ledger.lacks(sample.left_out, sample.row)
            fitting = _fit(sample, settings, ledger)
            if fitting is None:
                continue
            kept.append(fitting)
            if sample.joined:
                ledger.joined.add(1, [sample.row])
            if kind is Conversation and not ends(fitting, tokenizer):
                ledger.without_end.add(1, [fitting.row])
    return batch(kept, ledger), ledger


def _holds(content: Any, pattern: re.Pattern[str]) -> bool:
    texts = [content] if isinstance(content, str) else []
    if isinstance(content, Conversation):
        texts = [message["content"] for message in content.messages]
    return any(map(pattern.search, texts))


def _samples(
    kind: type,
    contents: Sequence,
    places: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    settings: Settings,
) -> Sequence[Sample]:
    if kind is Conversation:
        limit = settings.max_seq_length if settings.on_overlong == "drop" else None
        return chat_samples(tokenizer, contents, places, settings.loss_on, limit)
    if kind is str:
        return text_samples(tokenizer, contents, places, settings.max_seq_length)
    if kind is Tokens:
        for tokens, place in zip(contents, places, strict=True):
            _check_ids(tokens.ids, place, len(tokenizer))
        return [
            Sample(np.array(tokens.ids, np.int32), np.array(tokens.loss, bool), place)
            for tokens, place in zip(contents, places, strict=True)
        ]
    assert kind is Preference
    raise RunError(
        "preference-rows",
        "rows with a better and a worse answer are read, and no method trains on them yet",
        "use a format that reads one answer, as your own function (`my_formats.py:name`)",
        where=places[0],
    )


def _check_ids(ids: Sequence[int], place: str, vocabulary: int) -> None:
    if ids and not 0 <= min(ids) <= max(ids) < vocabulary:
        wrong = max(ids) if max(ids) >= vocabulary else min(ids)
        message = f"the tokenizer knows the ids 0 to {vocabulary - 1}, and the row has {wrong}"
        hint = "take the tokenizer that made the ids"
        raise RunError("bad-row", message, hint, where=place)


def _fit(sample: Sample, settings: Settings, ledger: Ledger) -> Sample | None:
    """The sample as it will be trained on, or None if it is dropped."""
    limit = settings.max_seq_length
    if len(sample.ids) > limit:
        if settings.on_overlong == "error":
            raise RunError(
                "overlong-row",
                f"{len(sample.ids)} tokens are more than max_seq_length, which is {limit}",
                'raise model.max_seq_length, or set data.on_overlong to "drop" or "truncate"',
                where=sample.row,
            )
        if settings.on_overlong == "drop":
            ledger.drop_overlong(len(sample.ids), limit, sample.row)
            return None
        sample = Sample(sample.ids[:limit], sample.loss[:limit], sample.row)
        ledger.truncated.add(1, [sample.row])
    if not sample.loss[1:].any():
        ledger.drop("no token carries loss", sample.row)
        return None
    return sample


def batch(samples: Sequence[Sample], ledger: Ledger) -> pa.RecordBatch:
    lengths = np.array([len(sample.ids) for sample in samples], np.int64)
    supervised = np.array([sample.loss[1:].sum() for sample in samples], np.int32)
    ledger.samples = len(samples)
    ledger.tokens, ledger.supervised_tokens = int(lengths.sum()), int(supervised.sum())
    ledger.longest = int(lengths.max(initial=0))
    offsets = np.concatenate([[0], lengths.cumsum()])
    ids = np.concatenate([np.empty(0, np.int32), *(sample.ids for sample in samples)])
    loss = np.concatenate([np.empty(0, bool), *(sample.loss for sample in samples)])
    digests = np.array([digest(sample.ids) for sample in samples], np.uint64)
    columns = [
        pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(ids)),
        pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(loss.view(np.uint8))),
        pa.array([sample.row for sample in samples], pa.string()),
        pa.array(supervised),
        pa.array(digests),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def digest(ids: np.ndarray) -> int:
    """64 bits that stand for token ids (int32): equal for equal ones, else different but for an
    accident in 10^19 pairs."""
    return int.from_bytes(hashlib.blake2b(ids.tobytes(), digest_size=8).digest(), "big")
