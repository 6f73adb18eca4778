"""The table [data] of the spec language, and its sources."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import WithJsonSchema

from ..rows.formats import AUTO, FORMATS
from .keys import Line, Table, cosmetic, key, resumable

# Whether there is such a format is judged where the file is at hand, which may have a better answer
# than a list of names; editors have the list.
NAMED = {"enum": [AUTO, *FORMATS]}
OWN = {"type": "string", "pattern": r"\.py:[A-Za-z_][A-Za-z0-9_]*$"}
RowFormat = Annotated[Line, WithJsonSchema({"anyOf": [NAMED, OWN]})]


class Source(Table, affects="data"):
    """[[data.validation]]: one file, or one data set of the Hub."""

    source: Line = key(
        help="A file beside the spec (.json, .jsonl, .csv, .tsv, also .gz and .zst; .parquet, .arrow), "
        "several (`data/*.jsonl`), "
        "a Hub id, or `modelscope:org/name`."
    )
    format: RowFormat = key(
        AUTO,
        help="What a row looks like. auto: told by a file's columns. Or one of "
        f"{', '.join(FORMATS)}, or `my_formats.py:FUNCTION`, a function of your own.",
    )
    revision: Line | None = key(None, help="Commit of a Hub id.")
    subset: Line | None = key(None, help="Subset (configuration) of a Hub id.")
    split: Line | None = key(None, help="Split of a Hub id. Unset: `train`.")
    max_samples: int | None = key(None, help="Use the first N rows.", unit="rows", ge=1)


class TrainSource(Source):
    """[[data.train]]: one file, or one data set of the Hub, and its part in the mixture."""

    weight: float = key(
        1.0,
        help="How often an epoch takes each of its samples: 2 is twice, 0.5 a half of them.",
        gt=0,
        le=1000,
    )


class Data(Table, affects="data"):
    """[data]: what is trained on, and how rows become sequences."""

    train: list[TrainSource] = key(help="The sources of training rows.", min_length=1)
    validation: list[Source] = resumable(
        [], help="Sources that are held out for the validation loss."
    )
    validation_fraction: float = key(
        0.0, help="Share of the training rows that is held out instead.", ge=0, lt=1
    )
    packing: bool = key(
        True,
        help="Fill each sequence with several samples, isolated from each other, none ever cut.",
    )
    group_by_length: bool = key(
        False,
        help="Put samples of about one length into a batch, so that no device waits for another. "
        "Without packing only.",
    )
    on_overlong: Literal["drop", "truncate", "error"] = key(
        "drop", help="What happens to a sample longer than max_seq_length. It is always counted."
    )
    max_dropped_fraction: float | None = cosmetic(
        None,
        help="The run does not start if a larger share of a source's rows is dropped.",
        ge=0,
        lt=1,
    )
    max_truncated_fraction: float | None = cosmetic(
        None,
        help="The run does not start if a larger share of a source's rows is truncated.",
        ge=0,
        lt=1,
    )
    loss_on: Literal["assistant", "last_assistant", "all"] = key(
        "assistant", help="Which text of a conversation carries loss."
    )
