"""The chat template of a model's folder, found and chosen as transformers does it."""

import json

import pytest
from ftc.compiler import compile_file
from transformers import AutoTokenizer

from .specs import BASE, ftc, merged, toml

DEFAULT = "\n  {% for m in messages %}{{ m.content }}\n{% endfor %}{{ 'D' }}\n"
TOOL_USE = "{% for m in messages %}{{ m.content }}{% endfor %}{{ tools | length }}T\n"
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}]
CHAT = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def base(tiny_model, folder):
    """A function: the spec of a base whose tokenizer_config.json holds these templates."""

    def make(templates):
        copy = folder / "base"
        copy.mkdir()
        for file in tiny_model.iterdir():
            if file.name != "chat_template.jinja":
                (copy / file.name).write_bytes(file.read_bytes())
        config = json.loads((copy / "tokenizer_config.json").read_text())
        config["chat_template"] = templates
        (copy / "tokenizer_config.json").write_text(json.dumps(config))
        spec = folder / "spec.toml"
        spec.write_text(toml(merged(BASE, {"model": {"base": "base", "max_seq_length": 64}})))
        return spec

    return make


def named(**templates: str) -> list[dict]:
    return [{"name": name, "template": text} for name, text in templates.items()]


@pytest.mark.parametrize("tool_use", [TOOL_USE, None, DEFAULT])
def test_of_several_by_name_each_conversation_gets_that_of_transformers(base, tool_use):
    more = {"tool_use": tool_use} if tool_use else {}
    spec = base(named(default=DEFAULT, rag="{{ documents }}", **more))
    carried = compile_file(spec, spec.parent / "run").files["chat_template.jinja"].content.decode()
    theirs = AutoTokenizer.from_pretrained(spec.parent / "base")
    for tools in (None, TOOLS):
        how = {"tools": tools, "tokenize": False}
        expected = theirs.apply_chat_template(CHAT, **how)
        assert theirs.apply_chat_template(CHAT, chat_template=carried, **how) == expected


def test_without_a_default_the_true_reason_is_given(base):
    told = ftc("check", base(named(rag="{{ x }}", chat="{{ y }}")), exit_code=2).stderr
    assert "has several chat templates (rag, chat), and none is called `default`" in told
