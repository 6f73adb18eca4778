"""The table [deploy] of the spec language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..catalog.engines import ENGINES
from .keys import HOST, VARIABLE, Line, Table, cosmetic

if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = Literal["auto", *ENGINES]


class Deploy(Table, affects="cosmetic"):
    """[deploy]: the OpenAI-compatible server that deploy.sh starts."""

    engine: EngineName = cosmetic("auto", help="auto: lmdeploy on cuda, transformers on a CPU.")
    host: str = cosmetic("127.0.0.1", help="Address to listen on.", pattern=HOST)
    port: int = cosmetic(23333, help="Port to listen on.", ge=1, le=65535)
    session_len: int | None = cosmetic(
        None,
        help="Longest conversation that is served, prompt and answer. Unset: what the model can.",
        unit="tokens",
        ge=1,
    )
    model_name: Line | None = cosmetic(
        None, help="What clients send as `model`. Unset: the run's name."
    )
    api_key_env: str | None = cosmetic(
        None,
        help="Name of the environment variable that holds the API key. Unset: no key.",
        pattern=VARIABLE,
    )
