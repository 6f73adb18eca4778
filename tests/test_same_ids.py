"""Training, `apply_chat_template`, chat.py and the servers: the same ids for the same conversation."""

import json

import pytest
import torch
from ftc.compiler.catalog.presets import chat_templates
from ftc.runtime.data.tokens import chat_samples
from ftc.runtime.errors import RunError
from ftc.runtime.export import served_tokenizer
from ftc.runtime.model import generate as answers
from ftc.runtime.rows import Conversation
from ftc.runtime.serve.__main__ import load
from ftc.runtime.serve.app import build
from tokenizers import processors

BOS = "<s>"
CASES = ["chatml", "qwen2.5", "qwen3", "llama3.1", "xtuner/default", "xtuner/llama3_chat"]


def tokenizer_of(tiny_model, template: str, adds_bos: bool):
    """The tiny model's, with a template; one that `adds_bos` puts it before every text by itself."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_special_tokens({"bos_token": BOS})
    tokenizer.add_tokens(["<|eot_id|>"], special_tokens=True)
    tokenizer.chat_template = chat_templates()[template].read_text("utf-8")
    if adds_bos:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.bos_token_id)]
        )
        assert tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    return tokenizer


@pytest.fixture(params=[(t, b) for t in CASES for b in (False, True)], ids=str)
def both(request, tiny_model, tmp_path):
    """The tokenizer that a run was trained with, and the folder that it was exported to."""
    from transformers import AutoModelForCausalLM

    trained, kept = (tokenizer_of(tiny_model, *request.param) for _ in range(2))
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.resize_token_embeddings(len(trained))
    model.config.max_position_embeddings = 4096
    served_tokenizer.prepare(trained)
    model.save_pretrained(tmp_path)
    trained.save_pretrained(tmp_path)
    return kept, tmp_path


def prompts(tokenizer):
    """(messages, tools, ids) of what comes before each golden conversation's last answer."""
    for golden in served_tokenizer.GOLDEN:
        if golden.tools and "tool_calls" not in tokenizer.chat_template:
            continue
        (sample,) = chat_samples(tokenizer, [golden], ["row"], "last_assistant")
        assert golden.messages[-1]["role"] == "assistant"
        ids = sample.ids[: int(sample.loss.argmax())].tolist()
        yield golden.messages[:-1], golden.tools, ids


def as_clients_send(message: dict) -> dict:
    """OpenAI's API has a call's arguments as JSON in a text."""
    called = [
        {
            **call,
            "function": {
                **call["function"],
                "arguments": json.dumps(call["function"]["arguments"]),
            },
        }
        for call in message.get("tool_calls", [])
    ]
    return {**message, "tool_calls": called} if called else message


class Stopped(Exception):
    """Generation would begin; it holds the prompt's ids."""


def test_all_see_the_same_ids(both, monkeypatch):
    from starlette.testclient import TestClient
    from transformers import AutoTokenizer, LlamaForCausalLM

    trained, folder = both
    asked: list[list[int]] = []

    def generate(self, input_ids=None, **settings):
        given = input_ids if input_ids is not None else settings["inputs"]
        asked.append(given[0].tolist())
        return torch.cat([given, torch.tensor([[2]])], 1)

    monkeypatch.setattr(LlamaForCausalLM, "generate", generate)
    model = LlamaForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    app = build(load(str(folder), "cpu", "auto"), "tiny", None)
    server = TestClient(app, base_url="http://127.0.0.1")
    number = 0
    for number, (messages, tools, ids) in enumerate(prompts(trained), 1):  # noqa: B007 - counts them
        how = {"tools": tools, "add_generation_prompt": True}
        assert tokenizer.apply_chat_template(messages, return_dict=False, **how) == ids
        text = tokenizer.apply_chat_template(messages, tokenize=False, **how)
        assert tokenizer.encode(text) == ids, "what lmdeploy does"
        if not tools:
            answers.generate(model, tokenizer, messages, {}, stream=False)
            assert asked.pop() == ids
        sent = [as_clients_send(message) for message in messages]
        body = {"model": "tiny", "messages": sent, "tools": tools, "max_tokens": 1}
        answer = server.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        assert asked.pop() == ids
    assert number >= 4


def test_the_export_is_proven(both):
    trained, folder = both
    number = served_tokenizer.prove(trained, folder, trust_remote_code=False)
    without = "tool_calls" not in trained.chat_template
    assert number == len(served_tokenizer.GOLDEN) - without >= 4


def test_another_template_in_the_export_is_found(both):
    trained, folder = both
    (folder / "chat_template.jinja").write_text(trained.chat_template + "{{ 'more' }}")
    with pytest.raises(RunError, match="other-tokens"):
        served_tokenizer.prove(trained, folder, trust_remote_code=False)


@pytest.mark.parametrize("kind", ["bos", "eos"])
def test_a_tokenizers_own_bos_would_be_found(tiny_model, tmp_path, kind):
    """Or its EOS behind every text, as lmdeploy lets it; and `prepare` mends both."""
    from transformers import AutoTokenizer

    mine = {f"add_{kind}_token": True, "bos_token": BOS}
    tokenizer = AutoTokenizer.from_pretrained(tiny_model, **mine)
    assert len(tokenizer("x")["input_ids"]) == len(tokenizer.tokenize("x")) + 1
    tokenizer.save_pretrained(tmp_path / "as-it-was")
    with pytest.raises(RunError, match=r"other-tokens.*lmdeploy"):
        served_tokenizer.prove(tokenizer, tmp_path / "as-it-was", trust_remote_code=False)
    served_tokenizer.prepare(tokenizer)
    tokenizer.save_pretrained(tmp_path / "mended")
    trained = AutoTokenizer.from_pretrained(tiny_model, **mine)
    assert served_tokenizer.prove(trained, tmp_path / "mended", trust_remote_code=False) >= 4


def test_generation_stops_where_an_answer_ends(tiny_model):
    from transformers import AutoModelForCausalLM

    tokenizer = tokenizer_of(tiny_model, "llama3.1", adds_bos=False)
    config = AutoModelForCausalLM.from_pretrained(tiny_model).generation_config
    ends = answers.stops(tokenizer, config)
    assert ends == [tokenizer.convert_tokens_to_ids("<|eot_id|>"), 2]
    (sample,) = chat_samples(
        tokenizer, [Conversation(served_tokenizer.PLAIN)], ["row"], "assistant"
    )
    assert sample.ids[sample.loss][-1] == ends[0]


def test_an_answer_stops_at_the_templates_end(tiny_model):
    """Where the base itself would go on: its own end is another token."""
    from transformers import AutoModelForCausalLM

    tokenizer = tokenizer_of(tiny_model, "llama3.1", adds_bos=False)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.resize_token_embeddings(len(tokenizer))
    (end,) = tokenizer.encode("<|eot_id|>")
    words = [*tokenizer.encode("yes"), end, *tokenizer.encode("no, that goes on")]
    start = []

    def scripted(ids, scores):
        start.append(ids.shape[1])
        forced = torch.full_like(scores, -torch.inf)
        forced[0, words[ids.shape[1] - start[0]]] = 0
        return forced

    settings = {"logits_processor": [scripted], "max_new_tokens": len(words)}
    answer = answers.generate(model, tokenizer, served_tokenizer.PLAIN[:1], settings, stream=False)
    assert answer == "yes"
