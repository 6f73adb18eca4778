"""A conversation as the text that a chat template makes of it, and which stretches of it are learnt."""

import re
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from ..errors import RunError
from ..rows import Conversation, Message
from .outline import outlines

HAS_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
Span = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """`answers`: the stretch [start, end) of each of the assistant's messages, its end token with it;
    `learnt`: whether each carries loss, that is, has no "loss": False."""

    text: str
    answers: list[Span]
    learnt: list[bool]


class Renderer:
    """Renders with the tokenizer's chat template; `row` (file:line) is named in errors.

    The stretches come from the template's {% generation %} marks. For a template without, an answer is
    what the conversation's render has behind the render of its prompt. Raises RunError where the
    template refuses the conversation, leaves out its tools, or hides which text is the answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.template: str = tokenizer.chat_template
        self.variables = tokenizer.special_tokens_map
        self.outlines = outlines(self.template, tuple(self.variables.items()))
        self.has_marks = bool(HAS_MARKS.search(self.template))
        added = (token.content for token in tokenizer.added_tokens_decoder.values())
        tokens = {token for token in (*added, *tokenizer.all_special_tokens) if token.strip()}
        # One of these, which stand beside the vocabulary, ends an answer.
        self.ends = tuple(sorted(tokens, key=len, reverse=True))

    def __call__(self, conversation: Conversation, row: str) -> Rendered:
        messages = [
            {k: v for k, v in message.items() if k != "loss" and v is not None}
            if len(message) > 2
            else message
            for message in conversation.messages
        ]
        clean = Conversation(messages, conversation.tools)
        _check_tools(self.template, clean, row)
        text, answers = (self._marked if self.has_marks else self._by_prompts)(clean, row)
        learnt = [
            m.get("loss") is not False for m in conversation.messages if m["role"] == "assistant"
        ]
        if len(learnt) != len(answers):
            if all(learnt):
                return Rendered(text, answers, [True] * len(answers))
            raise RunError(
                "template-marks",
                f"the chat template marks {len(answers)} stretches in a conversation of {len(learnt)} "
                'answers, so it can\'t be told which are the ones with "loss": false',
                "put one {% generation %} block around each answer in the template",
                where=row,
            )
        return Rendered(text, answers, learnt)

    def _render(
        self, messages: list[Message], conversation: Conversation, row: str, prompt: bool = False
    ) -> tuple[str, list[Span]]:
        """What `apply_chat_template` renders, and the stretches that are marked."""

        def jinja() -> tuple[str, list[Span]]:
            texts, spans = render_jinja_template(
                [messages],
                tools=conversation.tools,
                chat_template=self.template,
                return_assistant_tokens_mask=self.has_marks,
                add_generation_prompt=prompt,
                **self.variables,
            )
            return texts[0], spans[0] if self.has_marks else []

        try:
            return self.outlines.render(messages, conversation.tools, prompt, jinja)
        except (TemplateError, TypeError) as error:
            roles = ", ".join(str(message["role"]) for message in conversation.messages[:8])
            raise RunError(
                "template-refused",
                f"the chat template can't render this conversation ({roles}): {error}",
                "change the row, or name a template that takes such conversations in model.chat_template",
                where=row,
            ) from None

    def _marked(self, conversation: Conversation, row: str) -> tuple[str, list[Span]]:
        text, spans = self._render(conversation.messages, conversation, row)
        return text, [(start, self._trim(text, start, end)) for start, end in spans]

    def _by_prompts(self, conversation: Conversation, row: str) -> tuple[str, list[Span]]:
        """For a template without marks: 1 + 2 renders an answer."""
        messages = conversation.messages
        text, _ = self._render(messages, conversation, row)
        answers = []
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before, _ = self._render(messages[:number], conversation, row, prompt=True)
            after, _ = self._render(messages[: number + 1], conversation, row)
            if not (text.startswith(before) and after.startswith(before)):
                raise RunError(
                    "template-not-a-prefix",
                    "the model's chat template renders a conversation's beginning in another way than "
                    "the whole, so it can't be told which text is the answer",
                    "name a template that ftc ships, or one with {% generation %} marks, in "
                    "model.chat_template",
                    where=row,
                )
            start, end = len(before), self._trim(after, len(before), len(after))
            if not text.startswith(after[:end]):
                end = self._shortened(text, start, after[start:end], message)
            answers.append((start, end))
        return text, answers

    def _shortened(self, text: str, start: int, newest: str, message: Message) -> int:
        """Where an answer ends that looks different in the history than it did as the newest one.

        Some templates drop reasoning from the history. What is left is learnt if it is all that the
        message says; else it is not: the model would learn to answer without reasoning.
        """
        end_token = next((token for token in self.ends if newest.endswith(token)), None)
        place = text.find(end_token, start) if end_token else -1
        whole = str(message.get("content") or "").strip()
        if place < 0 or whole not in text[start:place]:
            return start
        return place + len(end_token or "")

    def _trim(self, text: str, start: int, end: int) -> int:
        """Where an answer ends: behind its end token; white space that the template adds is not learnt."""
        bare = text[start:end].rstrip()
        return start + len(bare) if bare.endswith(self.ends) else end


def _check_tools(template: str, conversation: Conversation, row: str) -> None:
    """A template that knows no tools leaves them out in silence."""
    calls = [message for message in conversation.messages if "tool_calls" in message]
    for needed, name in ((conversation.tools, "tools"), (calls, "tool_calls")):
        if needed and not re.search(rf"\b{name}\b", template):
            raise RunError(
                "template-without-tools",
                f"the row has {name.replace('_', ' ')}, which the chat template has no place for",
                "name a template for tools in model.chat_template, as qwen2.5, llama3.1 or mistral-v3",
                "or take them out of the rows",
                where=row,
            )
