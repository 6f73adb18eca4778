"""What changes between two compiled specs, as values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from ..diagnostics.tree import is_array, is_table
from ..document.write_toml import toml
from ..plan.names import decided_by, key_of
from ..run_dir.lock import LOCK
from ..spec.describe import CONSEQUENCES, METHODS, affects, changes, field_at, model_at
from ..spec.keys import ResumeClass
from .numbers import Effect, effects
from .sides import Side, Values

Kind = Literal["added", "removed", "changed"]
ABSENT: Any = object()
NO_ITEM: Any = object()  # of a list that is shorter on one side
NEW_RUN: Literal["new run"] = "new run"


@dataclass(frozen=True)
class Change:
    """A key of the spec, a value of the plan, or the content of something that the spec names.

    `effect`: what the change means for checkpoints that exist; "" if the run stays the same, as
    where a default is now written down, or a file has another name. `remark`: what holds on the side
    that lacks the key, or where a derived value comes from. `affects`: what it is about (see
    keys.Affects).
    """

    kind: Kind
    path: str
    old: Any
    new: Any
    effect: ResumeClass | Literal[""] = ""
    remark: str = ""
    affects: str = ""


@dataclass(frozen=True)
class Changes:
    """`keys` of the spec, `derived` values that follow, `contents` behind the same names.

    It is false if nothing differs.
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

    @property
    def resume(self) -> Literal["same", "resumable", "new run"]:
        """May the new run go on from the old one's checkpoints; "same": training is the same."""
        found = {change.effect for change in (*self.keys, *self.derived, *self.contents)}
        return NEW_RUN if NEW_RUN in found else "resumable" if "resumable" in found else "same"


def changes_between(before: Side, after: Side) -> Changes:
    """Compares two specs key by key, their plans value by value, their files byte by byte."""
    pairs = list(_leaves("", before.data, after.data))
    keys = [_key(path, old, new, before, after) for path, old, new in pairs if not _same(old, new)]
    return Changes(
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
    """Every key of the two trees, with its values; ABSENT on a side that lacks it, NO_ITEM where its
    whole item of a list is missing.

    Lists are compared between what they have in common at their beginning and at their end.
    """
    if _are(is_table, old, new):
        keys = {key for side in (old, new) if is_table(side) for key in side}
        for key in sorted(keys):
            inner = f"{path}.{key}" if path else str(key)
            sides = (side.get(key, ABSENT) if is_table(side) else side for side in (old, new))
            yield from _leaves(inner, *sides)
    elif (is_array(old) and is_array(new)) or _are(_is_tables, old, new):
        yield from _items(path, *(side if is_array(side) else [] for side in (old, new)))
    else:
        yield path, old, new


def _are(kind: Any, old: Any, new: Any) -> bool:
    return all(side in (ABSENT, NO_ITEM) or kind(side) for side in (old, new))


def _is_tables(value: Any) -> bool:
    return is_array(value) and all(is_table(item) for item in value)


def _items(path: str, old: list[Any], new: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    start, end = _common(old, new)
    for index in range(max(len(old), len(new))):
        item = f"{path}[{index}]"
        if index < start or len(old) == len(new):
            yield from _leaves(item, old[index], new[index])
        elif index < max(len(old), len(new)) - end:
            rest = [s[index] if index < len(s) - end else NO_ITEM for s in (old, new)]
            yield from _leaves(item, *rest)


def _common(old: list[Any], new: list[Any]) -> tuple[int, int]:
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
    if value is NO_ITEM or path.endswith("]"):  # items of a list have no defaults
        return None if value in (ABSENT, NO_ITEM) else value
    if value is not ABSENT:
        return value
    plan = _by_key(side.plan)
    parts, kind = _language_path(path), side.data["method"]["kind"]
    field = field_at(parts, kind)
    if path in plan or field is None or field.is_required() or _left_out(path, kind, side.data):
        return plan[path].value if path in plan else None
    return field.default


def _left_out(path: str, kind: str, data: Any) -> bool:
    """Whether a table on the way to a key is optional ([samples]) and not there."""
    steps = re.findall(r"[^.\[\]]+", path)[:-1]
    for end, step in enumerate(steps, 1):
        data = data[int(step)] if step.isdigit() else data.get(step)
        if data is None:
            field = field_at(tuple(s for s in steps[:end] if not s.isdigit()), kind)
            return field is not None and field.default is None
    return False


def _key(path: str, old: Any, new: Any, before: Side, after: Side) -> Change:
    """The change of one key: what held without it, and what it does to checkpoints."""
    absent = [value in (ABSENT, NO_ITEM) for value in (old, new)]
    kind: Kind = "added" if absent[0] else "removed" if absent[1] else "changed"
    held = [_holds(path, old, before), _holds(path, new, after)]
    same = _key_same(path, old, new, before, after)
    if same is None:
        same = _same(*held)
    other = held[0] if kind == "added" else held[1]
    remark = {"added": f"was {toml(other)}", "removed": f"now {toml(other)}"}.get(kind, "")
    unchanged = "the same in effect" if kind == "changed" else "as before"
    remark = unchanged if same else "" if other is None else remark
    effect = "" if same else changes(_language_path(path))
    values = (None if gone else value for gone, value in zip(absent, (old, new), strict=True))
    about = affects(_language_path(path)) or "cosmetic"
    return Change(kind, path, *values, effect=effect, remark=remark, affects=about)


def _key_same(path: str, old: Any, new: Any, before: Side, after: Side) -> bool | None:
    """Whether what a key decides comes to the same on both sides; None if no value of the plan shows it."""
    if NO_ITEM in (old, new) and path.startswith("data."):
        return False  # what has this number on the other side is another source
    whole = path
    while whole:
        decided = _decided(whole, before) | _decided(whole, after)
        if decided:
            return all(_alike(p, before, after) for p in decided)
        whole = re.sub(r"(\[\d+\]|\.?[^.\[\]]+)$", "", whole)
        if "." not in whole:  # a table says nothing about each of its keys
            return None
    return None


def _decided(key: str, side: Side) -> set[str]:
    """The paths in the plan of the values that a key decides: its own one, or else what follows from it."""
    paths = side.entries.keys()
    own = {path for path in paths if key in (path, key_of(path), _detail(path, side))}
    return ({key} & own) or own or {path for path in paths if key in decided_by(path)}


def _detail(path: str, side: Side) -> str:
    origin = side.plan[path].origin
    return origin.detail if origin.kind in ("spec", "default") else path


def _alike(path: str, before: Side, after: Side) -> bool:
    """Whether a value of the plan comes to the same, or what it names has the same content."""
    where = path.removesuffix(".files").removesuffix(".file")
    if where != path or path == "model.chat_template":
        contents = [side.contents.get(where) for side in (before, after)]
        if contents[0] and contents[1]:
            return contents[0].is_as(contents[1])
    return _consequence(path, before, after) is None


def _consequence(path: str, before: Side, after: Side) -> ResumeClass | Literal[""] | None:
    """What it means for checkpoints that a value of the plan is what it is; None if it comes to the same.

    As `differences` of ftc.runtime.process.lock, by which the run judges before it resumes.
    """
    entries = [side.entries.get(path) for side in (before, after)]
    there = [entry for entry in entries if entry]
    by = "identity" if all("identity" in entry for entry in there) else "value"
    values = [entry and entry[by] for entry in entries]
    if _same(*values):
        return None
    found = {entry["changes"] for entry in there}
    for consequence in reversed(CONSEQUENCES):
        if consequence in found:
            return consequence
    return ""


def _language_path(path: str) -> tuple[str, ...]:
    return tuple(re.sub(r"\[\d+\]", "", path).split("."))


def _moved(before: Side, after: Side) -> tuple[set[str], set[str]]:
    """Of each side: paths in sources that only moved, because others were added or removed before them."""
    moved: tuple[set[str], set[str]] = set(), set()
    for group in ("train", "validation"):
        lists = [side.data["data"].get(group, []) for side in (before, after)]
        if len(lists[0]) != len(lists[1]):
            _, end = _common(*lists)
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
        effect = _consequence(path, old_side, new_side) or ""
        remark = str(after.origin) if after else ""
        about = _about(_language_path(path))
        yield Change(kind, path, *values, effect=effect, remark=remark, affects=about)


def _about(path: tuple[str, ...]) -> str:
    """What a value of the plan is about: as its key, or else as its table."""
    if path[0] == "batch":
        path = ("train", "micro_batch_size" if path[1] != "global_batch_size" else path[1])
    table = model_at(path[:1], METHODS[0])
    return affects(path) or str((table and table.AFFECTS) or "cosmetic")


def _contents(old: Side, new: Side) -> Iterator[Change]:
    """What changed behind names that stayed the same."""
    for path in sorted(old.contents.keys() & new.contents.keys()):
        before, after = old.contents[path], new.contents[path]
        if before.name == after.name and not before.is_as(after):
            effect = "resumable" if path.startswith("data.validation") else NEW_RUN
            texts = [
                f"{c.words} (sha256 {c.sha256[:8]})" if c.words else f"sha256 {c.sha256[:8]}"
                for c in (before, after)
            ]
            about = affects(_language_path(path)) or "data"
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
