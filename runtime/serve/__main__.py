"""The command line of the server: see the package."""

import argparse
import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import uvicorn
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..errors import run
from .app import build
from .engine import Engine

PATIENCE = 5  # seconds that answers under way have to say that the server stops
UNBOUNDED = (
    32_768  # tokens of a conversation with a model that has no number of positions, as a Mamba
)


class Server(uvicorn.Server):
    """uvicorn's, which ends the generation under way as soon as it is asked to stop."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self.engine = engine

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or Ctrl-C."""
        self.engine.stopping.set()
        super().handle_exit(sig, frame)


def load(folder: str, device: str, dtype: str, session_len: int | None = None) -> Engine:
    """The engine for a folder's model. Raises ValueError for a session longer than its positions."""
    kind = dtype if dtype == "auto" else getattr(torch, dtype)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=kind).to(device).eval()
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if session_len and positions and session_len > positions:
        raise ValueError(f"--session-len: the model has {positions:,} positions")
    limit = session_len or positions or UNBOUNDED
    return Engine(model, AutoTokenizer.from_pretrained(folder), limit)


def main(argv: list[str] | None = None) -> None:
    """The command line. Exits with 2 if the model or the key is missing."""
    parser = argparse.ArgumentParser(prog="ftc.runtime.serve", allow_abbrev=False)
    parser.add_argument("model_dir", help="folder of a model, its tokenizer and chat template")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=23333, type=int)
    parser.add_argument("--model-name", required=True, help="what a client sends as `model`")
    parser.add_argument("--api-key-env", help="variable that holds the key; left out: no key")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto", help="auto: as in the folder")
    parser.add_argument(
        "--session-len", type=int, help="tokens of a conversation; left out: all positions"
    )
    args = parser.parse_args(argv)

    api_key = os.environ.get(args.api_key_env, "").strip() if args.api_key_env else None
    if not Path(args.model_dir, "config.json").is_file():
        parser.exit(2, f"serve: error[no-model]: no model in {args.model_dir}: bash convert.sh\n")
    if api_key == "":
        parser.exit(2, f"serve: error[no-api-key]: ${args.api_key_env} is unset or empty\n")
    try:
        engine = load(args.model_dir, args.device, args.dtype, args.session_len)
    except ValueError as error:
        parser.error(str(error))
    app = build(engine, args.model_name, api_key, args.host)
    config = uvicorn.Config(app, host=args.host, port=args.port, timeout_graceful_shutdown=PATIENCE)
    try:
        Server(config, engine).run()
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)  # nobody waits for a thread that computes


if __name__ == "__main__":
    run(main)
