"""Answers as the CPU server reads them: calls of tools, text, stops; by a model that says what the test wants."""

import json
import os
from types import SimpleNamespace

import pytest
import torch
from ftc.compiler.catalog.presets import chat_templates
from ftc.runtime.serve import calls
from ftc.runtime.serve.__main__ import load
from ftc.runtime.serve.app import build
from ftc.runtime.serve.text import Text, begun
from starlette.testclient import TestClient

from .odd_requests import ASK, LAMP
from .serving import CHATS, GOOD, NAME

pytestmark = pytest.mark.executed


@pytest.fixture
def scripted(tiny_model, monkeypatch):
    """scripted(template, says) -> a client of an app whose model says that."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

    def make(template: str, says: str) -> SimpleNamespace:
        engine = load(str(tiny_model), "cpu", "auto")
        engine.positions = 4096
        tokenizer = engine.tokenizer
        tokenizer.chat_template = chat_templates()[template].read_text("utf-8")
        ids = tokenizer(says)["input_ids"]

        def generate(prompt, streamer, **_):
            for token in (prompt, *torch.tensor(ids)[:, None]):
                streamer.put(token)

        monkeypatch.setattr(engine.model, "generate", generate)
        web = TestClient(build(engine, NAME, None), base_url="http://127.0.0.1")
        return SimpleNamespace(ask=lambda **more: web.post(CHATS, json={**GOOD, **more}))

    return make


def streamed(answer) -> tuple[str, list[dict], str]:
    """The text, the calls and the end of a stream."""
    text, called, end = "", [], None
    for line in answer.text.split("\n\n")[:-2]:
        (choice,) = json.loads(line.removeprefix("data: "))["choices"]
        text += choice["delta"].get("content") or ""
        called += choice["delta"].get("tool_calls") or []
        end = choice["finish_reason"]
    return text, called, end


WRITTEN = {
    "qwen2.5": ("Hm.\n", '<tool_call>\n{"name": "lamp", "arguments": {"on": 1}}\n</tool_call>'),
    "llama3.1": ("", '{"name": "lamp", "parameters": {"on": 1}}'),
    "mistral-v3": (
        "",
        '[TOOL_CALLS] [{"name": "lamp", "arguments": {"on": 1}, "id": "a1b2c3d4e"}]',
    ),
}


@pytest.mark.parametrize("template", WRITTEN)
def test_calls_of_tools_are_read_as_the_template_writes_them(template, scripted):
    before, call = WRITTEN[template]
    client = scripted(template, before + call + "<|im_end|>")
    (choice,) = client.ask(tools=[LAMP]).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert (choice["message"]["content"] or "") == before.strip()
    (found,) = choice["message"]["tool_calls"]
    assert found["function"]["name"] == "lamp"
    assert json.loads(found["function"]["arguments"]) == {"on": 1}
    text, called, end = streamed(client.ask(tools=[LAMP], stream=True))
    assert text == before.strip() and end == "tool_calls"
    assert [each["function"] for each in called] == [found["function"]]
    back = [ASK, choice["message"], {"role": "tool", "tool_call_id": found["id"], "content": "on"}]
    assert client.ask(tools=[LAMP], messages=back).status_code == 200
    plain = client.ask(tools=[LAMP], tool_choice="none").json()["choices"][0]
    assert plain["message"]["content"] == before + call and plain["finish_reason"] == "stop"


def test_what_only_looks_like_a_call_is_text(scripted):
    for template, says in (
        ("qwen2.5", "a <tool_call> is"),
        ("qwen2.5", '<tool_call>{"name": 7}'),
        ("llama3.1", '{"a": 1}'),
        ("llama3.1", "[1, 2"),
        ("llama3.1", " x {"),
    ):
        client = scripted(template, says + "<|im_end|>")
        (choice,) = client.ask(tools=[LAMP]).json()["choices"]
        assert choice["message"]["content"] == says and choice["finish_reason"] == "stop"
        assert streamed(client.ask(tools=[LAMP], stream=True)) == (says, [], "stop")


def test_every_template_for_tools_is_known(tokenizer):
    templates = {name: path.read_text("utf-8") for name, path in chat_templates().items()}
    for name, template in templates.items():
        tokenizer.chat_template = template
        place = "tool_calls" in template
        assert (calls.opening(tokenizer) is not None) == place, name


def test_text_grows_by_whole_characters_and_never_by_half_a_stop(tokenizer):
    for said in ("the model 你好 🙂 end", "a\n\nb", " é", "stop sto stopp"):
        for stops in ([], ["stop"], ["\n\n", "el 你"], ["🙂 e", "好 🙂"]):
            text, seen = Text(tokenizer, set(), stops), ""
            for token in tokenizer(said)["input_ids"]:
                text.add(token)
                assert text.text[: len(seen)] == seen
                seen = text.text[: text.sure]
                if text.stopped:
                    break
            text.end()
            places = [said.find(stop) for stop in stops if stop in said]
            assert text.text[: text.sure] == said[: min(places, default=len(said))]
    assert begun("abc<tool", ["<tool_call>"]) == 5 and begun("abc", ["x"]) == 0
