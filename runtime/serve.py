"""Serve a folder that holds a Hugging Face model, with transformers' own OpenAI-compatible app.

    python -m ftc.runtime.serve export/merged --port 23333 --model-name quickstart

To `transformers serve FOLDER` (5.23), which knows the model only by its path, this adds one public
model name, a bearer token and OpenAI's form of errors; /load_model and its like are left out.
"""

import argparse
import os
import secrets
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from jinja2 import TemplateError
from starlette.exceptions import HTTPException
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.server import build_server
from transformers.cli.serving.utils import BaseHandler, GenerationState

SERVED = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/health")


class OneModel(ModelManager):
    """Holds one folder's model under its public name, which is also the name in responses."""

    def __init__(self, folder: str, name: str, device: str, dtype: str) -> None:
        self.folder, self.name = folder, name
        super().__init__(device=device, dtype=dtype, force_model=name)

    def process_model_name(self, model_id: str) -> str:
        return self.name  # transformers would append a revision: "@main"

    def get_gen_models(self, cache_dir: str | None = None) -> list[dict]:
        created = int(Path(self.folder, "config.json").stat().st_mtime)
        return [{"id": self.name, "object": "model", "created": created, "owned_by": "ftc"}]

    def _load_processor(self, *args, **kwargs):
        return AutoTokenizer.from_pretrained(self.folder)

    def _load_model(self, *args, **kwargs):
        load = AutoModelForCausalLM.from_pretrained
        return load(self.folder, dtype=self.dtype, device_map=self.device)


class OneModelHandler(BaseHandler):
    """Stands before a handler of transformers: refuses other models, lets a temperature count."""

    def _resolve_model(self, body: dict):
        asked, name = body.get("model"), self.model_manager.force_model
        if asked not in (None, name):
            raise HTTPException(404, f"The model {asked!r} does not exist, but {name!r} does.")
        return super()._resolve_model(body)

    def _build_generation_config(self, body: dict, *args, **kwargs):
        config = super()._build_generation_config(body, *args, **kwargs)
        # Else a model whose generation_config.json says do_sample = false ignores it.
        if body.get("temperature") is not None:
            config.do_sample = float(body["temperature"]) > 0
        return config


def error(status: int, message: str) -> JSONResponse:
    """An error as OpenAI's clients expect it; they show the text of `error.message`."""
    fields = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": fields}, status)


def build_app(models: OneModel, api_key: str | None) -> FastAPI:
    """transformers' app, reduced to SERVED; if there is a key, all but /health asks for it."""
    state = GenerationState()
    chat = type("Chat", (OneModelHandler, ChatCompletionHandler), {})(models, state)
    completion = type("Completion", (OneModelHandler, CompletionHandler), {})(models, state)
    app = build_server(models, chat, completion, None, None, None, state)  # None: not SERVED

    @app.middleware("http")
    async def gate(request: Request, call_next):
        path, given = request.url.path, request.headers.get("authorization", "").encode("latin-1")
        known = not api_key or secrets.compare_digest(given, f"Bearer {api_key}".encode())
        if not known and path != "/health":
            return error(401, "No API key was given, or a wrong one.")
        if path not in SERVED:
            return error(404, f"{path} is not served; these are: {', '.join(SERVED)}")
        return await call_next(request)

    app.add_exception_handler(HTTPException, lambda _, e: error(e.status_code, e.detail))
    app.add_exception_handler(TemplateError, lambda _, e: error(400, f"The chat template: {e}"))
    return app


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
    args = parser.parse_args(argv)

    api_key = os.environ.get(args.api_key_env, "") if args.api_key_env else None
    if not Path(args.model_dir, "config.json").is_file():
        parser.exit(2, f"serve: error[no-model]: no model in {args.model_dir}: bash convert.sh\n")
    if api_key == "":
        parser.exit(2, f"serve: error[no-api-key]: ${args.api_key_env} is unset or empty\n")
    models = OneModel(args.model_dir, args.model_name, args.device, args.dtype)
    uvicorn.run(build_app(models, api_key), host=args.host, port=args.port)


if __name__ == "__main__":
    main()
