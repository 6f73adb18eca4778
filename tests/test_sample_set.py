"""Weights, sequences and order: exact, and nothing twice."""

import numpy as np
import pyarrow as pa
import pytest
from ftc.runtime import data
from ftc.runtime.data import ledger, packing, sample_set, tokenizing, tokens

from . import tiny

pytestmark = pytest.mark.usefixtures("work")


def numbered(counts: list[int]) -> sample_set.Samples:
    """Samples of several sources; the first token tells the source, the second the number."""
    tables = []
    for source, count in enumerate(counts):
        samples = [
            tokens.Sample(
                np.array([source, n, *range(n % 5)], np.int32), np.ones(n % 5 + 2, bool), ""
            )
            for n in range(count)
        ]
        made = tokenizing.batch(samples, ledger.Ledger(""))
        tables.append(pa.Table.from_batches([made]))
    return sample_set.Samples.of(tables, [{}] * len(tables))


def test_weights_are_exact():
    samples = numbered([10, 7, 8])
    sources = [data.Source(file="x", weight=weight) for weight in (1.0, 0.5, 2.25)]
    epoch = data.weigh(samples, sources, seed=3)
    seen = [tuple(sample.ids[:2]) for sample in epoch]
    assert [sum(s == n for s, _ in seen) for n in range(3)] == [10, 4, 18]
    times = [seen.count((2, n)) for n in range(8)]
    assert sorted(times) == [2] * 6 + [3] * 2, "each twice, and a quarter of them once more"
    again = [tuple(sample.ids[:2]) for sample in data.weigh(samples, sources, seed=3)]
    assert again == seen
    assert [tuple(s.ids[:2]) for s in data.weigh(samples, sources, seed=4)] != seen


def test_samples_are_views_in_their_order():
    samples = numbered([3, 1200])
    assert len(samples) == 1203 and samples.source.tolist() == [0] * 3 + [1] * 1200
    assert [s.ids[1] for s in samples.take(np.array([1100, 0, 0]))] == [1097, 0, 0]
    assert samples[-1].ids[1] == 1199 and [s.ids[1] for s in samples[:2]] == [0, 1]
    assert samples.lengths.tolist() == [len(sample.ids) for sample in samples]


def test_grouping_by_length_keeps_each_sample_once_and_lengths_together():
    chance = np.random.default_rng(0)
    made = [
        tokens.Sample(np.arange(n, dtype=np.int32), np.ones(n, bool), "")
        for n in chance.integers(2, 400, 1001)
    ]
    samples = tiny.in_memory(made)
    sequences = data.one_by_one(samples)
    orders = {}
    for grouped in (False, True):
        stream = data.Stream(samples, sequences, 1, 0, 1, 2, 4, group_by_length=grouped)
        lengths = [len(samples[int(stream.sequence(cursor)[0])].ids) for cursor in range(2002)]
        assert sorted(lengths[:1001]) == sorted(lengths[1001:]) == sorted(samples.lengths.tolist())
        assert lengths[:1001] != lengths[1001:], "each epoch has an order of its own"
        orders[grouped] = lengths[:1000]
    spread = {g: np.ptp(np.reshape(o, (-1, 8)), axis=1).mean() for g, o in orders.items()}
    assert spread[True] < spread[False] / 10
    first = np.reshape(orders[True], (-1, 8))[:, 0]
    assert (np.diff(first) > 0).any() and (np.diff(first) < 0).any(), "batches are in no order"


def test_a_million_samples_are_packed_and_ordered_quickly():
    import time

    lengths = np.clip(np.random.default_rng(0).lognormal(5, 0.9, 1_000_000).astype(int), 1, 2048)
    begun = time.perf_counter()
    sequences = packing.pack(lengths, 2048)
    assert time.perf_counter() - begun < 20
    assert lengths.sum() / (2048 * len(sequences)) > 0.99
    assert np.add.reduceat(lengths[sequences.members], sequences.bounds[:-1]).max() <= 2048
    assert (np.sort(sequences.members) == np.arange(1_000_000)).all()


@pytest.mark.parametrize("capacity", [512, 1024, 2048, 4096])
def test_as_few_sequences_as_can_be_or_one_more(capacity):
    """Lengths like those of a thousand alpaca rows; bench/README.md has the real ones."""
    for seed in range(20):
        lengths = np.random.default_rng(seed).lognormal(4.9, 0.8, 999).astype(int).clip(8, 512)
        fewest = -(-lengths.sum() // capacity)
        assert fewest <= len(packing.pack(lengths, capacity)) <= fewest + 1 + fewest // 200
