"""What a request may hold: the fields of OpenAI's API, each with the values that this server heeds.

A field that it can't heed is here with the one value that asks for nothing (None, mostly), so that the
refusal can say so; a field that OpenAI's API does not have is refused as unknown.
"""

from typing import Annotated, Any, Literal, TypeVar

import pydantic_core
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from .errors import ApiError

CHOICES = 128  # of a request, as in OpenAI's API
CODES = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "none_required": "unsupported_parameter",
}


class Fields(BaseModel):
    """A table of a request: no other keys, no text where a number belongs."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _parts(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


Stop = Annotated[str, Field(min_length=1, max_length=1000)]
Stops = Annotated[list[Stop], Field(max_length=4), BeforeValidator(_listed)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Bias = Annotated[float, Field(ge=-100, le=100)]
Token = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,8})$")]
Count = Annotated[int, Field(ge=1, le=2**31)]
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
Metadata = Annotated[dict[str, str], Field(max_length=16)]


class StreamOptions(Fields):
    """`stream_options`."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class Request(Fields):
    """What both ways to generate have in common."""

    model: Annotated[str, Field(min_length=1)]
    frequency_penalty: Penalty | None = None
    logit_bias: dict[Token, Bias] | None = None
    max_tokens: int | None = None
    n: Annotated[int, Field(ge=1, le=CHOICES)] | None = None
    presence_penalty: Penalty | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stops | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    user: str | None = None  # who asks changes no answer

    @model_validator(mode="after")
    def _stream_options(self) -> "Request":
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError("value", "stream_options is for requests with stream = true")
        return self


class Part(Fields):
    """A part of a message's text."""

    type: Literal["text"]
    text: str


class Called(Fields):
    """The function of a call; `arguments` is JSON in a text."""

    name: str
    arguments: str


class Call(Fields):
    """A call that the assistant made."""

    id: str
    type: Literal["function"]
    function: Called
    index: int | None = None  # joined from a stream


class Message(Fields):
    """A message of the conversation so far. Clients send an answer back as they got it, with its nulls."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[list[Part], Field(min_length=1), BeforeValidator(_parts)] | None = None
    name: str | None = None
    tool_calls: Annotated[list[Call], Field(min_length=1)] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None

    @model_validator(mode="after")
    def _fits_its_role(self) -> "Message":
        if self.role != "assistant" and (self.tool_calls or self.reasoning_content is not None):
            raise PydanticCustomError("value", "only the assistant has tool_calls and reasoning")
        if self.content is None and not self.tool_calls:
            raise PydanticCustomError("missing", "a message needs `content`")
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise PydanticCustomError("value", "a message of the role tool has its tool_call_id")
        return self


class Function(Fields):
    """A function that the model may call; `parameters` is a JSON Schema."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: Literal[False] | None = None


class Tool(Fields):
    """A tool: functions are the only kind."""

    type: Literal["function"]
    function: Function


class JsonSchema(Fields):
    """The schema that an answer is to follow; it is followed, whatever `strict` says."""

    name: Name
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(Fields):
    """`response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _together(self) -> "ResponseFormat":
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise PydanticCustomError("value", "json_schema goes with type = 'json_schema'")
        return self


class ChatRequest(Request):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(min_length=1, max_length=128)] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: bool | None = None
    # These change no answer.
    metadata: Metadata | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    modalities: list[Literal["text"]] | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    # These would, and this server can't do them.
    audio: None = None
    function_call: None = None
    functions: None = None
    moderation: None = None
    prediction: None = None
    prompt_cache_options: None = None
    prompt_cache_retention: None = None
    reasoning_effort: None = None
    verbosity: None = None
    web_search_options: None = None

    @model_validator(mode="after")
    def _together(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise PydanticCustomError("value", "top_logprobs needs logprobs = true")
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise PydanticCustomError("value", "max_tokens and max_completion_tokens are the same")
        if not self.tools and (self.tool_choice or self.parallel_tool_calls is not None):
            raise PydanticCustomError("value", "tool_choice and parallel_tool_calls need tools")
        return self


class CompletionRequest(Request):
    """The body of POST /v1/completions; `prompt`: texts, or lists of token ids."""

    prompt: Any
    best_of: Literal[1] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    max_tokens: Annotated[int, Field(ge=0, le=2**31)] | None = None
    suffix: None = None

    @model_validator(mode="after")
    def _together(self) -> "CompletionRequest":
        if self.echo and self.logprobs is not None:
            raise PydanticCustomError(
                "value", "echo gives no logprobs of the prompt on this server"
            )
        if self.max_tokens == 0 and not self.echo:
            raise PydanticCustomError("value", "max_tokens = 0 is for echo = true")
        return self

    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, one an answer. Raises ApiError for what is no prompt."""
        asked = self.prompt
        if isinstance(asked, str):
            return [asked]
        if isinstance(asked, list) and asked:
            if all(map(_is_token, asked)):
                return [asked]
            ids = all(isinstance(one, list) and one and all(map(_is_token, one)) for one in asked)
            if ids or all(isinstance(one, str) for one in asked):
                return asked
        message = "prompt: must be a text, a list of texts, of token ids or of lists of token ids"
        raise ApiError(400, message, "prompt", "invalid_type")


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


R = TypeVar("R", bound=Request)


def read(kind: type[R], body: bytes) -> tuple[R, dict[str, Any]]:
    """The request, checked, and as it came: a tool's keys keep their order. Raises ApiError."""
    try:
        raw = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, f"The body is not JSON: {error}", code="invalid_json") from None
    try:
        return kind.model_validate(raw), raw
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    param = _path(found[0]["loc"])
    code = CODES.get(found[0]["type"])
    code = code or ("invalid_type" if found[0]["type"].endswith("_type") else "invalid_value")
    message = found[0]["msg"]
    if code == "unknown_parameter":
        message = "this server does not know it"
    elif code == "unsupported_parameter":
        message = "this server can't do that"
    raise ApiError(400, f"{param}: {message}" if param else message, param or None, code)


def _path(location: tuple[int | str, ...]) -> str:
    """messages[0].content, as OpenAI writes it; a text that a client sent is cut."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step[:80]}" for step in location)
    return "".join(step for step in steps if step != ".[key]").removeprefix(".")
