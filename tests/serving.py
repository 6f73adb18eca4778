"""A server of the CPU kind for tests, requests to it, and what a refusal looks like."""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .conftest import environ
from .odd_requests import ASK

NAME = "tiny one"
JSON = {"content-type": "application/json"}
GOOD = {"model": NAME, "messages": [ASK], "max_tokens": 4, "temperature": 0}
GOOD_PROMPT = {"model": NAME, "prompt": "the model", "max_tokens": 4, "temperature": 0}
CHATS, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


LONG = {"model": NAME, "prompt": "a", "max_tokens": 500, "n": 100, "temperature": 0}


@contextmanager
def serving(model: Path, folder: Path, *more: str, **environment: str) -> Iterator[SimpleNamespace]:
    """A server in a process of its own: its port, process and log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "ftc.runtime.serve", str(model), "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--model-name", NAME, *more],
            env=environ(**environment),
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 120
        while "startup complete" not in (said := (folder / "server.log").read_text()):
            assert process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.1)
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield SimpleNamespace(port=port, process=process, log=folder / "server.log")
    finally:
        process.kill()
        process.wait()


def send(server, path: str, body: Any, headers: dict | None = None, method: str = "POST"):
    """(status, headers, what came back) of one raw request."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, raw, JSON if headers is None else headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def changed(good: dict, change: dict) -> dict:
    return {k: v for k, v in {**good, **change}.items() if v is not ...}


def refused(answer, status: int = 400) -> dict:
    """OpenAI's error object of an answer that refuses."""
    assert answer[0] == status, answer
    error = json.loads(answer[2])["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and error["message"]
    assert len(answer[2]) < 3000
    return error
