"""The app: routes, who may ask, and how answers come from the engine's thread."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from . import schema
from .answers import Answers, Called, event, finish, usage
from .engine import Ask, Engine, Gone, Piece
from .errors import ApiError
from .gate import Gate, body
from .prompts import Prompts

Item = tuple[int, Piece]
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/health")


class Service:
    """One model under its public name."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name, self.created = engine, name, int(time.time())
        self.prompts = Prompts.of(engine)
        # Each does one thing at a time; neither holds up /health, nor one the other.
        self.reading, self.generating = (ThreadPoolExecutor(1, name) for name in ("read", "make"))

    async def health(self, _: Request) -> Response:
        """GET /health."""
        return JSONResponse({"status": "ok"})

    async def models(self, _: Request) -> Response:
        """GET /v1/models."""
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        """GET /v1/models/NAME."""
        self._check(request.path_params["name"])
        return JSONResponse(self._model())

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""

        def prepare(sent: bytes) -> tuple[schema.ChatRequest, list[Ask]]:
            asked, raw = schema.read(schema.ChatRequest, sent)
            self._check(asked.model)
            return asked, self.prompts.chat(asked, raw)

        asked, asks = await self._prepared(prepare, await body(request))
        answers = Answers(self.engine.tokenizer, "chat.completion", self.name, bool(asked.logprobs))
        mark = self.prompts.mark if asked.tools and asked.tool_choice != "none" else None
        texts = [Called(mark, asked.parallel_tool_calls is False) for _ in asks]
        if asked.stream:
            return self._stream(request, asked, asks, _chat_chunks(answers, texts), answers)
        found = await self._whole(request, asks)
        choices = []
        for index, pieces in enumerate(found):
            content, called = texts[index].add("".join(piece.text for piece in pieces), last=True)
            message = {"role": "assistant", "content": content or (None if called else "")}
            message |= {"refusal": None} | ({"tool_calls": called} if called else {})
            scores = answers.scores(token for piece in pieces for token in piece.tokens)
            choice = {"index": index, "message": message, "logprobs": scores}
            choices.append({**choice, "finish_reason": finish(pieces[-1], called)})
        return JSONResponse(answers.whole(choices, _usage(asks, asked, found)))

    async def completion(self, request: Request) -> Response:
        """POST /v1/completions."""

        def prepare(sent: bytes) -> tuple[schema.CompletionRequest, list[Ask], list[str]]:
            asked, _ = schema.read(schema.CompletionRequest, sent)
            self._check(asked.model)
            return asked, *self.prompts.completion(asked)

        asked, asks, echoed = await self._prepared(prepare, await body(request))
        logprobs = asked.logprobs is not None
        answers = Answers(self.engine.tokenizer, "text_completion", self.name, logprobs)
        if asked.stream:
            chunks = _completion_chunks(answers, echoed)
            return self._stream(request, asked, asks, chunks, answers)
        found = await self._whole(request, asks)
        choices = [
            {
                "index": index,
                "text": echoed[index] + "".join(piece.text for piece in pieces),
                "logprobs": answers.scores(token for piece in pieces for token in piece.tokens),
                "finish_reason": pieces[-1].finish,
            }
            for index, pieces in enumerate(found)
        ]
        return JSONResponse(answers.whole(choices, _usage(asks, asked, found)))

    def _model(self) -> dict[str, Any]:
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "ftc"}

    def _check(self, model: str) -> None:
        if model != self.name:
            message = f"The model {model[:200]!r} does not exist, but {self.name!r} does."
            raise ApiError(404, message, "model", "model_not_found")

    async def _prepared(self, prepare: Callable[[bytes], Any], sent: bytes) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.reading, prepare, sent)

    async def _whole(self, request: Request, asks: list[Ask]) -> list[list[Piece]]:
        found: list[list[Piece]] = [[] for _ in asks]
        async for index, piece in self._generated(request, asks):
            found[index].append(piece)
        return found

    async def _generated(self, request: Request, asks: list[Ask]) -> AsyncIterator[Item]:
        """The pieces of each answer, one answer after the other. Leaving it ends the generation."""
        loop, items = asyncio.get_running_loop(), asyncio.Queue()
        gone = threading.Event()

        def hand_over(item: Item | Exception | None) -> None:
            loop.call_soon_threadsafe(items.put_nowait, item)

        def generate() -> None:
            try:
                for index, ask in enumerate(asks):
                    self.engine.generate(ask, lambda p, i=index: hand_over((i, p)), gone.is_set)
                hand_over(None)
            except Exception as error:
                hand_over(error)

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            gone.set()
            items.put_nowait(Gone())  # it may be long until its turn would have come

        watching = asyncio.create_task(watch())
        try:
            loop.run_in_executor(self.generating, generate)
            while (item := await items.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            gone.set()
            watching.cancel()

    def _stream(
        self,
        request: Request,
        asked: schema.Request,
        asks: list[Ask],
        chunks: Callable[[int, Piece], list[bytes]],
        answers: Answers,
    ) -> Response:
        with_usage = asked.stream_options is not None and asked.stream_options.include_usage

        async def events() -> AsyncIterator[bytes]:
            last = {}
            try:
                async for index, piece in self._generated(request, asks):
                    last[index] = [piece]
                    for chunk in chunks(index, piece):
                        yield chunk
            except Exception as error:
                yield event(_told(error).body())
                if not isinstance(error, Gone | ApiError):
                    raise
                return
            if with_usage:
                yield answers.chunk(usage=_usage(asks, asked, list(last.values())))
            yield b"data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")


def _chat_chunks(answers: Answers, texts: list[Called]) -> Callable[[int, Piece], list[bytes]]:
    begun = set()

    def chunk(index: int, delta: dict[str, Any], piece: Piece | None, end: str | None) -> bytes:
        scores = answers.scores(piece.tokens) if piece else None
        choice = {"index": index, "delta": delta, "logprobs": scores, "finish_reason": end}
        return answers.chunk(choice)

    def chunks(index: int, piece: Piece) -> list[bytes]:
        made = []
        if index not in begun:
            begun.add(index)
            made.append(chunk(index, {"role": "assistant", "content": ""}, None, None))
        content, called = texts[index].add(piece.text, piece.finish is not None)
        if content or piece.tokens:
            made.append(chunk(index, {"content": content}, piece, None))
        if called:
            numbered = [{"index": n, **call} for n, call in enumerate(called)]
            made.append(chunk(index, {"tool_calls": numbered}, None, None))
        if piece.finish:
            made.append(chunk(index, {}, None, finish(piece, called)))
        return made

    return chunks


def _completion_chunks(answers: Answers, echoed: list[str]) -> Callable[[int, Piece], list[bytes]]:
    begun = set()

    def chunks(index: int, piece: Piece) -> list[bytes]:
        text = piece.text if index in begun else echoed[index] + piece.text
        begun.add(index)
        scores = answers.scores(piece.tokens)
        choice = {"index": index, "text": text, "logprobs": scores, "finish_reason": piece.finish}
        return [answers.chunk(choice)]

    return chunks


def _usage(asks: list[Ask], asked: schema.Request, found: list[list[Piece]]) -> dict[str, int]:
    prompts = asks[:: asked.n or 1]
    return usage((len(ask.prompt) for ask in prompts), (pieces[-1].count for pieces in found))


def _told(error: Exception) -> ApiError:
    """An exception as a client is told of it."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException):
        served = ", ".join(PATHS)
        text = f"{error.detail}. Served are: {served}."
        return ApiError(error.status_code, text, headers=error.headers)
    if isinstance(error, Gone | ClientDisconnect):
        return ApiError(503, "The server is stopping.", headers={"retry-after": "10"})
    return ApiError(500, "The server failed at this request; its log says why.")


def build(engine: Engine, name: str, api_key: str | None, host: str = "127.0.0.1") -> Starlette:
    """The app that serves the engine's model as `name`; if there is a key, all but /health asks for it."""
    service = Service(engine, name)
    routes = [
        Route("/health", service.health),
        Route("/v1/models", service.models),
        Route("/v1/models/{name:path}", service.model),
        Route("/v1/chat/completions", service.chat, methods=["POST"]),
        Route("/v1/completions", service.completion, methods=["POST"]),
    ]

    async def told(_: Request, error: Exception) -> Response:
        return _told(error).response()

    kinds = (ApiError, HTTPException, Gone, ClientDisconnect, Exception)
    return Starlette(
        routes=routes,
        middleware=[Middleware(Gate, api_key=api_key, host=host)],
        exception_handlers=dict.fromkeys(kinds, told),
    )
