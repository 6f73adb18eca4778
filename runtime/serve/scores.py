"""What a request changes about the scores of the next token, as processors for `model.generate`."""

from typing import Any

import torch
from transformers import LogitsProcessor

from .errors import ApiError


class Recorded(LogitsProcessor):
    """Keeps the model's own log-probabilities of the next token; comes first, and changes nothing."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.latest = scores[0].float().log_softmax(-1)
        return scores

    def of(self, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
        """The token's own, and those of the `count` likeliest tokens; nats."""
        values, ids = self.latest.topk(min(count, len(self.latest)))
        return float(self.latest[token]), list(zip(ids.tolist(), values.tolist(), strict=True))


class Penalized(LogitsProcessor):
    """OpenAI's penalties on what was generated, and its biases.

    A token's score loses `presence` once it was generated, and `frequency` for each time.
    """

    def __init__(
        self, prompt: int, frequency: float, presence: float, bias: dict[int, float]
    ) -> None:
        self.prompt, self.frequency, self.presence = prompt, frequency, presence
        self.ids, self.bias = torch.tensor(list(bias)), torch.tensor(list(bias.values()))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        ids, counts = input_ids[0, self.prompt :].unique(return_counts=True)
        scores[0, ids] -= self.presence + self.frequency * counts
        if len(self.ids):
            scores[0, self.ids.to(scores.device)] += self.bias.to(scores)
        return scores


class Constrained(LogitsProcessor):
    """Leaves only tokens that go on as a grammar wants it; `matcher` is llguidance's."""

    def __init__(self, matcher: Any, prompt: int) -> None:
        self.matcher, self.seen = matcher, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.matcher.consume_tokens(input_ids[0, self.seen :].tolist())
        self.seen = input_ids.shape[1]
        if self.matcher.is_error():
            raise ApiError(400, f"response_format: {self.matcher.get_error()[:500]}")
        mask = torch.frombuffer(bytearray(self.matcher.compute_bitmask()), dtype=torch.uint8)
        bits = mask[:, None] >> torch.arange(8, dtype=torch.uint8) & 1
        allowed = bits.flatten()[: scores.shape[1]].bool().to(scores.device)
        scores[:, : len(allowed)].masked_fill_(~allowed, -torch.inf)
        scores[:, len(allowed) :] = -torch.inf
        return scores
