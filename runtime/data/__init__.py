"""Training data: rows become samples, samples share sequences, sequences stand in an order.

A micro-batch is one row of T tokens: its samples laid end to end, without padding. Positions restart at
each sample and attention stays inside it.
"""

from .reading import Source
from .sources import check_ids, load, one_by_one, pack, require_embeddings, split, weigh
from .stream import Batch, Step, Stream, batch, grouped, listed, shuffled
from .tokenizer import load_tokenizer
from .tokens import read_template

__all__ = [
    "Batch",
    "Source",
    "Step",
    "Stream",
    "batch",
    "check_ids",
    "grouped",
    "listed",
    "load",
    "load_tokenizer",
    "one_by_one",
    "pack",
    "read_template",
    "require_embeddings",
    "shuffled",
    "split",
    "weigh",
]
