"""The ids of a prompt, as a server sends it, begin those of training, whatever an answer begins with."""

import pytest
from ftc.compiler.catalog.presets import chat_templates
from ftc.runtime.data import tokens, words
from ftc.runtime.errors import RunError
from ftc.runtime.rows import Conversation

from .test_chat_templates import ENDS

ANSWERS = [
    "4",
    "\nGreen",
    "\n\nGreen is",
    "\n",
    "",
    " x",
    '{"a": 1}',
    "'ll",
    "123",
    "你好 a",
    "  b",
]
SPACED = (
    "{%- for m in messages -%}{%- if m.role == 'assistant' -%}{{ 'Answer: ' + m.content + '<|im_end|>\n' }}"
    "{%- else -%}{{ 'Question: ' + m.content + '\n' }}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'Answer: ' }}{%- endif -%}"
)


def sentencepiece_like():
    """BPE on whole texts with ▁ for spaces and one in front, as Llama 2's: it merges whatever is frequent."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    backend.normalizer = normalizers.Sequence(steps)
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    texts = [
        '[INST] q [/INST]{"a": 1} ]{ ASSISTANT:Hi : x\n\nx\n\n Answer: Green Answer: Green 123'
    ] * 30
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special)
    backend.train_from_iterator(texts, trainer)
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence(back)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def byte_level():
    """GPT-2's words: it joins a line end with the next, but for the last before a letter."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet)
    texts = ["a\n\n\nb\n\n c\n\n", ']{"a": Answer: Green :{ ASSISTANT:Hi I\'ll  b'] * 30
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


MAKERS = {"sentencepiece-like": sentencepiece_like, "byte-level": byte_level}


@pytest.fixture(scope="module", params=[*MAKERS, "byte-level, by the tokenizer"])
def tokenizer(request):
    made = MAKERS[request.param.partition(",")[0]]()
    made.add_tokens([*ENDS, "<|im_start|>"], special_tokens=True)
    with pytest.MonkeyPatch.context() as patch:
        if "by the tokenizer" in request.param:
            patch.setattr(tokens, "words", lambda tokenizer: None)
        else:
            assert (words.words(made) is None) == (request.param == "sentencepiece-like")
        yield made


def talk(*answers: str) -> list[dict]:
    turns = [("user", f"{n}?") for n in range(len(answers))], [("assistant", a) for a in answers]
    return [{"role": r, "content": c} for pair in zip(*turns, strict=True) for r, c in pair]


def sample_of(tokenizer, messages, loss_on="assistant"):
    (sample,) = tokens.chat_samples(tokenizer, [Conversation(messages)], ["rows:1"], loss_on)
    return sample


def prompt_of(tokenizer, messages) -> list[int]:
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)


@pytest.mark.parametrize("name", [*chat_templates(), "spaced"])
def test_a_prompt_is_a_prefix_and_all_behind_it_is_learnt(tokenizer, name):
    tokenizer.chat_template = (
        SPACED if name == "spaced" else chat_templates()[name].read_text("utf-8")
    )
    for answer in ANSWERS:
        for messages in (talk(answer), talk(answer, answer)):
            sample = sample_of(tokenizer, messages, "last_assistant")
            prompt = prompt_of(tokenizer, messages[:-1])
            assert sample.ids[: len(prompt)].tolist() == prompt, repr(answer)
            assert not sample.loss[: len(prompt)].any() and sample.loss[len(prompt)]
            assert not sample.joined
            whole = tokenizer.apply_chat_template(messages, return_dict=False)
            assert tokenizer.decode(sample.ids) == tokenizer.decode(whole)


def test_of_several_answers_each_is_learnt_from_its_first_token_and_the_rest_is_counted(tokenizer):
    tokenizer.chat_template = SPACED
    messages = talk("Green", "Hi", "Green")
    sample = sample_of(tokenizer, messages)
    learnt = tokenizer.decode(sample.ids[sample.loss])
    assert learnt.replace("<|im_end|>", "|") == "Green|Hi|Green|"
    first = prompt_of(tokenizer, messages[:1])
    assert sample.ids[: len(first)].tolist() == first
    later = prompt_of(tokenizer, messages[:-1])
    assert sample.joined == (sample.ids[: len(later)].tolist() != later)
    assert sample.joined, "a server joins the space with the word behind it in the history"
    quiet = [{**m, "loss": False} if m["role"] == "assistant" else m for m in messages[:-1]]
    sample = sample_of(tokenizer, [*quiet, messages[-1]])
    assert sample.ids[: len(later)].tolist() == later and not sample.joined, "as no other is learnt"


HEADED = (
    "{%- for m in messages -%}{%- if m.role == 'assistant' -%}"
    "{% generation %}{{ '<|im_start|>assistant\n' + m.content + '<|im_end|>\n' }}{% endgeneration %}"
    "{%- else -%}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endif -%}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
THINKS = HEADED.replace("assistant\n' + m", "assistant\n<think>\n\n</think>\n' + m").replace(
    "'<|im_start|>assistant\n' }}{%- endif",
    "'<|im_start|>assistant\n<think>\n\n</think>\n' }}{%- endif",
)


@pytest.mark.parametrize("template", [HEADED, THINKS], ids=["header", "header and thoughts"])
@pytest.mark.parametrize("body", ["fine", "{% generation %}"])
def test_marks_that_take_in_the_header_do_not_teach_it(tokenizer, template, body):
    """As SmolLM3's own template has them, whose prompt may hold an empty block of thoughts."""
    tokenizer.chat_template = template
    sample = sample_of(tokenizer, talk(body, "two"))
    learnt = tokenizer.decode(sample.ids[sample.loss])
    assert learnt.replace("<|im_end|>", "|") == f"{body}|two|"


def test_a_mark_around_several_answers_is_refused(tokenizer):
    tokenizer.chat_template = (
        "{% generation %}{% for m in messages %}{{ m.role + ': ' + m.content + '<|im_end|>' }}{% endfor %}"
        "{% endgeneration %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    with pytest.raises(RunError, match=r"rows:1.*template-marks.*as one stretch"):
        sample_of(tokenizer, talk("one", "two"))


def test_a_prompt_that_no_answer_begins_with_is_refused(tokenizer):
    tokenizer.chat_template = HEADED.replace(
        "'<|im_start|>assistant\n' }}{%- endif", "'<|im_start|>assistant\n<think>\n' }}{%- endif"
    )
    with pytest.raises(RunError, match=r"rows:1.*template-not-a-prefix.*add_generation_prompt"):
        sample_of(tokenizer, talk("one"))
    assert sample_of(tokenizer, talk("<think>\nso\n</think>one")).loss.any()


def test_a_greeting_before_the_first_question_is_rendered_and_not_learnt(tokenizer):
    """Where the template can't begin an answer to nothing; transformers renders it, too."""
    tokenizer.chat_template = "{%- set first = messages[0].role %}" + SPACED
    messages = [{"role": "assistant", "content": "Hi"}, *talk("Green")]
    sample = sample_of(tokenizer, messages)
    assert tokenizer.decode(sample.ids[sample.loss]).replace("<|im_end|>", "|") == "Green|"
    prompt = prompt_of(tokenizer, messages[:-1])
    assert sample.ids[: len(prompt)].tolist() == prompt
