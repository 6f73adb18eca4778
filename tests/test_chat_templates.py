"""The chat templates that ftc ships: XTuner's 27, from the fields of its reference; and the models' own."""

import json
import re
from pathlib import Path

import pytest
from ftc.compiler.catalog.presets import chat_templates, model_presets
from ftc.runtime.data import tokens
from ftc.runtime.errors import RunError
from ftc.runtime.rows import Conversation

FIELDS = json.loads(Path(__file__).with_name("xtuner_templates.json").read_text("utf-8"))
BOS, EOS = "<s>", "</s>"

# (system, user, answer) for each turn, as XTuner's formats make them of a row.
TURNS = {
    "plain": [("", "What is 2 + 2?", "4")],
    "system": [("Be brief.\n", "What is 2 + 2?", "4")],
    "unicode": [("Sei höflich 你好\n", "  🙂 é\n\n", " ü 你好 🙂 \n")],
    "empty": [("", "", ""), ("", "", "an answer"), ("", "a question", "")],
    "long": [("Be brief.\n", "start", "go")]
    + [("", f"question {i}", "yes " * i) for i in range(40)],
    "system in the middle": [("", "a", "b"), ("Response: 4\n", "", "Final Answer: 4\n")],
}


def reference(fields: dict, turns: list[tuple[str, str, str]]) -> tuple[str, str]:
    """The text and its learnt part, by the rules of XTuner's template and label steps."""
    text, learnt, closed = "", "", True  # closed: the turn before ended with the EOS
    for number, (system, question, answer) in enumerate(turns, 1):
        text += BOS if closed else ""
        # XTuner crashes on a system text where a template has no SYSTEM; its sampling hook uses this.
        text += fields.get("SYSTEM", "{system}\n").replace("{system}", system) if system else ""
        instruction = fields["INSTRUCTION"].replace("{round}", str(number))
        text += instruction.replace("{input}", question)
        closed = not fields.get("SUFFIX_AS_EOS", False)
        output = answer + fields.get("SUFFIX", "") + (EOS if closed else "")
        # Tokenizers join a space with the word behind it: the model says both, or neither.
        lead = " " if instruction.endswith(" ") else ""
        text, learnt = text + output, learnt + lead + output
        text += fields.get("SEP", "")
    return text, learnt


def messages_of(turns: list[tuple[str, str, str]]) -> list[dict]:
    roles = ("system", "user", "assistant")
    messages = [
        {"role": r, "content": c} for turn in turns for r, c in zip(roles, turn, strict=True)
    ]
    return [m for m in messages if m["content"] or m["role"] != "system"]


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    """With every template's own tokens, as the models have them that the templates are for."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_special_tokens({"bos_token": BOS, "eos_token": EOS})
    tokenizer.add_tokens(ENDS, special_tokens=True)
    return tokenizer


ENDS = ["<eoa>", "<|im_end|>", "<end_of_turn>", "<|END_OF_TURN_TOKEN|>", "<|eot_id|>", "<|end|>"]
ENDS += ["<｜end▁of▁sentence｜>", "<|user|>", "<|observation|>", "<|end_of_text|>"]


def sample_of(tokenizer, name: str, conversation: list[dict], loss_on: str = "assistant", **more):
    tokenizer.chat_template = chat_templates()[name].read_text("utf-8")
    (sample,) = tokens.chat_samples(
        tokenizer, [Conversation(conversation, **more)], ["rows:1"], loss_on
    )
    return sample


def without_marks(template: str) -> str:
    bare = template.replace("{%- generation %}", "").replace("{%- endgeneration %}", "")
    assert bare != template and "generation %}" not in bare
    return bare


def test_all_of_xtuners_are_there():
    shipped = {name.removeprefix("xtuner/") for name in chat_templates() if "/" in name}
    assert shipped == set(FIELDS) and len(FIELDS) >= 27


@pytest.mark.parametrize("turns", TURNS.values(), ids=TURNS)
@pytest.mark.parametrize("name", FIELDS)
def test_xtuners_strings(tokenizer, name, turns):
    text, learnt = reference(FIELDS[name], turns)
    sample = sample_of(tokenizer, f"xtuner/{name}", messages_of(turns))
    assert tokenizer.decode(sample.ids) == text
    assert tokenizer.decode(sample.ids[sample.loss]) == learnt
    assert sample.ids.tolist() == tokenizer.apply_chat_template(
        messages_of(turns), return_dict=False
    )
    assert tokens.ends(sample, tokenizer)


@pytest.mark.parametrize("name", chat_templates())
def test_what_is_learnt_begins_where_the_prompt_ends(tokenizer, name):
    turns = [("", "one", "first"), ("", "two", "second 你好")]
    messages = messages_of(turns)
    sample = sample_of(tokenizer, name, messages, "last_assistant")
    prompt = tokenizer.apply_chat_template(
        messages[:-1], add_generation_prompt=True, return_dict=False
    )
    assert sample.ids[: len(prompt)].tolist() == prompt
    assert not sample.loss[: len(prompt)].any() and sample.loss[len(prompt)]
    learnt = tokenizer.decode(sample.ids[sample.loss], skip_special_tokens=True)
    thoughts = {"qwen3": "<think>\n\n</think>\n\n", "qwen3_thinking": "</think>\n\n"}.get(name, "")
    assert learnt.strip() == thoughts + "second 你好"


@pytest.mark.parametrize("name", FIELDS)
def test_users_in_a_row_stay_apart(tokenizer, name):
    messages = [{"role": "user", "content": text} for text in ("one", "two")]
    sample = sample_of(
        tokenizer, f"xtuner/{name}", [*messages, {"role": "assistant", "content": "3"}]
    )
    fields = FIELDS[name]
    end = fields.get("SUFFIX", "") + ("" if fields.get("SUFFIX_AS_EOS") else EOS)
    assert tokenizer.decode(sample.ids[sample.loss]).lstrip() == "3" + end
    text = tokenizer.decode(sample.ids)
    assert text.index("one") < text.index("two") < text.rindex("3" + end)


@pytest.mark.parametrize("name", FIELDS)
def test_xtuners_have_no_place_for_tools(tokenizer, name):
    asked = [{"role": "user", "content": "x"}]
    tool = [*asked, {"role": "tool", "content": "4"}, {"role": "assistant", "content": "4"}]
    with pytest.raises(RunError, match=r"rows:1.*template-refused.*tool"):
        sample_of(tokenizer, f"xtuner/{name}", tool)
    answered = [*asked, {"role": "assistant", "content": "4"}]
    with pytest.raises(RunError, match="template-without-tools"):
        sample_of(tokenizer, f"xtuner/{name}", answered, tools=[{"type": "function"}])


# What the models' own templates make of the same conversations, one file of strings; where ftc departs
# from them, the template's first lines say so.
OWN = json.loads(Path(__file__).with_name("own_templates.json").read_text("utf-8"))
KINDS = [(name, kind) for name in OWN for kind in OWN[name]]
CHAT = [
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "first"},
    {"role": "user", "content": "two é?"},
    {"role": "assistant", "content": "second 🙂"},
]
SYSTEM = {"role": "system", "content": "Be brief."}
NUMBER = {"type": "integer"}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two.",
        "parameters": {
            "type": "object",
            "properties": {"a": NUMBER, "b": NUMBER},
            "required": ["a", "b"],
        },
    },
}
CALL = {"id": "abcdefghi", "type": "function"}
CALL["function"] = {"name": "add", "arguments": {"a": 1, "b": 2}}
TOOLS = [
    {"role": "user", "content": "1 + 2?"},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "content": "3", "tool_call_id": "abcdefghi"},
    {"role": "assistant", "content": "It is 3."},
]


def conversation(name: str, kind: str) -> Conversation:
    if kind == "tools":  # Mistral's own template shows no system text in front
        start = [] if name.startswith("mistral") else [SYSTEM]
        return Conversation([*start, *TOOLS], [ADD])
    return Conversation([SYSTEM, *CHAT] if kind == "system" else CHAT)


def test_the_docs_name_them():
    docs = (Path(__file__).parent.parent / "docs/chat_templates.md").read_text("utf-8")
    table = docs.partition("|---|---|")[2].partition("\n\n")[0]
    names = {name for line in table.splitlines() for name in re.findall("`(.*?)`", line)}
    assert names == {name for name in chat_templates() if "/" not in name}


def test_all_of_the_models_own_are_compared():
    assert set(OWN) == {name for name in chat_templates() if "/" not in name}
    assert {name for name in OWN if "tools" in OWN[name]} == {
        *("llama3.1", "mistral-nemo", "mistral-v3", "qwen2.5", "qwen3", "qwen3_nothink"),
        "qwen3_thinking",
    }


@pytest.mark.parametrize("name, kind", KINDS)
def test_the_models_own_strings(tokenizer, name, kind):
    given = conversation(name, kind)
    sample = sample_of(tokenizer, name, given.messages, tools=given.tools)
    assert tokenizer.decode(sample.ids) == OWN[name][kind]
    end = tokenizer.decode(tokens.end_of_answer(tokenizer).id)
    learnt = tokenizer.decode(sample.ids[sample.loss])
    if name == "qwen3_thinking":  # an answer without its think block is none to its prompt
        assert learnt == "\n</think>\n\n" + given.messages[-1]["content"] + end
        return
    assert learnt.count(end) == 2 and learnt.endswith(end)
    for message in given.messages:
        if message["role"] != "tool" and message.get("content"):
            assert (message["content"] in learnt) == (message["role"] == "assistant")
    assert ("add" in learnt) == (kind == "tools")


def test_qwen3_learns_reasoning_where_it_is_shown(tokenizer):
    def thought(text: str) -> dict:
        return {"role": "assistant", "content": text, "reasoning_content": f"why {text}"}

    messages = [CHAT[0], thought("old"), CHAT[2], thought("new")]
    marked = sample_of(tokenizer, "qwen3", messages)
    tokenizer.chat_template = without_marks(tokenizer.chat_template)
    inline = [
        CHAT[0],
        {"role": "assistant", "content": "<think>\nwhy old\n</think>\n\nold"},
        CHAT[2],
        {"role": "assistant", "content": "<think>\nwhy new\n</think>\n\nnew"},
    ]
    (bare,) = tokens.chat_samples(tokenizer, [Conversation(inline)], ["row"], "assistant")
    for sample in (marked, bare):
        assert "why old" not in tokenizer.decode(sample.ids)
        learnt = tokenizer.decode(sample.ids[sample.loss])
        assert learnt == "<think>\nwhy new\n</think>\n\nnew<|im_end|>"


@pytest.mark.parametrize(
    "content", ["why new\n</think>\n\nnew", "<think>\nwhy new\n</think>\n\nnew", None]
)
def test_qwen3_thinking_goes_on_where_its_prompt_opens_the_block(tokenizer, content):
    """Reasoning in the content, as the model itself writes it, or with the tag; or in a field of its own."""
    old = {"role": "assistant", "content": "why old\n</think>\n\nold"}
    new = {"role": "assistant", "content": content or "new"}
    new |= {} if content else {"reasoning_content": "why new"}
    sample = sample_of(tokenizer, "qwen3_thinking", [CHAT[0], old, CHAT[2], new])
    prompt = tokenizer.apply_chat_template(
        [CHAT[0], old, CHAT[2]], add_generation_prompt=True, return_dict=False
    )
    assert tokenizer.decode(prompt).endswith("<|im_start|>assistant\n<think>\n")
    assert sample.ids[: len(prompt)].tolist() == prompt and "old" in tokenizer.decode(prompt)
    assert "why old" not in tokenizer.decode(prompt)
    assert tokenizer.decode(sample.ids[sample.loss]) == "why new\n</think>\n\nnew<|im_end|>"


def test_each_of_the_family_thinks_as_its_own_template_has_it():
    """The Instruct models of 2507 write no think block, and the prompt of the Thinking ones opens it."""
    ends = {"instruct-2507": "qwen3_nothink", "thinking-2507": "qwen3_thinking"}
    for name, preset in model_presets().items():
        if preset.architecture.model_type.startswith("qwen3"):
            wanted = next((t for end, t in ends.items() if name.endswith(end)), "qwen3")
            assert preset.chat_template == wanted, name


@pytest.mark.parametrize("name", chat_templates())
def test_a_tokenizer_may_lack_a_bos(tiny_model, name):
    from transformers import AutoTokenizer

    bare = AutoTokenizer.from_pretrained(tiny_model, bos_token=None)
    bare.add_tokens(ENDS, special_tokens=True)
    assert bare.bos_token is None
    sample = sample_of(bare, name, CHAT)
    assert "<s>" not in bare.decode(sample.ids) and "None" not in bare.decode(sample.ids)


def test_arguments_given_as_text_are_shown_as_they_are(tokenizer):
    call = {"function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}, "id": "abcdefghi"}
    messages = [TOOLS[0], {"role": "assistant", "tool_calls": [call]}]
    for name in (name for name in OWN if "tools" in OWN[name]):
        texts = [
            sample_of(tokenizer, name, m, tools=[ADD]).ids.tolist() for m in (messages, TOOLS[:2])
        ]
        assert texts[0] == texts[1], name


@pytest.mark.parametrize("loss_on", ["assistant", "last_assistant", "all"])
def test_a_message_says_that_it_is_not_learnt(tokenizer, loss_on):
    quiet = [CHAT[0], {**CHAT[1], "loss": False}, CHAT[2], {**CHAT[3], "loss": True}]
    sample = sample_of(tokenizer, "chatml", quiet, loss_on)
    learnt = tokenizer.decode(sample.ids[sample.loss])
    assert sample.ids.tolist() == sample_of(tokenizer, "chatml", CHAT).ids.tolist()
    assert "first" not in learnt and "second 🙂<|im_end|>" in learnt
    assert ("two é?" in learnt) == (loss_on == "all")


def test_a_cut_answer_has_no_end(tokenizer):
    for loss_on in ("assistant", "last_assistant", "all"):
        whole = sample_of(tokenizer, "chatml", CHAT, loss_on)
        assert tokens.ends(whole, tokenizer)
        cut = tokens.Sample(whole.ids[:-4], whole.loss[:-4], "row")
        assert not tokens.ends(cut, tokenizer)


def test_an_end_that_is_no_token_is_refused(tokenizer):
    with pytest.raises(RunError, match=r"no-end-token.*<eot>.*no token of this tokenizer"):
        tokenizer.chat_template = MARKED.replace("END", "<eot>")
        tokens.chat_samples(tokenizer, [Conversation(CHAT)], ["rows:1"], "assistant")


MARKED = "{% for m in messages %}{% generation %}{{ m['content'] + 'END' }}{% endgeneration %}{% endfor %}"


@pytest.mark.parametrize("name, kind", [*KINDS, *((f"xtuner/{name}", "chat") for name in FIELDS)])
def test_without_marks_the_mask_is_the_same(tokenizer, name, kind):
    """What `chat_template = "model"` does with a model's own template: an answer is what its prompt lacks."""
    given = conversation(name, kind)
    marked = sample_of(tokenizer, name, given.messages, tools=given.tools)
    tokenizer.chat_template = without_marks(tokenizer.chat_template)
    if name == "qwen3_thinking":  # what its history shows otherwise than as an answer can't be told
        with pytest.raises(RunError, match="template-not-a-prefix"):
            tokens.chat_samples(tokenizer, [given], ["row"], "assistant")
        return
    (bare,) = tokens.chat_samples(tokenizer, [given], ["row"], "assistant")
    assert bare.ids.tolist() == marked.ids.tolist()
    assert bare.loss.tolist() == marked.loss.tolist()


def test_marks_that_fit_no_message_are_refused_where_it_matters(tokenizer):
    twice = "{% generation %}{{ m['content'] }}{% endgeneration %}"
    tokenizer.chat_template = MARKED.replace("END", "<|im_end|>").replace(
        "{% endfor %}", twice + "{% endfor %}"
    )
    silent = [CHAT[0], {**CHAT[1], "loss": False}]
    with pytest.raises(RunError, match=r"rows:1.*template-marks.*marks 4 stretches"):
        tokens.chat_samples(tokenizer, [Conversation(silent)], ["rows:1"], "assistant")


def test_which_templates_refuse_a_system_message():
    from ftc.compiler.catalog.presets import chat_templates
    from ftc.compiler.facts.chat_template import refusal

    texts = {name: path.read_text("utf-8") for name, path in chat_templates().items()}
    assert [name for name, text in texts.items() if refusal(text, "Be brief.")] == ["gemma"]
