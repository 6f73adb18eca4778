"""OpenAI's answers: what was generated, whole or in chunks."""

import json
import secrets
import time
from collections.abc import Iterable
from typing import Any

from . import calls
from .engine import Piece, Token
from .text import begun

LEAST = -9999.0  # a log-probability of minus infinity, which JSON has no number for


class Answers:
    """Writes the answers to one request. `kind`: chat.completion or text_completion."""

    def __init__(self, tokenizer: Any, kind: str, model: str, logprobs: bool) -> None:
        self.tokenizer, self.kind, self.logprobs = tokenizer, kind, logprobs
        prefix = "chatcmpl-" if kind == "chat.completion" else "cmpl-"
        self.head = {
            "id": prefix + secrets.token_hex(12),
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, choices: list[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
        """The answer to a request without stream."""
        return {**self.head, "object": self.kind, "choices": choices, "usage": usage}

    def chunk(self, *choices: dict[str, Any], **more: Any) -> bytes:
        """A chunk of a stream, as a server-sent event."""
        kind = f"{self.kind}.chunk" if self.kind == "chat.completion" else self.kind
        return event({**self.head, "object": kind, "choices": list(choices), **more})

    def scores(self, tokens: Iterable[Token]) -> dict[str, Any] | None:
        """`logprobs` of a choice."""
        if not self.logprobs:
            return None
        if self.kind == "chat.completion":
            content = [
                {
                    **self._scored(token.id, token.logprob),
                    "top_logprobs": [self._scored(*each) for each in token.top],
                }
                for token in tokens
            ]
            return {"content": content, "refusal": None}
        tokens = list(tokens)
        return {
            "tokens": [self._text(token.id) for token in tokens],
            "token_logprobs": [max(token.logprob, LEAST) for token in tokens],
            "top_logprobs": [
                {self._text(one): max(value, LEAST) for one, value in token.top} for token in tokens
            ],
            "text_offset": [token.start for token in tokens],
        }

    def _scored(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._text(token)
        whole = "\N{REPLACEMENT CHARACTER}" not in text  # else it is a part of a character
        return {
            "token": text,
            "logprob": max(logprob, LEAST),
            "bytes": list(text.encode()) if whole else None,
        }

    def _text(self, token: int) -> str:
        return self.tokenizer.decode([token])


class Called:
    """An answer in which tools may be called: holds back what may be a call. `mark`: see calls.opening."""

    def __init__(self, mark: str | None, one: bool) -> None:
        self.mark, self.one = mark, one
        self.text, self.sent = "", 0

    def add(self, text: str, last: bool) -> tuple[str, calls.Calls]:
        """What may be shown by now, and at the end the calls."""
        self.text += text
        if self.mark is None:
            return text, []
        content, found = calls.read(self.text, self.mark) if last else (self._sure(), [])
        more, self.sent = content[self.sent :], max(self.sent, len(content))
        return more, found[:1] if self.one else found

    def _sure(self) -> str:
        if not self.mark:
            return "" if self.text.lstrip()[:1] in ("{", "[", "") else self.text
        place = self.text.find(self.mark)
        end = place if place >= 0 else len(self.text) - begun(self.text, [self.mark])
        return self.text[:end].rstrip()


def event(data: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def usage(prompts: Iterable[int], counts: Iterable[int]) -> dict[str, int]:
    """`usage`: the prompts' tokens, each counted once, and those generated."""
    before, generated = sum(prompts), sum(counts)
    return {
        "prompt_tokens": before,
        "completion_tokens": generated,
        "total_tokens": before + generated,
    }


def finish(piece: Piece, found: calls.Calls) -> str | None:
    """Why an answer ended."""
    return "tool_calls" if found and piece.finish else piece.finish
