"""From token ids to text, token by token: characters of several tokens, and texts that end an answer."""

from collections.abc import Collection, Sequence
from typing import Any

BROKEN = "\N{REPLACEMENT CHARACTER}"  # what decoding makes of a part of a character


class Text:
    """An answer's text as it grows. `text`: all of it; `sure`: how much of it nothing can change.

    `hidden`: tokens that are no text, as the end of a turn. `stops`: texts that end the answer and are
    no part of it.
    """

    def __init__(self, tokenizer: Any, hidden: Collection[int], stops: Sequence[str]) -> None:
        self.tokenizer, self.hidden, self.stops = tokenizer, hidden, stops
        self.text, self.sure, self.stopped = "", 0, False
        self.ids: list[int] = []
        # The ids from `begin` give the context in which those from `fresh` are decoded: a token's text
        # depends on what stands before it (a space, the first half of a character).
        self.begin = self.fresh = 0

    def add(self, token: int) -> None:
        """Takes the next token."""
        if token in self.hidden:
            return
        self.ids.append(token)
        known = self._decode(self.ids[self.begin : self.fresh])
        whole = self._decode(self.ids[self.begin :])
        if not whole.endswith(BROKEN) and len(whole) > len(known):
            self._grow(whole[len(known) :])
            self.begin, self.fresh = self.fresh, len(self.ids)

    def end(self) -> None:
        """No more tokens come: what was held back is text, too."""
        if not self.stopped:
            known = self._decode(self.ids[self.begin : self.fresh])
            self._grow(self._decode(self.ids[self.begin :])[len(known) :])
            self.sure = len(self.text)

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False)

    def _grow(self, more: str) -> None:
        longest = max(map(len, self.stops), default=1)
        start = max(0, len(self.text) - longest + 1)
        self.text += more
        found = [place for stop in self.stops if (place := self.text.find(stop, start)) >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True
            self.sure = len(self.text)
        else:
            self.sure = len(self.text) - begun(self.text, self.stops)


def begun(text: str, marks: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of one of `marks`."""
    longest = max(map(len, marks), default=1) - 1
    ends = range(min(longest, len(text)), 0, -1)
    return next((n for n in ends if any(mark.startswith(text[-n:]) for mark in marks)), 0)
