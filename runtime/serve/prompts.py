"""From a request to what is to be generated, checked against what the model can do."""

from dataclasses import dataclass, replace
from typing import Any

from ..data import require_embeddings
from ..errors import RunError
from . import calls, render
from .engine import Ask, Engine
from .errors import ApiError
from .schema import CHOICES, ChatRequest, CompletionRequest, Request

SHORT = 16  # tokens of a completion, where a request says nothing (OpenAI's API)


@dataclass(frozen=True)
class Prompts:
    """Makes generations of requests. `mark`: see calls.opening."""

    engine: Engine
    mark: str | None

    @classmethod
    def of(cls, engine: Engine) -> "Prompts":
        """For the engine's tokenizer; one without a chat template takes plain prompts alone."""
        known = engine.tokenizer.chat_template is not None
        return cls(engine, calls.opening(engine.tokenizer) if known else None)

    def chat(self, request: ChatRequest, raw: dict[str, Any]) -> list[Ask]:
        """The answers that a conversation asks for. Raises ApiError for what can't be done."""
        if self.engine.tokenizer.chat_template is None:
            raise ApiError(400, "The model has no chat template; it takes /v1/completions.")
        called = bool(request.tools) and request.tool_choice != "none"
        if called and self.mark is None:
            message = "tools: the model's chat template has no place for tools"
            raise ApiError(400, message, "tools", "unsupported_parameter")
        text = render.prompt(self.engine.tokenizer, render.conversation(raw, called))
        ids = self._encode(text, special=False)
        asked = request.max_completion_tokens or request.max_tokens
        top = (request.top_logprobs or 0) if request.logprobs else None
        shown = self._encode(self.mark or "", special=False) if called else []
        return self._asks(
            request,
            self._fitting(ids, asked, "messages"),
            top_logprobs=top,
            grammar=self._grammar(request, called),
            shown=frozenset(shown),
        )

    def completion(self, request: CompletionRequest) -> tuple[list[Ask], list[str]]:
        """The answers to the prompts, and what each begins with (`echo`)."""
        prompts = request.prompts()
        if len(prompts) * (request.n or 1) > CHOICES:
            raise ApiError(400, f"prompt: {CHOICES} answers a request at most", "prompt")
        asked = SHORT if request.max_tokens is None else request.max_tokens
        asks, echoed = [], []
        for prompt in prompts:
            ids = self._encode(prompt, special=True) if isinstance(prompt, str) else prompt
            fitting = self._fitting(ids, asked, "prompt")
            asks += self._asks(request, fitting, top_logprobs=request.logprobs)
            text = prompt if isinstance(prompt, str) else self.engine.tokenizer.decode(prompt)
            echoed += [text if request.echo else ""] * (request.n or 1)
        return asks, echoed

    def _encode(self, text: str, special: bool) -> list[int]:
        return self.engine.tokenizer(text, add_special_tokens=special)["input_ids"]

    def _fitting(self, ids: list[int], asked: int | None, param: str) -> tuple[list[int], int]:
        """The prompt, and how many tokens its answer may have: all that are left, if nothing is asked."""
        if not ids and (bos := self.engine.tokenizer.bos_token_id) is not None:
            ids = [bos]
        if not ids:
            raise ApiError(400, f"{param}: a prompt without a token", param, "invalid_value")
        try:
            require_embeddings(self.engine.model, self.engine.tokenizer, ids, param)
        except RunError as error:
            raise ApiError(400, f"{param}: {error.args[1]}", param, "invalid_value") from None
        limit, least = self.engine.positions, 1 if asked is None else asked
        if len(ids) + least > limit:
            completion = f" and {asked} in the completion" if asked is not None else ""
            raise ApiError(
                400,
                f"This model's maximum context length is {limit} tokens. However, you requested "
                f"{len(ids)} tokens in the {param}{completion}. Please reduce the length of either.",
                param,
                "context_length_exceeded",
            )
        return ids, limit - len(ids) if asked is None else asked

    def _asks(self, request: Request, fitting: tuple[list[int], int], **more: Any) -> list[Ask]:
        bias = {int(token): value for token, value in (request.logit_bias or {}).items()}
        if unknown := [token for token in bias if token >= self.engine.vocabulary]:
            text = f"logit_bias: the model has no token {unknown[0]}"
            raise ApiError(400, text, "logit_bias", "invalid_value")
        ask = Ask(
            *fitting,
            temperature=request.temperature,
            top_p=request.top_p,
            frequency_penalty=request.frequency_penalty or 0.0,
            presence_penalty=request.presence_penalty or 0.0,
            logit_bias=bias,
            stop=request.stop or [],
            **more,
        )
        if request.seed is None:
            return [ask] * (request.n or 1)
        seeds = ((request.seed + n) % 2**63 for n in range(request.n or 1))
        return [replace(ask, seed=seed) for seed in seeds]

    def _grammar(self, request: ChatRequest, called: bool) -> str | None:
        asked = request.response_format
        if asked is None or asked.type == "text":
            return None
        if called:
            raise ApiError(
                400, "response_format: JSON and tools don't go together", "response_format"
            )
        schema = asked.json_schema.schema_ if asked.json_schema else {"type": "object"}
        return self.engine.grammars.of(schema, "response_format")
