"""A conversation through a chat template by Jinja itself, as `apply_chat_template` does it."""

from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from ..rows import Conversation
from . import time_limit

Span = tuple[int, int]
# What a template may raise at a conversation that it was not written for.
REFUSED = (TemplateError, TypeError, ValueError, LookupError, AttributeError)


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
        lambda: render_jinja_template(
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
