"""A conversation through a chat template by Jinja itself, as `apply_chat_template` does it."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers.utils import chat_template_utils

from ..errors import RunError
from ..rows import Conversation, Message
from . import time_limit

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
WIDTHS = re.compile(r"%[^a-zA-Z%]*?(\d+)")
FIELDS = re.compile(r"\{[^{}]*:\D{0,3}(\d+)[^{}]*\}")
PADDING = ("center", "expandtabs", "ljust", "rjust", "zfill")
LONGEST = 100_000  # bits of a number


class Bounded(ImmutableSandboxedEnvironment):
    """A sandbox in which no single step is long, as the time limit holds between two steps only."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.filters |= {
            name: _padding(self.filters[name]) for name in ("center", "indent", "format")
        }

    def wrap_str_format(self, value: Any) -> Any:
        """What `str.format` is replaced by. Raises RunError for a field that pads beyond measure."""
        found = super().wrap_str_format(value)
        if found is not None and _wide(map(int, FIELDS.findall(value.__self__))):
            raise time_limit.too_much()
        return found

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An operation, unless its result would be larger than any use. Raises RunError for that."""
        if _too_large(operator, left, right):
            raise time_limit.too_much()
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, *arguments: Any, **more: Any) -> Any:
        """A call, unless it pads a text beyond measure. Raises RunError for that."""
        if getattr(function, "__name__", "") in PADDING and _wide(arguments):
            raise time_limit.too_much()
        return super().call(context, function, *arguments, **more)


def _too_large(operator: str, left: Any, right: Any) -> bool:
    numbers = isinstance(left, int) and isinstance(right, int)
    if operator == "%":
        return isinstance(left, str) and _wide(map(int, WIDTHS.findall(left)))
    if operator == "**":
        return numbers and left.bit_length() * right > LONGEST
    if numbers:
        return left.bit_length() + right.bit_length() > LONGEST
    times, text = (left, right) if isinstance(left, int) else (right, left)
    return isinstance(times, int) and hasattr(text, "__len__") and _wide([len(text) * times])


def _padding(call: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses to pad a text beyond measure."""

    @wraps(call)
    def bounded(text: Any, *arguments: Any, **more: Any) -> Any:
        formats = call.__name__ == "do_format"
        if _too_large("%", text, None) if formats else _wide((*arguments, *more.values())):
            raise time_limit.too_much()
        return call(text, *arguments, **more)

    return bounded


def _wide(sizes: Any) -> bool:
    return any(isinstance(size, int) and size > time_limit.LARGEST for size in sizes)


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
    return RunError(
        "template-refused",
        f"the chat template can't render this conversation ({roles}): {str(error) or type(error).__name__}",
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
