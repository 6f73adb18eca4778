"""What a row or a message says of how it is to be trained, and what Arrow filled in."""

from functools import lru_cache
from typing import Any

from ..rows import Dropped, Message, Row
from ..rows.files import without_none
from .tools import filled_by_arrow
from .values import kind, loss, parsed

# Keys of a message that chat templates read, beside role and content.
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
FURTHER = ("name", "tool_call_id", *THOUGHTS)
FLAGS = ("loss", "train", "training")  # ftc's and XTuner's, open-instruct's, Axolotl's
REFUSED = ("train_detail", "training_detail")  # Axolotl's, of parts of an answer
KNOWN = {"role", "content", "tool_calls", "function_call", "weight", *FURTHER, *FLAGS}
# Thoughts in parts, as OpenRouter and LiteLLM return them, mostly beside their text.
IN_PARTS = ("reasoning_details", "thinking_blocks")
MESSAGES = (
    "messages",
    "conversations",
    "conversation",
    "prompt",
    "completion",
    "chosen",
    "rejected",
)
# What `apply_chat_template` gives a template by itself.
TAKEN = {"messages", "tools", "documents", "add_generation_prompt", "chat_template"}


def learnt(item: Row, where: str = "", flags: tuple[str, ...] = FLAGS) -> bool | None:
    """What the flags of a message, or its `weight`, say of whether it is learnt; None if none says anything."""
    said = {key: loss(item, key, where) for key in flags if item.get(key) is not None}
    weight = item.get("weight")
    if weight not in (None, 0, 1):
        raise ValueError(f"{where}`weight` must be 0 or 1; it is {weight!r:.40}")
    if weight is not None:
        said["weight"] = bool(weight)
    if len(set(said.values())) > 1:
        names = " and ".join(f"`{key}`" for key in said)
        raise ValueError(f"{where}{names} say different things of whether it is learnt")
    return next(iter(said.values()), None)


def check_keys(item: Message, where: str) -> None:
    """A key that may be a misspelt one is not left out in silence; others, such as an id, are."""
    for key in item.keys() - KNOWN:
        if key in REFUSED and item[key] is not None:
            raise ValueError(
                f"{where}`{key}` marks parts of an answer, and ftc learns all of it or none"
            )
        if key in IN_PARTS and item[key] and not any(item.get(name) for name in THOUGHTS):
            raise ValueError(f"{where}`{key}` is not read: put its text in `reasoning_content`")
        meant = _meant(key) if isinstance(key, str) else None
        if meant and item.get(meant) is None and item[key] is not None:
            raise ValueError(f"{where}a message has no key `{key}`; did you mean `{meant}`?")


@lru_cache(maxsize=1024)
def _meant(key: str) -> str | None:
    from difflib import get_close_matches  # which few rows need

    return next(iter(get_close_matches(key.lower(), sorted(KNOWN), 1, 0.8)), None)


def of_row(row: Row) -> dict[str, Any]:
    """`chat_template_kwargs` of a row of messages, as TRL has them. Raises Dropped for a row not to be learnt."""
    if learnt(row, "the row's ", ("train", "training")) is False:
        raise Dropped("says that it is not trained on")
    if row.get("enable_thinking") is not None:
        raise ValueError("`enable_thinking` of a row belongs in its `chat_template_kwargs`")
    given = row.get("chat_template_kwargs")
    given = parsed(given, "`chat_template_kwargs`") if isinstance(given, str) else given
    if not isinstance(given, dict | None):
        raise ValueError(f"`chat_template_kwargs` must be a table; it is {kind(given)}")
    found = without_none(given or {})
    if wrong := sorted(TAKEN.intersection(found)):
        raise ValueError(f"`chat_template_kwargs` can't set `{wrong[0]}`, which the row has itself")
    return found


def without_gaps(row: Row) -> Row:
    """The row without keys that Arrow filled with null, where it shows that it did: `datasets` writes them
    to JSON, too. A null argument of a call in another row is meant."""
    columns = [row[name] for name in MESSAGES if isinstance(row.get(name), list)]
    items = [item for column in columns for item in column if isinstance(item, dict)]
    filled = any(
        value is None and key != "content"
        for item in items
        if len(item) > 2
        for key, value in item.items()
    )
    return without_none(row) if filled or filled_by_arrow(row.get("tools")) else row
