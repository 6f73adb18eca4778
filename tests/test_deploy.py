"""deploy.sh: the CPU server asked by the real openai client, the GPU command read by lmdeploy's real parser."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import ROOT, environ
from .specs import BASE, GPU, furnish, merged, render

KEY = "a key with 'quotes'"


@contextmanager
def served(run, **environment):
    """The base URL of the server that deploy.sh starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["bash", str(run.folder / "deploy.sh"), "--port", str(port)]
    log = (run.folder / "server.log").open("w")
    server = subprocess.Popen(command, env=environ(**environment), stdout=log, stderr=log)
    try:
        for _ in range(600):
            assert server.poll() is None, (run.folder / "server.log").read_text()
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.executed
@pytest.mark.slow
def test_the_server_answers_as_the_chat_does(compiled):
    import openai

    run = compiled(
        **{"deploy.api_key_env": '"TINY_KEY"', "deploy.model_name": '"tiny one"'},
        **{"train.max_steps": "30", "chat.max_new_tokens": "12", "optim.learning_rate": "3e-2"},
    )
    early = run.bash("deploy.sh", check=False)
    assert early.returncode == 2 and "bash convert.sh" in early.stderr
    run.launch()
    run.bash("convert.sh")
    for no_key in ({}, {"TINY_KEY": " "}):  # a blank one would let everybody in
        refused = run.bash("deploy.sh", check=False, **no_key)
        assert refused.returncode == 2 and "TINY_KEY" in refused.stderr
    chat = [sys.executable, str(run.folder / "chat.py"), "--prompt", "the model reads"]
    answer = subprocess.run(chat, env=environ(), capture_output=True, text=True).stdout.strip()
    assert answer
    with served(run, TINY_KEY=KEY) as url:
        client = openai.OpenAI(base_url=url, api_key=KEY)
        assert [model.id for model in client.models.list()] == ["tiny one"]
        question = [{"role": "user", "content": "the model reads"}]
        ask = {"model": "tiny one", "messages": question, "max_tokens": 12, "temperature": 0}
        whole = client.chat.completions.create(**ask)
        assert whole.choices[0].message.content.strip() == answer
        pieces = client.chat.completions.create(**ask, stream=True)
        text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
        assert text.strip() == answer
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=url, api_key="wrong").models.list()
        with pytest.raises(openai.NotFoundError, match="tiny one"):
            client.chat.completions.create(**{**ask, "model": "other"})
    files = [p for p in run.folder.rglob("*") if p.is_file()]
    assert not [p for p in files if KEY.encode() in p.read_bytes()]


@pytest.fixture(scope="session")
def lmdeploy_python() -> Path:
    """A venv of its own with what lmdeploy's parser needs; made once, in the checkout."""
    venv, wanted = ROOT / ".venv-lmdeploy", ROOT / "tests/deploy/requirements.txt"
    stamp = venv / "requirements.txt"
    if not stamp.is_file() or stamp.read_bytes() != wanted.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        install = [str(venv / "bin/pip"), "install", "--quiet", "--no-deps", "-r", str(wanted)]
        subprocess.run(install, check=True)
        stamp.write_bytes(wanted.read_bytes())
    return venv / "bin" / "python"


def emitted_command(case: str, folder: Path, *more: str) -> list[str]:
    """What deploy.sh of a golden case runs in lmdeploy's venv, recorded by a stub of its python."""
    source = ROOT / "tests/golden" / case / "run"
    for name in ("deploy.sh", "requirements-deploy.txt"):
        (folder / name).write_bytes((source / name).read_bytes())
    (folder / "export/merged").mkdir(parents=True)
    binaries = folder / ".deploy-venv/bin"
    binaries.mkdir(parents=True)
    (folder / ".deploy-venv/requirements-deploy.txt").write_bytes(
        (source / "requirements-deploy.txt").read_bytes()
    )
    for name in ("python", "lmdeploy"):
        stub = binaries / name
        stub.write_text(f'#!/usr/bin/env bash\nprintf "%s\\0" "$@" > "{folder}/argv"\n')
        stub.chmod(0o755)
    env = {**os.environ, "LLAMA_API_KEY": KEY}
    subprocess.run(["bash", str(folder / "deploy.sh"), *more], env=env, check=True)
    arguments = (folder / "argv").read_text().split("\0")[:-1]
    if arguments[0] == "-c":  # with a key: python -c CODE serve ...; the code adds the key
        code = arguments[1].replace("from lmdeploy.cli import run", "run = lambda: print(sys.argv)")
        shown = subprocess.run(
            [sys.executable, "-c", code, *arguments[2:]],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        return eval(shown.stdout)[1:]
    return arguments


@pytest.mark.lmdeploy
@pytest.mark.parametrize("case", ["gpu1-qlora", "nodes2-lora", "gpu8-zero3-offload"])
def test_lmdeploy_reads_the_emitted_command(case, tmp_path, lmdeploy_python):
    script = str(ROOT / "tests/deploy/parse_lmdeploy.py")
    arguments = emitted_command(case, tmp_path)
    done = subprocess.run(
        [str(lmdeploy_python), script, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert read["model_path"] == "export/merged" and read["server_name"] == "127.0.0.1"
    assert read["chat_template"] == "hf" and read["dtype"] == "bfloat16"
    expected = {
        "gpu1-qlora": ("turbomind", 23333, "gpu1-qlora", 1, [KEY]),
        "nodes2-lora": ("pytorch", 8000, "mistral tuned", 8, None),
        "gpu8-zero3-offload": ("turbomind", 23333, "gpu8-zero3-offload", 4, None),  # of 28 heads
    }[case]
    keys = ("backend", "server_port", "model_name", "tp", "api_keys")
    assert tuple(read[key] for key in keys) == expected


@pytest.mark.lmdeploy
def test_lmdeploys_parser_refuses_what_is_wrong(tmp_path, lmdeploy_python):
    script = str(ROOT / "tests/deploy/parse_lmdeploy.py")
    arguments = emitted_command("nodes2-lora", tmp_path, "--sesion-len", "8")
    done = subprocess.run(
        [str(lmdeploy_python), script, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2 and "--sesion-len" in done.stderr


def test_a_server_without_its_key_does_not_start(tmp_path):
    for name in ("deploy.sh", "requirements-deploy.txt"):
        content = (ROOT / "tests/golden/gpu1-qlora/run" / name).read_bytes()
        (tmp_path / name).write_bytes(content)
    (tmp_path / "export/merged").mkdir(parents=True)
    env = {key: value for key, value in os.environ.items() if key != "LLAMA_API_KEY"}
    for key in ({}, {"LLAMA_API_KEY": ""}):
        done = subprocess.run(
            ["bash", str(tmp_path / "deploy.sh")],
            env={**env, **key},
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0 and "LLAMA_API_KEY: holds the API key" in done.stderr


def test_what_is_not_made_is_not_offered(tmp_path):
    """Without a merged model there is nothing to serve; chat.py knows what convert.sh makes."""
    furnish(tmp_path)
    kinds = {
        "both": ({}, "--adapter, --merged choose the model"),
        "adapter": ({"export": {"merge": False}}, "export/adapter"),
        "merged": ({"method": {"kind": "full"}}, "export/merged"),
    }
    for kind, (change, said) in kinds.items():
        base = {k: v for k, v in BASE.items() if k != "method"} if kind == "merged" else BASE
        files = render(merged(base, change), tmp_path)
        assert ("deploy.sh" in files) == (kind != "adapter")
        assert ("requirements-deploy.txt" in files) == (kind != "adapter")
        assert (b"bash deploy.sh" in files["README.md"].content) == (kind != "adapter")
        chat = files["chat.py"].content.decode()
        assert said in chat
        assert ("--adapter" in chat) == ("--merged" in chat) == (kind == "both")


@pytest.mark.parametrize(
    ("base", "devices", "tp"),
    [
        ("qwen2.5-7b-instruct", 1, 1),  # 28 heads, 4 of keys and values
        ("qwen2.5-7b-instruct", 5, 4),
        ("qwen2.5-7b-instruct", 6, 4),
        ("qwen2.5-7b-instruct", 7, 4),
        ("qwen2.5-7b-instruct", 8, 4),
        ("acme/unknown", 3, 2),
        ("acme/unknown", 5, 4),
        ("acme/unknown", 7, 4),
        ("acme/unknown", 8, 8),
    ],
)
def test_devices_that_share_a_server(base: str, devices: int, tp: int, tmp_path: Path) -> None:
    furnish(tmp_path)
    spec = merged(
        BASE,
        GPU,
        {"model": {"base": base, "chat_template": "chatml"}},
        {"hardware": {"devices_per_node": devices}, "train": {"global_batch_size": 8 * devices}},
    )
    script = render(spec, tmp_path)["deploy.sh"].content.decode()
    found = re.search(r"^    --tp (\d+)", script, re.MULTILINE)
    assert found and int(found[1]) == tp
