"""What became of the rows of each source: nothing is left out that is not counted here."""

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RunError

EXAMPLES = 3  # so many places are named for each reason
STEP = 64  # tokens: how exactly the lengths of rows that are too long are kept
LOST = 0.1  # share of the rows that may be too long without a word
FATES = {
    "truncated": "truncated",
    "without_end": "without an end token",
    "control": "with a control token in a text",
    "joined": "with an answer whose beginning a server joins with its header in later turns",
}
# Where fates stand by a reason of their own -> how that is said.
BY_REASON = {
    "dropped": "dropped, {}",
    "unread": "with {}, which the format leaves out",
    "left_out": "with {}, which the chat template leaves out",
}


def place_now(place: str, moved: dict[str, str]) -> str:
    """`old.jsonl:3` -> `new.jsonl:3`; rows of a list stand at `old.json: row 3`."""
    file, colon, row = place.rpartition(":")
    return moved.get(file, file) + colon + row


@dataclass
class Fate:
    """How many rows met it, and where the first of them stand."""

    rows: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, rows: int, places: Sequence[str]) -> None:
        self.rows += rows
        self.first = [*self.first, *places][:EXAMPLES]


@dataclass
class Ledger:
    """The counts of one source.

    `rows`: read. `dropped`: by reason. `samples`: kept (a long text makes several). `truncated`,
    `duplicates` (the tokens of an earlier sample, here or in a source before) and `without_end` (the
    last token that is learnt does not end the answer) are among the kept; `control` (a text holds that of a
    control token, such as <|im_end|>, which becomes that token here and at a server) is of all. `joined`:
    see `tokens.chat_samples`. `left_out`: by what the chat template leaves out of them; `unread`: by what
    their format does. `tokens` and
    `supervised_tokens` are counted after truncation; a supervised token is one that is predicted. `overlong`:
    of the rows that were dropped for their length, how many have at most so many tokens, in steps of STEP.
    """

    source: str
    rows: int = 0
    samples: int = 0
    dropped: dict[str, Fate] = field(default_factory=dict)
    truncated: Fate = field(default_factory=Fate)
    duplicates: int = 0
    without_end: Fate = field(default_factory=Fate)
    control: Fate = field(default_factory=Fate)
    joined: Fate = field(default_factory=Fate)
    left_out: dict[str, Fate] = field(default_factory=dict)
    unread: dict[str, Fate] = field(default_factory=dict)
    tokens: int = 0
    supervised_tokens: int = 0
    longest: int = 0
    overlong: dict[str, int] = field(default_factory=dict)

    @property
    def num_dropped(self) -> int:
        return sum(fate.rows for fate in self.dropped.values())

    def drop(self, reason: str, place: str) -> None:
        self.dropped.setdefault(reason, Fate()).add(1, [place])

    def lacks(self, fields: Iterable[str], place: str, by: str = "left_out") -> None:
        """Counts a row of which some fields are left out; `by`: "left_out" or "unread"."""
        for name in fields:
            getattr(self, by).setdefault(name, Fate()).add(1, [place])

    def drop_overlong(self, length: int, limit: int, place: str) -> None:
        """Drops a row of `length` tokens, more than `limit`."""
        self.drop(f"longer than {limit:,} tokens", place)
        step = str(-(-length // STEP) * STEP)
        self.overlong[step] = self.overlong.get(step, 0) + 1

    def add(self, more: "Ledger") -> None:
        """Takes in the counts of further rows of the same source."""
        for name in BY_REASON:
            for reason, fate in getattr(more, name).items():
                getattr(self, name).setdefault(reason, Fate()).add(fate.rows, fate.first)
        for name in FATES:
            fate = getattr(more, name)
            getattr(self, name).add(fate.rows, fate.first)
        for name in ("rows", "samples", "tokens", "supervised_tokens"):
            setattr(self, name, getattr(self, name) + getattr(more, name))
        self.longest = max(self.longest, more.longest)
        for length, rows in more.overlong.items():
            self.overlong[length] = self.overlong.get(length, 0) + rows

    def renamed(self, moved: dict[str, str]) -> "Ledger":
        """The same with places in files that are called otherwise now (old name -> new)."""
        told = (fate for name in BY_REASON for fate in getattr(self, name).values())
        for fate in (*told, *(getattr(self, name) for name in FATES)):
            fate.first = [place_now(place, moved) for place in fate.first]
        return self

    @classmethod
    def from_json(cls, found: dict) -> "Ledger":
        fates: dict = {name: Fate(**found[name]) for name in FATES}
        for name in BY_REASON:
            fates[name] = {reason: Fate(**fate) for reason, fate in found[name].items()}
        return cls(**{**found, **fates})


def write(ledgers: Sequence[Ledger], path: str | Path) -> None:
    """Writes the counts as JSON: a list, one table a source."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(list(map(asdict, ledgers)), indent=2, ensure_ascii=False)
    Path(path).write_text(text + "\n", "utf-8")


def in_words(counts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What rows of a ledger, as JSON has it, met, in words -> the fate."""
    found = {
        words.format(reason): fate
        for name, words in BY_REASON.items()
        for reason, fate in counts[name].items()
    }
    found |= {said: counts[name] for name, said in FATES.items()}
    return {said: fate for said, fate in found.items() if fate["rows"]}


WIDTH = 80  # columns of a terminal
COLUMNS = ("rows", "dropped", "samples", "truncated", "double", "tokens", "with loss", "longest")


def table(ledgers: Sequence[Ledger]) -> str:
    """The counts as a table, and below it each reason with the first rows that it met."""
    lines = [("source", *COLUMNS)]
    for one in ledgers:
        counts = (one.rows, one.num_dropped, one.samples, one.truncated.rows, one.duplicates)
        counts += (one.tokens, one.supervised_tokens, one.longest)
        lines.append((one.source, *(f"{count:,}" for count in counts)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    alone = sum(widths) + 2 * len(COLUMNS) > WIDTH  # then a source stands above its counts
    text = []
    for number, (name, *counts) in enumerate(lines):
        text += [name] if alone and number else []
        first = "" if alone else name.ljust(widths[0])
        text.append("  ".join([first, *map(str.rjust, counts, widths[1:])]))
    for one in ledgers:
        for said, fate in in_words(asdict(one)).items():
            more = ", ..." if fate["rows"] > len(fate["first"]) else ""
            text.append(f"  {fate['rows']:,} {said}: {', '.join(fate['first'])}{more}")
    return "\n".join(text)


def many_dropped(ledgers: Sequence[Ledger]) -> str:
    """The warning where many rows are too long, with the length that would keep 99 % of them; "" if few are."""
    rows = sum(ledger.rows for ledger in ledgers)
    lengths = sorted((int(n), count) for one in ledgers for n, count in one.overlong.items())
    lost = sum(count for _, count in lengths)
    if lost <= LOST * rows:
        return ""
    at_most = itertools.accumulate(count for _, count in lengths)
    enough = next(
        n for (n, _), sum_ in zip(lengths, at_most, strict=True) if lost - sum_ <= 0.01 * rows
    )
    return (
        f"warning[many-dropped]: {lost:,} of {rows:,} rows ({lost / rows:.0%}) are dropped, as they are longer than "
        f"max_seq_length\n  hint: set model.max_seq_length to {enough}: that keeps 99% of the rows\n"
        '  hint: or set data.on_overlong = "truncate", which cuts them off'
    )


def check(
    ledgers: Sequence[Ledger],
    max_dropped_fraction: float | None = None,
    max_truncated_fraction: float | None = None,
) -> None:
    """Raises RunError if no sample is left, or a source lost a larger share of its rows than it may."""
    shown = f"\n\n{table(ledgers)}\n"
    if not sum(ledger.samples for ledger in ledgers):
        raise RunError(
            "no-samples",
            f"no row is left of them{shown}",
            'raise model.max_seq_length or set data.on_overlong = "truncate" if rows are too long',
            "validate on rows that are not trained on, if that is why they were dropped",
        )
    limits = (
        ("dropped", max_dropped_fraction, lambda one: one.num_dropped),
        ("truncated", max_truncated_fraction, lambda one: one.truncated.rows),
    )
    for name, limit, count in limits:
        for one in ledgers:
            if limit is not None and count(one) > limit * one.rows:
                raise RunError(
                    f"too-many-{name}",
                    f"{count(one):,} of {one.rows:,} rows are {name}, and data.max_{name}_fraction "
                    f"is {limit:g}{shown}",
                    "raise model.max_seq_length, mend the rows, or allow more",
                    where=one.source,
                )
