"""The CPU server: odd requests by a raw client, right ones by the real openai client, both to one server."""

import importlib.util
import json
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace

import openai
import pytest
import torch
from ftc.runtime.data.tokens import chat_samples
from ftc.runtime.rows import Conversation
from ftc.runtime.serve import gate

from .odd_requests import ASK, BODIES, CHAT, COMPLETION
from .serving import (
    CHATS,
    COMPLETIONS,
    GOOD,
    GOOD_PROMPT,
    JSON,
    LONG,
    NAME,
    changed,
    refused,
    send,
    serving,
)

pytestmark = pytest.mark.executed


@pytest.fixture(scope="module")
def server(tiny_model, tmp_path_factory) -> Iterator[SimpleNamespace]:
    with serving(tiny_model, tmp_path_factory.mktemp("server")) as found:
        yield found
        assert "Traceback" not in found.log.read_text()


@pytest.fixture
def client(server) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0
    )


def test_odd_requests_are_refused_where_they_are_wrong(server):
    assert len(CHAT) + len(COMPLETION) + len(BODIES) > 180
    for path, good, table in ((CHATS, GOOD, CHAT), (COMPLETIONS, GOOD_PROMPT, COMPLETION)):
        assert send(server, path, good)[0] == 200
        for change, param in table:
            for stream in {}, {"stream": True}:
                if stream and ("stream" in change or "stream_options" in change):
                    continue
                error = refused(send(server, path, changed({**good, **stream}, change)))
                assert (error["param"] or "").startswith(param), (str(change)[:200], error)
        for body in BODIES:
            refused(send(server, path, body))
    assert send(server, CHATS, GOOD)[0] == 200


def test_what_is_no_right_request_of_http(server):
    refused(send(server, "/v1/embeddings", {}), 404)
    refused(send(server, "/load_model", {}), 404)
    refused(send(server, "/", b"", method="GET"), 404)
    refused(send(server, CHATS, b"", method="GET"), 405)
    refused(send(server, "/v1/models", {}), 405)
    refused(send(server, CHATS, GOOD, {"content-type": "text/plain"}))
    refused(send(server, CHATS, GOOD, {}))
    refused(send(server, CHATS, changed(GOOD, {"model": "other"})), 404)
    refused(send(server, CHATS, b" " * (gate.LARGEST + 1)), 413)
    wrong = {**JSON, "host": "evil.example"}
    refused(send(server, CHATS, GOOD, wrong), 403)
    refused(send(server, "/v1/models", b"", {"host": "evil.example:80"}, "GET"), 403)
    for origin in ("https://evil.example", "null", "file://", "http://127.0.0.1.evil.example"):
        refused(send(server, CHATS, GOOD, {**JSON, "origin": origin}), 403)
    for ours in ("http://localhost:3000", "http://127.0.0.1", "http://[::1]:80"):
        assert send(server, CHATS, GOOD, {**JSON, "origin": ours})[0] == 200
    assert send(server, "/health", b"", {"host": "evil.example"}, "GET")[0] == 200


def test_the_openai_client_sees_its_own_errors(client):
    ask = client.chat.completions.create
    with pytest.raises(openai.BadRequestError) as found:
        ask(**changed(GOOD, {"messages": [{"role": "user", "content": "the model " * 400}]}))
    assert found.value.code == "context_length_exceeded" and found.value.param == "messages"
    with pytest.raises(openai.BadRequestError, match="logit_bias"):
        ask(**GOOD, logit_bias={"99999": 1})
    with pytest.raises(openai.NotFoundError, match="tiny one"):
        ask(**{**GOOD, "model": "other"})
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    assert client.models.retrieve(NAME).id == NAME
    assert [model.id for model in client.models.list()] == [NAME]


def test_a_stream_says_what_the_whole_says(server, client):
    for more in ({}, {"n": 3, "temperature": 1, "seed": 5}, {"stop": ["e", "h"], "max_tokens": 40}):
        ask = {**GOOD, "max_tokens": 12, **more}
        whole = client.chat.completions.create(**ask, logprobs=True, top_logprobs=2)
        texts, ends, scores = {}, {}, {}
        options = {"stream": True, "stream_options": {"include_usage": True}}
        for chunk in client.chat.completions.create(
            **ask, **options, logprobs=True, top_logprobs=2
        ):
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
                ends[choice.index] = choice.finish_reason
                found = choice.logprobs.content if choice.logprobs else []
                scores.setdefault(choice.index, []).extend(found)
        assert chunk.usage == whole.usage
        assert len(whole.choices) == len(texts) == ask.get("n", 1)
        for choice in whole.choices:
            assert texts[choice.index] == choice.message.content
            assert ends[choice.index] == choice.finish_reason
            assert scores[choice.index] == choice.logprobs.content
    events = send(server, CHATS, {**GOOD, "stream": True})[2].decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all("usage" not in event for event in events)


def test_the_stop_text_is_no_part_of_the_answer(client):
    whole = client.chat.completions.create(**{**GOOD, "max_tokens": 24}).choices[0]
    text = whole.message.content
    assert whole.finish_reason == "length" and len(text) > 4
    stop = text[3:5]
    cut = client.chat.completions.create(**{**GOOD, "max_tokens": 24}, stop=stop).choices[0]
    assert cut.message.content == text[: text.index(stop)] and cut.finish_reason == "stop"


@pytest.fixture(scope="module")
def loaded(tiny_model):
    """The same model and tokenizer, without the server."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    return model, AutoTokenizer.from_pretrained(tiny_model)


def test_logprobs_penalties_and_biases_are_what_the_model_says(client, loaded):
    model, tokenizer = loaded
    prompt = tokenizer.apply_chat_template(
        [ASK], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    with torch.no_grad():
        expected = model(prompt).logits[0, -1].log_softmax(-1)
    top, ids = expected.topk(3)
    ask = {**GOOD, "logprobs": True, "top_logprobs": 3}
    (first, *_) = client.chat.completions.create(**ask).choices[0].logprobs.content
    assert [each.logprob for each in first.top_logprobs] == pytest.approx(top.tolist(), abs=1e-4)
    assert first.logprob == pytest.approx(float(top[0]), abs=1e-4)
    assert first.token == tokenizer.decode([ids[0]])
    wanted = tokenizer.convert_tokens_to_ids("the")
    forced = client.chat.completions.create(**GOOD, logit_bias={str(wanted): 100})
    assert forced.choices[0].message.content == "the" * 4
    other = client.chat.completions.create(
        **GOOD, logit_bias={str(wanted): 1.9}, presence_penalty=2, top_p=0
    )
    many = client.chat.completions.create(
        **{**GOOD, "max_tokens": 9}, logit_bias={str(wanted): 2.0}, frequency_penalty=2
    )
    assert other.choices[0].message.content.count("the") <= 1
    assert many.choices[0].message.content.count("the") <= 2


def test_parts_of_a_text_are_joined_as_in_training(client, tokenizer):
    parts = [{"type": "text", "text": text} for text in ("the mod", "el ", "", "é")]
    rows = [{"role": "system", "content": "a"}, {"role": "user", "content": "the model é"}]
    (sample,) = chat_samples(
        tokenizer, [Conversation([*rows, {"role": "assistant", "content": "x"}])], [""], "assistant"
    )
    sent = [{"role": "developer", "content": "a"}, {"role": "user", "content": parts}]
    answer = client.chat.completions.create(**{**GOOD, "messages": sent})
    assert answer.usage.prompt_tokens == int(sample.loss.argmax())


def test_an_answer_can_be_sent_back_as_it_came(client):
    answer = client.chat.completions.create(**GOOD).choices[0].message
    messages = [ASK, answer.model_dump(), ASK]
    assert client.chat.completions.create(**{**GOOD, "messages": messages}).choices


def test_what_changes_no_answer_is_taken(client):
    harmless = {"user": "x", "metadata": {"a": "b"}, "store": False, "n": 1, "logit_bias": {}}
    harmless |= {"response_format": {"type": "text"}, "modalities": ["text"], "seed": 3}
    plain = client.chat.completions.create(**GOOD).choices[0].message.content
    assert client.chat.completions.create(**GOOD, **harmless).choices[0].message.content == plain


def test_all_positions_are_there_and_no_more(client, loaded):
    full = client.completions.create(**changed(GOOD_PROMPT, {"prompt": [5] * 508}))
    assert full.usage.total_tokens == 512
    with pytest.raises(openai.BadRequestError, match="512 tokens"):
        client.completions.create(**changed(GOOD_PROMPT, {"prompt": [5] * 509}))
    rest = client.chat.completions.create(**changed(GOOD, {"max_tokens": ...}))
    choice = rest.choices[0]
    assert choice.finish_reason == "stop" or rest.usage.total_tokens == 512


def test_completions(client, loaded):
    _, tokenizer = loaded
    one = client.completions.create(**GOOD_PROMPT)
    ids = client.completions.create(**{**GOOD_PROMPT, "prompt": tokenizer("the model").input_ids})
    assert ids.choices[0].text == one.choices[0].text
    both = client.completions.create(
        **{**GOOD_PROMPT, "prompt": ["the model", "a run"]}, n=2, echo=True
    )
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    assert both.choices[1].text == "the model" + one.choices[0].text
    assert both.usage.prompt_tokens == len(tokenizer("the model").input_ids) + len(
        tokenizer("a run").input_ids
    )
    echoed = client.completions.create(**{**GOOD_PROMPT, "max_tokens": 0}, echo=True)
    assert echoed.choices[0].text == "the model" and echoed.usage.completion_tokens == 0
    scored = client.completions.create(**GOOD_PROMPT, logprobs=2).choices[0]
    assert len(scored.logprobs.tokens) == 4 and len(scored.logprobs.top_logprobs[0]) <= 2
    stream = client.completions.create(**GOOD_PROMPT, stream=True, echo=True)
    assert "".join(c.choices[0].text for c in stream) == "the model" + one.choices[0].text


def test_a_client_that_leaves_ends_its_generation(server, client):
    """Else the hundred answers would hold up the next request for minutes."""
    for stream in (False, True):
        with socket.create_connection(("127.0.0.1", server.port)) as leaving:
            body = json.dumps({**LONG, "stream": stream}).encode()
            head = (
                f"POST {COMPLETIONS} HTTP/1.1\r\nHost: localhost\r\ncontent-length: {len(body)}\r\n"
            )
            leaving.sendall(f"{head}content-type: application/json\r\n\r\n".encode() + body)
            time.sleep(0.5)
            began = time.monotonic()
            assert send(server, "/health", b"", {}, "GET")[0] == 200
            refused(send(server, CHATS, changed(GOOD, {"messages": []})))
            assert client.models.list().data
            assert time.monotonic() - began < 2, "while another request is answered"
        began = time.monotonic()
        assert client.chat.completions.create(**GOOD).choices
        assert time.monotonic() - began < 5


def test_json_is_made_or_refused(client, tokenizer):
    """By llguidance, beside the server; a server without it says so."""
    schema = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
    schema["additionalProperties"] = False
    wanted = {"type": "json_schema", "json_schema": {"name": "lamp", "schema": schema}}
    ask = {**GOOD, "max_tokens": 60, "logit_bias": {"2": 100}}
    if importlib.util.find_spec("llguidance") is None:
        for kind in (wanted, {"type": "json_object"}):
            with pytest.raises(openai.BadRequestError, match="llguidance"):
                client.chat.completions.create(**ask, response_format=kind)
        return
    for seed in range(3):
        warm = {**ask, "temperature": 1, "seed": seed}
        answer = client.chat.completions.create(**warm, response_format=wanted).choices[0]
        assert answer.finish_reason == "stop"
        assert json.loads(answer.message.content)["on"] in (True, False)
        closed = {**warm, "logit_bias": {str(tokenizer.convert_tokens_to_ids("}")): 100}}
        whole = client.chat.completions.create(**closed, response_format={"type": "json_object"})
        assert isinstance(json.loads(whole.choices[0].message.content), dict)
    for wrong in ({"type": "nothing"}, {"$ref": "#/nowhere"}, {"type": "string", "pattern": "("}):
        asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": wrong}}
        with pytest.raises(openai.BadRequestError, match="response_format"):
            client.chat.completions.create(**ask, response_format=asked)
