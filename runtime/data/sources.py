"""Sources become samples, samples become sequences."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from ..errors import RunError
from ..process import distributed
from . import cache, packing
from . import ledger as ledgers
from .ledger import Ledger
from .packing import Sequences
from .reading import Source
from .sample_set import Samples
from .tokenizing import Settings


def load(
    sources: Sequence[Source],
    tokenizer: PreTrainedTokenizerBase,
    max_seq_length: int,
    loss_on: str,
    on_overlong: str,
    ledger: str | Path = "logs/data.json",
    *,
    max_dropped_fraction: float | None = None,
    max_truncated_fraction: float | None = None,
    apart_from: Samples | None = None,
) -> Samples:
    """Reads, renders and tokenizes the sources; each fate of a row is counted, shown and written down.

    `on_overlong` is "drop", "truncate" or "error". `ledger` is the JSON file for the counts. `apart_from`:
    samples that must not be among these, as those of training in validation; they are dropped. The tokens
    are on disk (see `cache`): what is tokenized once is only opened the next time. Raises RunError for a
    row that can't be read, when no sample is left, or a source lost more of its rows than it may.
    """
    settings = Settings(max_seq_length, loss_on, on_overlong)
    found = [cache.tokens(source, tokenizer, settings) for source in sources]
    counts = [one.ledger for one in found]
    samples = Samples.of([one.table for one in found], [one.moved for one in found])
    if apart_from is not None:
        samples = _without(samples, apart_from, counts)
    doubles = np.bincount(samples.source[samples.doubles()], minlength=len(counts))
    for count, double in zip(counts, doubles.tolist(), strict=True):
        count.duplicates = double
    if distributed.place()[0] == 0:
        said = [f"{source.name}: {one.said}" for source, one in zip(sources, found, strict=True)]
        parts = [*said, ledgers.table(counts), ledgers.many_dropped(counts)]
        print("\n".join(filter(None, parts)), flush=True)
        ledgers.write(counts, ledger)
    ledgers.check(counts, max_dropped_fraction, max_truncated_fraction)
    return samples


def check_ids(model: Any, tokenizer: PreTrainedTokenizerBase, *sets: Samples) -> None:
    """Raises RunError for a row with a token that the model has no embedding for."""
    rows = model.config.get_text_config().vocab_size
    if sample := next(filter(None, (samples.beyond(rows) for samples in sets)), None):
        require_embeddings(model, tokenizer, sample.ids, sample.row)


def require_embeddings(
    model: Any, tokenizer: PreTrainedTokenizerBase, ids: Iterable[int], where: str
) -> None:
    """Raises RunError for a token that the model has no embedding for."""
    rows, number = model.config.get_text_config().vocab_size, int(max(ids))
    if number < rows:
        return
    closes = number == tokenizer.eos_token_id
    raise RunError(
        "id-beyond-model",
        f"this has the token {number} ({tokenizer.convert_ids_to_tokens(number)}"
        f"{', the eos_token, which closes each text' if closes else ''}): the tokenizer "
        f"has {len(tokenizer):,} tokens, and the model {rows:,} embeddings",
        "choose a base whose tokenizer was saved with the model",
        "or set eos_token in its tokenizer_config.json to a token that the model has"
        if closes
        else "or take that token out of the text, and out of the chat template",
        "or give the model more rows in transformers: "
        f"resize_token_embeddings({len(tokenizer)}), save it, and train them with method.modules_to_save",
        where=where,
    )


def _without(samples: Samples, others: Samples, counts: Sequence[Ledger]) -> Samples:
    """The samples whose tokens are not among the others'; `counts` (one a source) say what went."""
    leaked = np.isin(samples.digests, others.digests)
    for number, count in enumerate(counts):
        own = samples.source == number
        gone, left = np.flatnonzero(own & leaked), samples.lengths[own & ~leaked]
        for place in gone:
            count.drop("also in the training data", samples[int(place)].row)
        count.supervised_tokens = int(samples.supervised[own & ~leaked].sum())
        count.samples, count.tokens = len(left), int(left.sum())
        count.longest = int(left.max(initial=0))
    return samples.take(np.flatnonzero(~leaked))


def split(samples: Samples, fraction: float, seed: int) -> tuple[Samples, Samples]:
    """Holds out at least `fraction` of the samples: (training, validation).

    Which ones is a function of content and seed; equal samples stay on one side.
    """
    ranks = _mixed(samples.digests, seed)
    border = np.sort(ranks)[int(np.ceil(fraction * len(ranks))) - 1]
    held_out = ranks <= border
    if held_out.all():
        raise RunError("no-samples", "data.validation_fraction leaves no row to train on")
    return samples.take(np.flatnonzero(~held_out)), samples.take(np.flatnonzero(held_out))


def _mixed(digests: np.ndarray, seed: int) -> np.ndarray:
    """The digests (uint64) in an order of the seed's own (splitmix64)."""
    x = digests + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def weigh(samples: Samples, sources: Sequence[Source], seed: int) -> Samples:
    """The samples of an epoch: `source.weight` times those of each source.

    A weight of 2 takes each sample twice, 0.5 half of them, 1.25 each once and a quarter twice. Which
    ones is a function of the seed, and the same in every epoch. The number of samples is exact, rounded
    to a whole one.
    """
    taken = []
    for number, source in enumerate(sources):
        own = np.flatnonzero(samples.source == number)
        wanted = round(source.weight * len(own))
        if len(own) and not wanted:
            raise RunError(
                "no-samples",
                f"weight {source.weight} of {len(own)} samples is none of them",
                f"raise its weight in [[data.train]]: {1 / len(own):.2g} is one sample",
                "or take the source out",
                where=source.name,
            )
        whole, part = divmod(wanted, max(len(own), 1))
        chosen = np.random.default_rng((seed, number)).permutation(len(own))[:part]
        taken += [own] * whole + [own[np.sort(chosen)]]
    return samples.take(np.concatenate(taken))


def pack(samples: Samples, max_seq_length: int) -> Sequences:
    """Sequences of several samples' numbers, each of at most `max_seq_length` tokens."""
    return packing.pack(samples.lengths, max_seq_length)


def one_by_one(samples: Samples) -> Sequences:
    """Sequences of one sample's number each."""
    return Sequences(np.arange(len(samples)), np.arange(len(samples) + 1))
