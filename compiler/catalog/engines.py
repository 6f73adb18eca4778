"""The servers that deploy.sh can start: a row each, and its template, deploy_NAME.sh."""

from __future__ import annotations

from typing import NamedTuple

from .architectures import ModelType


class Backend(NamedTuple):
    """One of several engines inside a server. Without `any_type` it serves the model types that name it."""

    name: str
    flags: tuple[str, ...]
    any_type: bool = False


class Engine(NamedTuple):
    """`pins`: the file in runtime/ of what it was tested with, of which it needs `packages`; all, if none is named.

    `tp`, `session_len`: whether it is told how many devices share the model, and the longest conversation.
    """

    devices: tuple[str, ...]
    pins: str
    note: str  # what requirements-deploy.txt begins with
    packages: tuple[str, ...] = ()
    backends: tuple[Backend, ...] = ()  # the fastest first
    float32: bool = True
    tp: bool = False
    session_len: bool = False

    def backend(self, of: ModelType) -> Backend | None:
        """The fastest that serves the type; None where the server has no choice."""
        return next((b for b in self.backends if b.any_type or b.name in of.backends), None)


# Of those for a device the first is what "auto" takes.
ENGINES = {
    "lmdeploy": Engine(
        devices=("cuda",),
        pins="requirements-lmdeploy.txt",
        note="For the server alone: lmdeploy can't share an environment with training.",
        backends=(
            Backend("turbomind", ("--model-format hf",)),
            Backend("pytorch", (), any_type=True),
        ),
        float32=False,
        tp=True,
        session_len=True,
    ),
    "transformers": Engine(
        devices=("cuda", "cpu"),
        pins="requirements.txt",
        note="The server runs in the environment of training, with these beside ftc itself.",
        packages=(
            *("torch", "transformers", "tokenizers", "safetensors"),
            *("llguidance", "pydantic", "starlette", "uvicorn"),
        ),
    ),
}


def engine_for(device: str) -> str:
    """What serves on a device unless the spec says otherwise."""
    return next(name for name, engine in ENGINES.items() if device in engine.devices)
