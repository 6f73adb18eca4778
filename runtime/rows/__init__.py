"""What a format makes of a row: a conversation, a text, tokens, or a pair of answers."""

from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]

# {"role": "system" | "user" | "assistant" | "tool", "content": str, ...}, as chat templates take it;
# an assistant's message may hold "tool_calls". "loss": False keeps an answer from being learnt; the key
# is taken out before the template sees the message.
Message = dict[str, Any]


@dataclass(frozen=True)
class Conversation:
    """Chat messages, and the tools (JSON Schema functions) that the assistant may call.

    `chat_template_kwargs`: further variables of the chat template, such as enable_thinking. `unread`: what
    the format left out of the row, in words.
    """

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tokens:
    """A row that is tokenized already: `ids`, and `loss`, which of them are learnt. Equally long."""

    ids: list[int]
    loss: list[bool]


@dataclass(frozen=True)
class Preference:
    """The same conversation with a better and a worse answer at its end."""

    chosen: Conversation
    rejected: Conversation


Content = Conversation | str | Tokens | Preference  # a str is plain text, all of it learnt


class Dropped(Exception):
    """A row that its format leaves out on purpose; the text is the reason, the same for all its kind."""
