"""A conversation as the text that a chat template makes of it, and which stretches of it are learnt."""

import re
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from ..errors import RunError
from ..rows import Conversation, Message
from . import jinja, time_limit
from .jinja import Span
from .outline import outlines
from .places import fields, places

HAS_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
Border = int | None


@dataclass(frozen=True)
class Rendered:
    """`answers`: the stretch [start, end) of each of the assistant's messages, its end token with it;
    `learnt`: whether each carries loss, that is, has no "loss": False. `borders`: where the prompt of each
    message of the assistant ends; None if its prompt is no beginning of this text. `left_out`: fields
    that the template has no place for."""

    text: str
    answers: list[Span]
    learnt: list[bool]
    borders: list[Border]
    left_out: tuple[str, ...] = ()


class Renderer:
    """Renders with the tokenizer's chat template; `row` (file:line) is named in errors.

    The stretches come from the template's {% generation %} marks, without a header that they take in: an
    answer begins where its prompt ends. For a template without, an answer is what the conversation's render
    has behind the render of its prompt. Raises RunError where the template refuses the conversation, leaves
    out its tools, or hides which text is the answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.template: str = tokenizer.chat_template
        self.variables = tokenizer.special_tokens_map
        self.outlines = outlines(self.template, tuple(self.variables.items()))
        self.places = places(self.template, tuple(self.variables.items()))
        self.has_marks = bool(HAS_MARKS.search(self.template))
        added = (token.content for token in tokenizer.added_tokens_decoder.values())
        tokens = {token for token in (*added, *tokenizer.all_special_tokens) if token.strip()}
        # One of these, which stand beside the vocabulary, ends an answer.
        self.ends = tuple(sorted(tokens, key=len, reverse=True))

    def __call__(self, conversation: Conversation, row: str) -> Rendered:
        clean = conversation
        if any(len(message) > 2 for message in conversation.messages):
            given = ({**m, "loss": None} if len(m) > 2 else m for m in conversation.messages)
            messages = [{k: v for k, v in m.items() if v is not None} for m in given]
            clean = replace(conversation, messages=messages)
        further = fields(clean)
        for needed in ("tools", "tool_calls"):
            if needed in further and self.places.shown(needed) is False:
                raise _no_place(needed, row)
        text, answers, borders = (self._marked if self.has_marks else self._by_prompts)(clean, row)
        left_out = [field for field in further if not self.places.in_row(clean, field, text)]
        for needed in ("tools", "tool_calls"):
            if needed in left_out:
                raise _no_place(needed, row)
        left_out += [name for name in clean.chat_template_kwargs if not self._reads(name)]
        learnt = [
            m.get("loss") is not False for m in conversation.messages if m["role"] == "assistant"
        ]
        if len(learnt) != len(answers):
            if not all(learnt):
                raise _other_marks(len(answers), len(learnt), row)
            learnt = [True] * len(answers)
        return Rendered(text, answers, learnt, borders, tuple(left_out))

    def _reads(self, name: str) -> bool:
        return bool(re.search(rf"\b{re.escape(name)}\b", COMMENT.sub("", self.template)))

    def _render(
        self, conversation: Conversation, row: str, prompt: bool | None = False
    ) -> tuple[str, list[Span], list[Border]]:
        """What `apply_chat_template` renders, and the stretches that are marked.

        `prompt`: whether it ends with what begins an answer. None: it does not, and the third value is
        `Rendered.borders`.
        """

        def by_jinja():
            text, spans = self._by_jinja(conversation, prompt)
            if prompt is not None:
                return text, spans
            return text, spans, self._borders(conversation, text, spans)

        try:
            if conversation.chat_template_kwargs:
                found = by_jinja()
            else:
                found = time_limit.within(
                    lambda: self.outlines.render(
                        conversation.messages, conversation.tools, prompt, by_jinja
                    )
                )
            if len(found[0]) > time_limit.LARGEST:
                raise time_limit.too_much()
            return (*found, []) if prompt is not None else found
        except jinja.REFUSED as error:
            hint = "change the row, or name a template that takes such conversations in model.chat_template"
            raise jinja.refusal(conversation.messages, error, hint, where=row) from None

    def _by_jinja(
        self, conversation: Conversation, prompt: bool | None = False
    ) -> tuple[str, list[Span]]:
        marks = self.has_marks
        return jinja.render(self.template, self.variables, conversation, bool(prompt), marks)

    def _borders(self, conversation: Conversation, text: str, spans: list[Span]) -> list[Border]:
        """Where prompts end, by rendering them; those in the middle as those behind the same role."""
        messages = conversation.messages
        places = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
        plain = all(len(message) == 2 for message in messages) or len(spans) != len(places)
        known: dict[str, tuple[str, str]] = {}  # role before -> the text on both sides of a border
        found: list[Border] = []
        for turn, number in reversed([*enumerate(places)]):
            before = messages[number - 1]["role"] if number else ""
            start = spans[turn][0] if not plain else 0
            if before in known and not plain:
                header, rest = known[before]
                if text.startswith(header, start) if header else text.endswith(rest, 0, start):
                    found.append(start + len(header) if header else start - len(rest))
                    continue
            prompt = self._prompt(conversation, number)
            border = len(prompt) if prompt is not None and text.startswith(prompt) else None
            if border is not None and not plain:
                known[before] = text[start:border], text[border:start]
            found.append(border)
        return found[::-1]

    def _prompt(self, conversation: Conversation, number: int) -> str | None:
        """What message `number` answers; None if the template refuses it, as before a first question."""
        before = replace(conversation, messages=conversation.messages[:number])
        try:
            return self._by_jinja(before, prompt=True)[0]
        except jinja.REFUSED:
            return None

    def _marked(self, conversation: Conversation, row: str) -> tuple[str, list[Span], list[Border]]:
        text, spans, borders = self._render(conversation, row, prompt=None)
        if [start for start, _ in spans] == borders:
            return text, [(s, self._trim(text, s, end)) for s, end in spans], borders
        starts = [
            _behind_header(text, span, [b for b in borders if b is not None], row) for span in spans
        ]
        headers = {text[s:start] for (s, _), start in zip(spans, starts, strict=True)} - {""}
        answers = []
        for (first, end), start in zip(spans, starts, strict=True):
            if (
                start == first
            ):  # its prompt is no beginning of this text, and the header is the same
                header = next((h for h in headers if text.startswith(h, first, end)), "")
                start += len(header)
            answers.append((start, max(start, self._trim(text, start, end))))
        return text, answers, borders

    def _by_prompts(
        self, conversation: Conversation, row: str
    ) -> tuple[str, list[Span], list[Border]]:
        """For a template without marks: 1 + 2 renders an answer."""
        text, _, _ = self._render(conversation, row)
        answers: list[Span] = []
        borders: list[Border] = []
        for number, message in enumerate(conversation.messages):
            if message["role"] != "assistant":
                continue
            before, after = (
                replace(conversation, messages=conversation.messages[:end])
                for end in (number, number + 1)
            )
            if not _asked(before.messages) and self._prompt(conversation, number) is None:
                answers.append((0, 0))  # a greeting, before which this template begins no answer
                borders.append(None)
                continue
            prompt, _, _ = self._render(before, row, prompt=True)
            newest, _, _ = self._render(after, row)
            if not (text.startswith(prompt) and newest.startswith(prompt)):
                raise RunError(
                    "template-not-a-prefix",
                    "the model's chat template renders a conversation's beginning in another way than "
                    "the whole, so it can't be told which text is the answer",
                    "name a template that ftc ships, or one with {% generation %} marks, in "
                    "model.chat_template",
                    where=row,
                )
            start, end = len(prompt), self._trim(newest, len(prompt), len(newest))
            if not text.startswith(newest[:end]):
                end = self._shortened(text, start, newest[start:end], message)
            answers.append((start, end))
            borders.append(start)
        return text, answers, borders

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


def _asked(messages: list[Message]) -> bool:
    return any(message["role"] != "system" for message in messages)


def check_last(rendered: Rendered, conversation: Conversation, row: str) -> None:
    """Raises RunError if the answer at the end is not what follows its prompt."""
    *before, last = conversation.messages
    asked = last["role"] == "assistant" and _asked(before)
    if asked and rendered.learnt[-1] and rendered.borders[-1] is None:
        raise RunError(
            "template-not-a-prefix",
            "the chat template begins a prompt for an answer (add_generation_prompt) in another way "
            "than it begins the answer itself, so the model would be asked what it was not taught",
            "let both begin alike in the template, or name one that ftc ships in model.chat_template",
            where=row,
        )


def _behind_header(text: str, span: Span, borders: list[int], row: str) -> int:
    """Where the answer in a marked stretch begins: where its prompt ends, if that is inside."""
    start, end = span
    inside = [border for border in borders if start < border <= end]
    if len(inside) > 1:
        raise RunError(
            "template-marks",
            "the chat template marks several answers as one stretch, with what stands between them",
            "put one {% generation %} block around each answer in the template",
            where=row,
        )
    return inside[0] if inside else start


def _no_place(field: str, row: str) -> RunError:
    """A template that knows no tools leaves them out in silence."""
    return RunError(
        "template-without-tools",
        f"the row has {field.replace('_', ' ')}, which the chat template has no place for",
        "name a template for tools in model.chat_template, as qwen2.5, llama3.1 or mistral-v3",
        "or take them out of the rows",
        where=row,
    )


def _other_marks(marks: int, answers: int, row: str) -> RunError:
    return RunError(
        "template-marks",
        f"the chat template marks {marks} stretches in a conversation of {answers} "
        'answers, so it can\'t be told which are the ones with "loss": false',
        "put one {% generation %} block around each answer in the template",
        where=row,
    )
