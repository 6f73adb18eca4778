"""What changes between two compiled specs, as values; `diff_show` tells it to people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from .effects import Effect, effects
from .keys import ResumeClass
from .language import affects, changes, field_at, model_at
from .lockfile import LOCK
from .quote import toml
from .sides import Side, Values
from .tree import is_array, is_table

Kind = Literal["added", "removed", "changed"]
ABSENT: Any = object()
NEW_RUN: Literal["new run"] = "new run"


@dataclass(frozen=True)
class Change:
    """A key of the spec, a value of the plan, or the content of something that the spec names.

    `effect`: what the change means for checkpoints that exist; "" if the run stays the same, as
    where a default is now written down. `remark`: what holds on the side that lacks the key, or
    where a derived value comes from. `affects`: what it is about (see keys.Affects).
    """

    kind: Kind
    path: str
    old: Any
    new: Any
    effect: ResumeClass | Literal[""] = ""
    remark: str = ""
    affects: str = ""


@dataclass(frozen=True)
class Difference:
    """`keys` of the spec, `derived` values that follow, `contents` behind the same names.

    It is false if nothing differs. `str()` tells it to people.
    """

    old: Side = field(repr=False)
    new: Side = field(repr=False)
    keys: tuple[Change, ...]
    derived: tuple[Change, ...]
    contents: tuple[Change, ...]
    files: tuple[tuple[Kind, str], ...]
    num_same: int  # keys that both specs set alike
    effects: tuple[Effect, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys or self.derived or self.contents or self.files)

    def __str__(self) -> str:
        return self.text()

    @property
    def resume(self) -> Literal["same", "resumable", "new run"]:
        """May the new run go on from the old one's checkpoints; "same": training is the same."""
        found = {change.effect for change in (*self.keys, *self.derived, *self.contents)}
        return NEW_RUN if NEW_RUN in found else "resumable" if "resumable" in found else "same"

    def text(self, *, files: bool = False) -> str:
        """What `ftc diff` prints; `files` adds a unified diff of every file."""
        from .diff_show import show

        return show(self, files=files)


def diff(before: Side, after: Side) -> Difference:
    """Compares two specs key by key, their plans value by value, their files byte by byte."""
    pairs = list(_leaves("", before.data, after.data))
    keys = [_key(path, old, new, before, after) for path, old, new in pairs if not _same(old, new)]
    return Difference(
        old=before,
        new=after,
        keys=tuple(keys),
        derived=tuple(_derived(before, after, {change.path for change in keys})),
        contents=tuple(_contents(before, after)),
        files=tuple(_files(before, after)),
        num_same=len(pairs) - len(keys),
        effects=effects(before, after),
    )


def _same(old: Any, new: Any) -> bool:
    """1 and 1.0 are the same number, but 1 is not true."""
    return isinstance(old, bool) == isinstance(new, bool) and old == new


def _leaves(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every key of the two trees, with its values; ABSENT on a side that lacks it.

    Lists are compared between what they have in common at their beginning and at their end.
    """
    if _are(is_table, old, new):
        sides = [side if is_table(side) else {} for side in (old, new)]
        for key in sorted(sides[0].keys() | sides[1].keys()):
            inner = f"{path}.{key}" if path else str(key)
            yield from _leaves(inner, *(side.get(key, ABSENT) for side in sides))
    elif (is_array(old) and is_array(new)) or _are(_is_tables, old, new):
        yield from _items(path, *(side if is_array(side) else [] for side in (old, new)))
    else:
        yield path, old, new


def _are(kind: Any, old: Any, new: Any) -> bool:
    return all(side is ABSENT or kind(side) for side in (old, new))


def _is_tables(value: Any) -> bool:
    return is_array(value) and all(is_table(item) for item in value)


def _items(path: str, old: list[Any], new: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    start, end = _alike(old, new)
    for index in range(max(len(old), len(new))):
        item = f"{path}[{index}]"
        if index < start or len(old) == len(new):
            yield from _leaves(item, old[index], new[index])
        elif index < max(len(old), len(new)) - end:
            rest = [s[index] if index < len(s) - end else ABSENT for s in (old, new)]
            yield from _leaves(item, *rest)


def _alike(old: list[Any], new: list[Any]) -> tuple[int, int]:
    """How many items two lists have in common at their beginning, and at their end beyond those."""
    shorter = min(len(old), len(new))
    start = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    pairs = range(1, shorter - start + 1)
    return start, next((i - 1 for i in pairs if old[-i] != new[-i]), shorter - start)


def _by_key(plan: Values) -> Values:
    """The plan's values by the key of the spec that decides them, or else by their own path."""
    keys = {v.origin.detail: v for v in plan.values() if v.origin.kind in ("spec", "default")}
    return {**plan, **keys}


def _holds(path: str, value: Any, side: Side) -> Any:
    """The value of a key on a side: its own, or what holds without it, which is None where nothing does."""
    if value is not ABSENT or "[" in path:  # items of a list have no defaults
        return None if value is ABSENT else value
    plan = _by_key(side.plan)
    parts, kind = _language_path(path), side.data["method"]["kind"]
    field = field_at(parts, kind)
    if path in plan or field is None or field.is_required() or _left_out(parts, kind, side.data):
        return plan[path].value if path in plan else None
    return field.default


def _left_out(path: tuple[str, ...], kind: str, data: Any) -> bool:
    """Whether a table on the way to a key is optional ([samples]) and not there."""
    for end in range(1, len(path)):
        field = field_at(path[:end], kind)
        data = data.get(path[end - 1])
        if data is None:
            return field is not None and field.default is None
    return False


def _key(path: str, old: Any, new: Any, old_side: Side, new_side: Side) -> Change:
    """The change of one key: what held without it, and what it does to checkpoints."""
    kind: Kind = "added" if old is ABSENT else "removed" if new is ABSENT else "changed"
    before, after = _holds(path, old, old_side), _holds(path, new, new_side)
    remark = {"added": f"was {toml(before)}", "removed": f"now {toml(after)}"}.get(kind, "")
    if (before if kind == "added" else after) is None:
        remark = ""
    if _same(before, after):
        remark = "as before"
    effect = changes(_language_path(path), "qlora") if not _same(before, after) else ""
    values = (None if value is ABSENT else value for value in (old, new))
    about = affects(_language_path(path), "qlora") or "cosmetic"
    return Change(kind, path, *values, effect=effect, remark=remark, affects=about)


def _language_path(path: str) -> tuple[str, ...]:
    return tuple(re.sub(r"\[\d+\]", "", path).split("."))


def _moved(before: Side, after: Side) -> tuple[set[str], set[str]]:
    """Of each side: paths in sources that only moved, because others were added or removed before them."""
    moved: tuple[set[str], set[str]] = set(), set()
    for group in ("train", "validation"):
        lists = [side.data["data"].get(group, []) for side in (before, after)]
        if len(lists[0]) != len(lists[1]):
            _, end = _alike(*lists)
            for paths, sources, side in zip(moved, lists, (before, after), strict=True):
                last = range(len(sources) - end, len(sources))
                names = tuple(f"data.{group}[{index}]." for index in last)
                paths |= {path for path in side.plan if path.startswith(names)}
    return moved


def _derived(old_side: Side, new_side: Side, keys: set[str]) -> Iterator[Change]:
    """Values of the plan that changed without being set by either spec."""
    moved = _moved(old_side, new_side)
    old = {path: value for path, value in old_side.plan.items() if path not in moved[0]}
    new = {path: value for path, value in new_side.plan.items() if path not in moved[1]}
    for path in sorted((old.keys() | new.keys()) - keys - {"summary"}):
        before, after = old.get(path), new.get(path)
        values = (before.value if before else None, after.value if after else None)
        set_here = any(value and value.origin.kind == "spec" for value in (before, after))
        if set_here or values[0] == values[1]:
            continue
        kind: Kind = "added" if not before else "removed" if not after else "changed"
        effect = changes(_language_path(path), "qlora")
        remark = str(after.origin) if after else ""
        about = _about(_language_path(path))
        yield Change(kind, path, *values, effect=effect, remark=remark, affects=about)


def _about(path: tuple[str, ...]) -> str:
    """What a value of the plan is about: as its key, or else as its table."""
    if path[0] == "batch":
        path = ("train", "micro_batch_size" if path[1] != "global_batch_size" else path[1])
    table = model_at(path[:1], "qlora")
    return affects(path, "qlora") or str((table and table.AFFECTS) or "cosmetic")


def _contents(old: Side, new: Side) -> Iterator[Change]:
    """What changed behind names that stayed the same."""
    for path in sorted(old.contents.keys() & new.contents.keys()):
        before, after = old.contents[path], new.contents[path]
        if before.name == after.name and before.sha256 != after.sha256:
            effect = "resumable" if path.startswith("data.validation") else NEW_RUN
            texts = [
                f"{c.words} (sha256 {c.sha256[:8]})" if c.words else f"sha256 {c.sha256[:8]}"
                for c in (before, after)
            ]
            about = "numerics" if path == "model.base" else "data"
            yield Change("changed", path, *texts, effect=effect, affects=about)


def _files(old: Side, new: Side) -> Iterator[tuple[Kind, str]]:
    # The spec is what is compared in the first place, and the lock follows from all the others.
    for path in sorted((old.files.keys() | new.files.keys()) - {"spec.toml", LOCK}):
        if path not in old.files:
            yield "added", path
        elif path not in new.files:
            yield "removed", path
        elif body(old, path) != body(new, path):
            yield "changed", path


HEADER = re.compile(rb"Generated by ftc from .+ \(plan [0-9a-f]{8}\)\.")


def body(side: Side, path: str) -> bytes:
    """A file's content with a header that does not name the spec and the plan."""
    return HEADER.sub(b"Generated by ftc.", side.files[path], count=1)
