"""The model: one generation at a time, which ends at once when nobody wants it any more."""

import copy
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList
from transformers.generation.streamers import BaseStreamer

from ..model.generate import stops
from .grammar import Grammars
from .scores import Constrained, Penalized, Recorded
from .text import Text

GREEDY_BELOW = (
    1e-3  # a temperature lower than this gives the likeliest token, without numbers that overflow
)


@dataclass(frozen=True)
class Ask:
    """One answer to generate. None: as the model's generation_config.json has it."""

    prompt: list[int]
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: dict[int, float] = field(default_factory=dict)
    stop: list[str] = field(default_factory=list)
    seed: int | None = None  # None: another answer each time
    top_logprobs: int | None = None  # None: no log-probabilities at all
    grammar: str | None = None  # of llguidance
    shown: frozenset[int] = frozenset()  # special tokens that are text all the same


@dataclass(frozen=True)
class Token:
    """A generated token, its log-probability, the likeliest ones with theirs, and where its text starts."""

    id: int
    logprob: float
    top: list[tuple[int, float]]
    start: int


@dataclass(frozen=True)
class Piece:
    """Some more of an answer. The last piece has a `finish` ("stop" or "length") and all tokens' number."""

    text: str
    tokens: list[Token]
    finish: str | None = None
    count: int = 0


class Ended(BaseException):
    """Leaves `model.generate` from inside: the answer is complete, or nobody waits for it."""


class Gone(Exception):
    """The client has gone, or the server is to stop."""


class Engine:
    """A model, its tokenizer, and `positions`: how many tokens a prompt and its answer may have together."""

    def __init__(self, model: Any, tokenizer: Any, positions: int) -> None:
        self.model, self.tokenizer, self.positions = model, tokenizer, positions
        self.stops = stops(tokenizer, model.generation_config)
        added = tokenizer.added_tokens_decoder.items()
        special = {number for number, token in added if token.special}
        self.special = frozenset({*special, *tokenizer.all_special_ids, *self.stops})
        self.vocabulary: int = model.get_input_embeddings().weight.shape[0]
        self.grammars = Grammars(tokenizer, self.vocabulary, self.stops)
        self.stopping = threading.Event()
        self.gone: Callable[[], bool] = lambda: False
        # In front of each layer, so that a long prompt ends as soon as a long answer.
        for layers in (m for m in model.modules() if isinstance(m, torch.nn.ModuleList)):
            for layer in layers:
                layer.register_forward_pre_hook(self._still_wanted)

    def generate(self, ask: Ask, emit: Callable[[Piece], None], gone: Callable[[], bool]) -> None:
        """Generates one answer, handing over each piece. Raises Gone as soon as `gone()` says so."""
        self.gone = lambda: self.stopping.is_set() or gone()
        recorded = None if ask.top_logprobs is None else Recorded()
        answer = _Answer(self, ask, emit, recorded)
        prompt = torch.tensor([ask.prompt], device=self.model.device)
        try:
            self._still_wanted()
            torch.seed() if ask.seed is None else torch.manual_seed(ask.seed)
            if ask.max_tokens:
                with torch.inference_mode():
                    self.model.generate(
                        prompt,
                        attention_mask=torch.ones_like(prompt),
                        streamer=answer,
                        generation_config=self._settings(ask),
                        logits_processor=LogitsProcessorList(self._processors(ask, recorded)),
                    )
        except Ended:
            if self.gone():
                raise Gone from None
        answer.finish()

    def _still_wanted(self, *_: Any) -> None:
        if self.gone():
            raise Ended

    def _settings(self, ask: Ask) -> GenerationConfig:
        settings = copy.deepcopy(self.model.generation_config)
        settings.update(num_beams=1, num_return_sequences=1, use_cache=True, max_length=None)
        settings.update(
            max_new_tokens=ask.max_tokens, eos_token_id=self.stops or None, stop_strings=None
        )
        settings.pad_token_id = next(
            (n for n in (self.tokenizer.pad_token_id, *self.stops) if n is not None), 0
        )
        if ask.temperature is not None:
            settings.do_sample = ask.temperature >= GREEDY_BELOW
            settings.temperature = ask.temperature if settings.do_sample else None
        elif ask.top_p is not None:
            settings.do_sample = True
        if ask.top_p is not None:
            settings.top_p = ask.top_p
        if not settings.do_sample:  # else transformers warns of them at each request
            settings.update(temperature=None, top_p=None, top_k=None, min_p=None)
        return settings

    def _processors(self, ask: Ask, recorded: Recorded | None) -> Iterator[Any]:
        if recorded:
            yield recorded
        size = len(ask.prompt)
        if ask.frequency_penalty or ask.presence_penalty or ask.logit_bias:
            yield Penalized(size, ask.frequency_penalty, ask.presence_penalty, ask.logit_bias)
        if ask.grammar:
            yield Constrained(self.grammars.matcher(ask.grammar), size)


class _Answer(BaseStreamer):
    """Takes the tokens from `model.generate`, and hands over what is sure."""

    def __init__(
        self, engine: Engine, ask: Ask, emit: Callable[[Piece], None], recorded: Recorded | None
    ) -> None:
        self.engine, self.ask, self.emit, self.recorded = engine, ask, emit, recorded
        self.text = Text(engine.tokenizer, engine.special - ask.shown, ask.stop)
        self.sent = self.count = 0
        self.prompt_seen = self.complete = False
        self.waiting: list[Token] = []

    def put(self, value: torch.Tensor) -> None:
        """Takes the prompt at first, then each token."""
        if not self.prompt_seen:
            self.prompt_seen = True
            return
        token, start = int(value.item()), len(self.text.text)
        self.count += 1
        if token in self.engine.stops:
            self.complete = True
            raise Ended
        if self.recorded and token not in self.text.hidden:
            own, top = self.recorded.of(token, self.ask.top_logprobs or 0)
            self.waiting.append(Token(token, own, top, start))
        self.text.add(token)
        if self.text.stopped:
            self.complete = True
            raise Ended
        self._hand_over()

    def end(self) -> None:
        """The number of tokens that were asked for is there."""

    def finish(self) -> None:
        """Hands over the last piece."""
        self.text.end()
        self._hand_over("stop" if self.complete or self.text.stopped else "length")

    def _hand_over(self, finish: str | None = None) -> None:
        sure = self.text.sure
        if sure > self.sent or finish:
            open_end = finish is not None and not self.text.stopped
            ready = [token for token in self.waiting if token.start < sure or open_end]
            self.waiting = self.waiting[len(ready) :]
            self.emit(Piece(self.text.text[self.sent : sure], ready, finish, self.count))
            self.sent = sure
