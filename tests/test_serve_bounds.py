"""What the CPU server does at its bounds: a key, a signal, a short session, a full queue, a failure."""

import signal
import threading
import time

import openai
import pytest
import uvicorn
from ftc.runtime.data import time_limit
from ftc.runtime.serve import gate
from ftc.runtime.serve.__main__ import load
from ftc.runtime.serve.app import build
from starlette.testclient import TestClient

from .odd_requests import ASK
from .serving import CHATS, COMPLETIONS, GOOD, JSON, LONG, NAME, refused, send, serving
from .test_bounds import NO_END

pytestmark = pytest.mark.executed


def test_sigterm_ends_the_server_within_seconds(tiny_model, tmp_path):
    """With a key, whatever the case of Bearer; and while answers are under way."""
    key = {"TINY_KEY": "a key with 'quotes'"}
    with serving(tiny_model, tmp_path, "--api-key-env", "TINY_KEY", **key) as server:
        for scheme in ("Bearer", "bearer", "BEARER "):
            known = {**JSON, "authorization": f"{scheme} {key['TINY_KEY']}", "host": "any.example"}
            assert send(server, CHATS, GOOD, known)[0] == 200
        for wrong in (
            {},
            {"authorization": f"Basic {key['TINY_KEY']}"},
            {"authorization": "Bearer"},
        ):
            refused(send(server, CHATS, GOOD, {**JSON, **wrong}), 401)
            refused(send(server, "/nowhere", GOOD, {**JSON, **wrong}), 401)
        found = []
        ask = threading.Thread(
            target=lambda: found.append(send(server, COMPLETIONS, LONG, known)), daemon=True
        )
        ask.start()
        time.sleep(0.7)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(10)
        assert time.monotonic() - began < 5
        ask.join(5)
        error = refused(found[0], 503)
        assert error["type"] == "server_error" and "retry-after" in found[0][1]
        assert key["TINY_KEY"] not in server.log.read_text()


def test_a_session_may_be_shorter_and_never_longer(tiny_model):
    assert load(str(tiny_model), "cpu", "auto", 64).positions == 64
    with pytest.raises(ValueError, match="512 positions"):
        load(str(tiny_model), "cpu", "auto", 513)


def test_a_prompt_beyond_the_session_is_refused(tiny_model):
    name = "微调"
    app = build(load(str(tiny_model), "cpu", "auto", 64), name, None)
    web = TestClient(app, base_url="http://127.0.0.1")
    assert web.get(f"/v1/models/{name}").json()["id"] == name

    def ask(text: str):
        messages = [{"role": "user", "content": text}]
        return web.post(CHATS, json={**GOOD, "model": name, "messages": messages})

    assert ask("the model reads").status_code == 200
    answer = ask("the model reads " * 40)
    assert answer.status_code == 400 and "64" in answer.json()["error"]["message"]


def test_a_failure_is_told_in_openais_form(tiny_model, monkeypatch):
    engine = load(str(tiny_model), "cpu", "auto")
    monkeypatch.setattr(engine.model, "generate", lambda *_, **__: 1 / 0)
    web = TestClient(
        build(engine, NAME, None), base_url="http://127.0.0.1", raise_server_exceptions=False
    )
    answer = web.post(CHATS, json=GOOD)
    assert answer.status_code == 500 and answer.json()["error"]["type"] == "server_error"


def test_the_queue_has_a_bound_and_the_client_comes_again(tiny_model, monkeypatch):
    config = uvicorn.Config(build(load(str(tiny_model), "cpu", "auto"), NAME, None), port=0)
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    monkeypatch.setattr(gate, "WAITING", 0)
    with pytest.raises(openai.InternalServerError) as found:
        openai.OpenAI(base_url=url, api_key="x", max_retries=0).chat.completions.create(**GOOD)
    assert found.value.status_code == 503 and found.value.code == "overloaded"
    threading.Timer(0.5, lambda: setattr(gate, "WAITING", 1)).start()
    patient = openai.OpenAI(base_url=url, api_key="x", max_retries=2)
    assert patient.chat.completions.create(**GOOD).choices
    assert patient.chat.completions.create(**GOOD).choices, "its place is free again"
    server.should_exit = True


@pytest.mark.parametrize(
    "slow", [NO_END, "{{ 'a' * 20000 }}", "{{ ['a' * 9000, 'a' * 9000]|join }}"]
)
def test_a_template_without_end_stops_no_server(slow, tiny_model, monkeypatch):
    monkeypatch.setattr(time_limit, "SECONDS", 0.5)
    monkeypatch.setattr(time_limit, "LARGEST", 10_000)
    engine = load(str(tiny_model), "cpu", "auto")
    web = TestClient(build(engine, NAME, None), base_url="http://127.0.0.1")
    usual = engine.tokenizer.chat_template
    engine.tokenizer.chat_template = f"{{% if messages|length > 1 %}}{slow}{{% endif %}}{usual}"
    answer = web.post(CHATS, json={**GOOD, "messages": [ASK, ASK]})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "template-refused"
    assert "takes more than" in answer.json()["error"]["message"]
    assert web.post(CHATS, json=GOOD).status_code == 200
