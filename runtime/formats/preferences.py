"""Pairs of a better and a worse answer, in the shapes that data sets and other trainers hold them."""

from typing import Any

from ..rows import Conversation, Dropped, Message, Preference, Row
from .conversations import CONTINUED, listed
from .settings import of_row, without_gaps
from .tools import tools
from .values import optional_text, text


def preference(row: Row) -> Preference:
    """{"chosen", "rejected"}, with what comes before them, in one of these shapes:

    - "prompt", a text or messages; the answers texts or messages (TRL, XTuner)
    - no prompt: both hold the whole conversation as messages (ultrafeedback, orpo-dpo-mix-40k)
    - "question" and perhaps "system" (Intel/orca_dpo_pairs), "instruction" and perhaps "input"
      (alpaca), or "conversations" of sharegpt (LLaMA-Factory)

    Both must answer the same question. Raises Dropped where both say the same.
    """
    row = without_gaps(row)
    before, available, further = _prompt(row), tools(row.get("tools")), of_row(row)
    pairs = [_side(row, name, before) for name in ("chosen", "rejected")]
    chosen, rejected = (Conversation(found, available, further) for found in pairs)
    if chosen == rejected:
        raise Dropped("chosen and rejected are the same")
    if _questions(chosen) != _questions(rejected):
        raise ValueError("`chosen` and `rejected` answer different questions")
    return Preference(chosen, rejected)


def _questions(conversation: Conversation) -> list[Message]:
    """What stands before the answer that is judged."""
    return conversation.messages[:-1]


def _prompt(row: Row) -> list[Message]:
    """The messages before the answers; none, if the answers hold them."""
    system = optional_text(row, "system") or optional_text(row, "system_prompt")
    first: list[Message] = [{"role": "system", "content": system}] if system else []
    for column in ("prompt", "conversations"):
        if isinstance(row.get(column), list):
            return [*first, *listed(row[column], column)]
    for column in ("prompt", "question", "instruction"):
        if row.get(column) is not None:
            asked = text(row, column)
            given = optional_text(row, "input") if column == "instruction" else ""
            return [*first, {"role": "user", "content": f"{asked}\n{given}" if given else asked}]
    return first


def _side(row: Row, name: str, before: list[Message]) -> list[Message]:
    """The conversation that ends with the answer in the column `name`."""
    value: Any = row.get(name)
    if isinstance(value, str):
        answer: list[Message] = [{"role": "assistant", "content": value}]
    else:
        answer = listed([value] if isinstance(value, dict) else value, name)
    if answer[-1]["role"] != "assistant":
        raise ValueError(f"`{name}` must end with an answer of the assistant")
    if len(answer) > 1 and before and answer[: len(before)] == before:
        return answer
    if len(answer) > 1 and answer[0]["role"] != "assistant":
        return _whole(answer, before, name)
    if not before:
        raise ValueError(f"there is no question: neither `prompt`, nor one in `{name}`")
    if before[-1]["role"] == "assistant":
        raise ValueError(CONTINUED)
    return [*before, *answer]


def _whole(answer: list[Message], before: list[Message], name: str) -> list[Message]:
    """A conversation that holds the prompt already, perhaps without its system message."""
    asked = [item for item in before if item["role"] != "system"]
    if asked and asked[-1] not in answer:
        raise ValueError(f"`{name}` is a conversation that does not hold `prompt`")
    system = [item for item in before if item["role"] == "system"]
    return answer if answer[0]["role"] == "system" else [*system, *answer]
