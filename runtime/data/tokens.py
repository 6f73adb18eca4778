"""From rows to token ids, with a mask of the tokens that carry loss.

The ids come from one render of the whole conversation with the run's chat template, so they are the
ids that `tokenizer.apply_chat_template` gives. But a server tokenizes the prompt alone, before there is an
answer: where a token would lie across the border between them, the text is tokenized apart there, so that
the ids of the prompt are a prefix (see `apart`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from ..errors import RunError
from ..rows import Conversation
from ..rows.json_text import check_characters
from . import apart
from .apart import encode
from .render import Rendered, Renderer, Span, check_last
from .words import Words, words


@dataclass(frozen=True)
class Sample:
    """`ids` (n,) int32; `loss` (n,) bool: which tokens the model learns to predict; `row`: file:line.

    `joined` and `left_out`: see `chat_samples`; where a sample is new.
    """

    ids: np.ndarray
    loss: np.ndarray
    row: str
    joined: bool = False
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class End:
    """The token that ends an answer, and how many tokens a template puts behind it."""

    id: int
    tail: int


def read_template(path: str | Path) -> str:
    """The text of the run's chat template."""
    return Path(path).read_text("utf-8")


def chat_samples(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    rows: Sequence[str],
    loss_on: str,
    dropped_above: int | None = None,
) -> list[Sample]:
    """Tokenizes conversations; `loss_on` is "assistant", "last_assistant" or "all".

    A token carries loss if it lies wholly inside a supervised stretch of text: an answer and its end
    token. A message with "loss": False carries none. Before each answer that is learnt, the ids are those of
    its prompt alone. In the prompt of a later answer, which is tokenized whole, a server may join what is
    apart here: `joined` says so of a sample. `left_out`: what of the conversation the template left out.
    Of a conversation that is far longer than
    `dropped_above` tokens only the beginning is tokenized, which is longer than that, too: a row of
    100 MB is not to take gigabytes before it is dropped. Raises RunError where a template can't be masked,
    has no end token, or puts two BOS tokens in front.
    """
    if not tokenizer.is_fast:
        raise RunError(
            "slow-tokenizer",
            "masks need a tokenizer that knows where in the text a token stands (tokenizer.json)",
            "use a revision of the model that ships tokenizer.json",
        )
    rendered = list(map(Renderer(tokenizer), conversations, rows))
    for one, conversation, row in zip(rendered, conversations, rows, strict=True):
        check_last(one, conversation, row)
    samples = _chunk(tokenizer, conversations, rendered, rows, loss_on, dropped_above)
    if samples:
        end_of_answer(tokenizer)
    return samples


def text_samples(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], rows: Sequence[str], max_length: int
) -> list[Sample]:
    """Tokenizes plain texts, each closed by the end token; every token carries loss.

    A text longer than `max_length` tokens becomes several samples, laid end to end: nothing is lost.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise RunError(
            "no-end-token", "the tokenizer has no end token (eos_token) to close texts with"
        )
    one, bare = (encode(tokenizer, ["a"], special=special)[0].ids for special in (True, False))
    start = next((n for n in range(len(one)) if one[n : n + len(bare)] == bare), 0)
    before, after = one[:start], one[start + len(bare) :]  # what the tokenizer puts around a text
    for text, row in zip(texts, rows, strict=True):
        check_characters(text, row)
    known = words(tokenizer)
    none = [[]] * len(texts)
    quick = known.samples(texts, none) if known else [None] * len(texts)
    left = [text for text, found in zip(texts, quick, strict=True) if found is None]
    encodings = iter(encode(tokenizer, left, special=True))
    samples = []
    for found, text, row in zip(quick, texts, rows, strict=True):
        ids = np.r_[before, found[0], after] if found else np.array(next(encodings).ids)
        _check_bos(tokenizer, ids, text, row)
        whole = np.append(ids, [end] if not len(ids) or ids[-1] != end else []).astype(np.int32)
        # A sample of one token would teach nothing, and the end of the text is not to be lost.
        borders = np.minimum(range(max_length, len(whole), max_length), len(whole) - 2)
        samples += [
            Sample(piece, np.ones(len(piece), bool), row) for piece in np.split(whole, borders)
        ]
    return samples


def ends(sample: Sample, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether what is learnt last is an end: of an answer, or of a text. False for a cut sample."""
    learnt = int(sample.loss.nonzero()[0].max(initial=-1))
    if learnt < 0:
        return False
    last = sample.ids[learnt]
    if tokenizer.chat_template is None:
        return bool(last == tokenizer.eos_token_id)
    end = end_of_answer(tokenizer)
    if last == end.id or last == tokenizer.eos_token_id:
        return True
    behind = sample.ids[-1 - end.tail :][:1]
    # With loss on all, the template's own tail is learnt, too.
    return bool(sample.loss.all() and (behind == end.id).all())


def end_of_answer(tokenizer: PreTrainedTokenizerBase) -> End:
    """What ends each answer of the tokenizer's chat template.

    Raises RunError if it is not one token of its own: the model could never be told to stop.
    """
    return _end_of_answer(tokenizer, tokenizer.chat_template)


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Finds the text of a control token, such as <|im_end|>."""
    added = tokenizer.added_tokens_decoder.values()
    found = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    return re.compile("|".join(map(re.escape, sorted(found))) or "(?!)")


@lru_cache(maxsize=8)
def _end_of_answer(tokenizer: PreTrainedTokenizerBase, template: str) -> End:
    answers = ("a", "5 b")
    turns = [[("user", "x"), ("assistant", answer)] for answer in answers]
    probes = [Conversation([{"role": r, "content": c} for r, c in turn]) for turn in turns]
    rows = ["the template's probe"] * 2
    rendered = list(map(Renderer(tokenizer), probes, rows))
    one, two = _chunk(tokenizer, probes, rendered, rows, "assistant")
    last = [sample.ids[sample.loss][-1:].tolist() for sample in (one, two)]
    own = {tokenizer.eos_token_id, *tokenizer.added_tokens_decoder}
    if last[0] != last[1] or not last[0] or last[0][0] not in own:
        found = rendered[0].text[slice(*rendered[0].answers[-1])].removeprefix("a")
        spelt = f"with {found!r}, which is no token of this tokenizer" if found else "with no token"
        raise RunError(
            "no-end-token",
            f"the chat template ends an answer {spelt}: the model would not learn to stop",
            "name a template in model.chat_template whose end token the tokenizer has; "
            "`xtuner/default` takes the tokenizer's own",
        )
    return End(last[0][0], len(one.ids) - 1 - int(np.nonzero(one.loss)[0][-1]))


def _chunk(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    rendered: Sequence[Rendered],
    rows: Sequence[str],
    loss_on: str,
    dropped_above: int | None = None,
) -> list[Sample]:
    texts, everything = [one.text for one in rendered], loss_on == "all"
    for text, row in zip(texts, rows, strict=True):
        check_characters(text, row)
    learnt = [_learnt(one, loss_on) for one in rendered]
    marked, borders = ([pair[n] for pair in learnt] for n in (0, 1))
    known = words(tokenizer)
    if known and dropped_above is not None:
        texts = [known.beginning(text, dropped_above) for text in texts]
        cut = [len(text) < len(one.text) for text, one in zip(texts, rendered, strict=True)]
        marked = [[] if is_cut else each for is_cut, each in zip(cut, marked, strict=True)]
        borders = [[] if is_cut else each for is_cut, each in zip(cut, borders, strict=True)]
    samples = []
    found = _tokenized(tokenizer, known, texts, marked, borders)
    for (ids, inside, joined), one, text, row in zip(
        found, rendered, conversations, rows, strict=True
    ):
        _check_bos(tokenizer, ids, text.messages[0]["content"], row)
        loss = ~inside if everything else inside
        samples.append(Sample(ids, loss, row, joined, one.left_out))
    return samples


def _tokenized(
    tokenizer: PreTrainedTokenizerBase,
    known: Words | None,
    texts: Sequence[str],
    stretches: Sequence[Sequence[Span]],
    borders: Sequence[Sequence[int]],
) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """The ids of each text, which of them lie in its stretches, and whether `Sample.joined`."""
    quick: Sequence[tuple[np.ndarray, np.ndarray] | None] = [None] * len(texts)
    cuts: list[list[int]] = [[]] * len(texts)
    if known:
        cuts = [known.joined(text, each) for text, each in zip(texts, borders, strict=True)]
        quick = known.samples(texts, stretches, *([cuts] if any(cuts) else []))
    left = [number for number, found in enumerate(quick) if found is None]
    slow = apart.encoded(tokenizer, [texts[n] for n in left], [borders[n] for n in left])
    samples = []
    for number, found in enumerate(quick):
        if found is None:
            ids, offsets, cuts[number] = next(slow)
            found = ids, _by_offsets(offsets, stretches[number])
        samples.append((*found, any(cut < borders[number][-1] for cut in cuts[number])))
    return samples


def _check_bos(
    tokenizer: PreTrainedTokenizerBase, ids: np.ndarray, first_text: str, row: str
) -> None:
    """A BOS token more than a server puts in front, be it the row's or the template's."""
    bos = tokenizer.bos_token_id
    if ids[:2].tolist() != [bos, bos]:
        return
    if first_text.lstrip().startswith(str(tokenizer.bos_token)):
        raise RunError(
            "double-bos",
            f"the row's first text begins with {tokenizer.bos_token!r}, the BOS token, which is put "
            "in front of it anyway",
            "take it out of the row",
            where=row,
        )
    raise RunError(
        "double-bos",
        "the chat template puts two BOS tokens in front",
        "take one out of it, or name another in model.chat_template",
        where=row,
    )


def _learnt(rendered: Rendered, loss_on: str) -> tuple[list[Span], list[int]]:
    """The stretches that carry loss (if all does, those that carry none), and where the prompts end of the
    answers that are learnt."""
    starts = [start for start, _ in rendered.answers]
    if loss_on == "assistant" and starts == rendered.borders and all(rendered.learnt):
        return rendered.answers, [start for start, end in rendered.answers if start < end]
    pairs = list(zip(rendered.answers, rendered.learnt, strict=True))
    pairs = pairs[-1:] if loss_on == "last_assistant" else pairs
    spans = [span for span, learnt in pairs if learnt == (loss_on != "all")]
    starts = [start for (start, end), learnt in pairs if learnt and start < end]
    # Where a template writes more before the answer than its prompt has, nothing is learnt at the border.
    borders = [border for border in rendered.borders if border is not None and border in starts]
    return spans, borders


def _by_offsets(offsets: np.ndarray, stretches: Sequence[Span]) -> np.ndarray:
    """Which tokens lie wholly inside a stretch; a character may be several tokens."""
    inside = np.zeros(len(offsets), bool)
    first, last = offsets.T
    for start, end in stretches:
        inside |= (first >= start) & (first < end) & (last <= end)
    return inside
