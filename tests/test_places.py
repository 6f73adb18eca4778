"""What a chat template has no place for is refused or told, however it leaves it out."""

import pytest
from ftc.compiler.catalog.presets import chat_templates
from ftc.runtime.data import places, tokens
from ftc.runtime.errors import RunError
from ftc.runtime.rows import Conversation

from .test_chat_templates import ENDS

CHATML = chat_templates()["chatml"].read_text("utf-8")
TOOLS = {"llama3.1", "mistral-nemo", "mistral-v3", "qwen2.5", "qwen3"}


@pytest.mark.parametrize("name", chat_templates())
def test_the_shipped_templates_show_tools_or_refuse_them(tokenizer, name):
    tokenizer.add_tokens(ENDS, special_tokens=True)
    tokenizer.chat_template = chat_templates()[name].read_text("utf-8")
    rows = [Conversation(places.PLAIN, [places.TOOL]), Conversation(places.CALLING, [places.TOOL])]
    for conversation in rows:
        if name.startswith("qwen3") or name in TOOLS:
            (sample,) = tokens.chat_samples(tokenizer, [conversation], ["rows:1"], "all")
            assert "Adds two numbers." in tokenizer.decode(sample.ids)
        else:
            with pytest.raises(RunError, match=r"rows:1.*template-(without-tools|refused)"):
                tokens.chat_samples(tokenizer, [conversation], ["rows:1"], "all")


def answer(**more) -> dict:
    return {**places.PLAIN[1], **more}


CALL = {**places.CALLING[1], "content": "I add them."}
SHOWN = CHATML.replace(
    "generation %}{{- message", "generation %}{{- (message.thinking or '') + message"
)
# What the row holds -> the template, and what is told.
LEFT_OUT = {
    "reasoning": ([places.PLAIN[0], answer(reasoning="R")], CHATML, ("reasoning",)),
    "a comment": ([places.PLAIN[0], answer(reasoning="R")], "{# reasoning #}" + CHATML, ("reasoning",)),
    "shown by another name": ([places.PLAIN[0], answer(reasoning="R")], SHOWN, ()),
    "a name": ([{**places.PLAIN[0], "name": "Ada"}, answer()], CHATML, ("name",)),
    "nothing": ([places.SYSTEM, *places.PLAIN], CHATML, ()),
    "a system text": (
        [places.SYSTEM, *places.PLAIN],
        "{%- set messages = messages | rejectattr('role', 'equalto', 'system') | list %}" + CHATML,
        ("system messages",),
    ),
    "text beside a call": (
        [places.CALLING[0], CALL, *places.CALLING[2:]],
        chat_templates()["llama3.1"].read_text("utf-8"),
        ("content beside tool_calls",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_is_left_out_is_told(tokenizer, kind):
    messages, template, told = LEFT_OUT[kind]
    tokenizer.add_tokens(ENDS, special_tokens=True)
    tokenizer.chat_template = template
    (sample,) = tokens.chat_samples(tokenizer, [Conversation(messages)], ["rows:1"], "assistant")
    assert sample.left_out == told


def test_a_row_sets_variables_of_the_template(tokenizer):
    tokenizer.chat_template = "{% if shout %}!{% endif %}" + CHATML
    for given, start, told in (({"shout": True}, "!", ()), ({"x": 1}, "", ("x",))):
        conversation = Conversation(places.PLAIN, None, given)
        (sample,) = tokens.chat_samples(tokenizer, [conversation], ["rows:1"], "assistant")
        assert tokenizer.decode(sample.ids).startswith(start) and sample.left_out == told
        whole = tokenizer.apply_chat_template(places.PLAIN, return_dict=False, **given)
        assert sample.ids.tolist() == whole
