"""A conversation through a chat template by Jinja itself, as `apply_chat_template` does it."""

from typing import Any

from jinja2 import TemplateError
from transformers.utils import chat_template_utils

from ..errors import RunError
from ..rows import Conversation, Message
from . import time_limit
from .bounded import Bounded

Span = tuple[int, int]
# What a template may raise at a conversation that it was not written for.
REFUSED = (
    TemplateError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)


chat_template_utils.ImmutableSandboxedEnvironment = Bounded  # what transformers renders in


def render(
    template: str,
    variables: dict[str, Any],
    conversation: Conversation,
    prompt: bool = False,
    marks: bool = False,
) -> tuple[str, list[Span]]:
    """The text, and the stretches in {% generation %} marks if `marks`.

    `variables`: what else the template sees, as bos_token. `prompt`: the text ends with what begins an
    answer. Raises one of REFUSED, or RunError for a template without end.
    """
    texts, spans = time_limit.within(
        lambda: chat_template_utils.render_jinja_template(
            [conversation.messages],
            tools=conversation.tools,
            chat_template=template,
            return_assistant_tokens_mask=marks,
            add_generation_prompt=prompt,
            **variables,
            **conversation.chat_template_kwargs,
        )
    )
    return texts[0], spans[0] if marks else []


def refusal(messages: list[Message], error: BaseException, *hints: str, where: str) -> RunError:
    """What is said of messages that a template refuses with `error`, one of REFUSED."""
    roles = ", ".join(str(message["role"]) for message in messages[:8])
    said = str(error) or type(error).__name__
    return RunError(
        "template-refused",
        f"the chat template can't render this conversation ({roles}): {said}",
        *hints,
        where=where,
    )


def applied(tokenizer: Any, messages: list[Message], **how: Any) -> Any:
    """`tokenizer.apply_chat_template`, within the limits.

    Raises RunError beyond them, and where the template refuses the messages.
    """
    try:
        found = time_limit.within(lambda: tokenizer.apply_chat_template(messages, **how))
    except REFUSED as error:
        system = any(message["role"] == "system" for message in messages)
        out = ["leave out the system message (samples.system, chat.system)"] if system else []
        other = f"{'or ' if system else ''}name another template in model.chat_template"
        raise refusal(messages, error, *out, other, where="chat_template.jinja") from None
    if isinstance(found, str) and len(found) > time_limit.LARGEST:
        raise time_limit.too_much()
    return found
