"""The base's tokenizer, held against the file that it was made of."""

import shlex
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ..errors import RunError

# None begins with a space: there a space less is a choice that transformers makes for Llama, too.
TEXTS = (
    "hello world",
    "two  spaces, and 12345.",
    "Größe: 你好\n\n\t1. a b",
    "def f(x):\n    return x",
)
JSON = "tokenizer.json"


def load_tokenizer(source: str, **options: Any) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or Hub id; `options` are those of `AutoTokenizer.from_pretrained`.

    Raises RunError if there is none, or if it gives other ids than the sentencepiece model that it is
    made of: without a tokenizer.json, transformers makes one by the type of the model, and leaves out the
    space that words of most types begin with.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except OSError as error:
        raise RunError(
            "no-model",
            f"the tokenizer of {source} can't be had: {str(error).splitlines()[0]}",
            "check the name, the network and the access to gated models (`hf auth login`)",
        ) from None
    except (ImportError, ValueError) as error:
        if not any(
            name in str(error).lower() for name in ("sentencepiece", "tiktoken", "protobuf")
        ):
            raise
        raise RunError(
            "no-tokenizer",
            f"the tokenizer of {source} can't be made of its tokenizer.model, as there is no {JSON}",
            *([] if _readable() else [INSTALL]),
            f"{'or ' * (not _readable())}add the {JSON} that belongs to the model",
        ) from None
    ids = set(tokenizer(TEXTS[0], add_special_tokens=False).input_ids)
    if ids <= {*tokenizer.all_special_ids}:
        raise RunError(
            "no-tokenizer",
            f"the tokenizer of {source} knows no words: its files are missing",
            f"add the {JSON} that belongs to the model",
        )
    _check_sentencepiece(tokenizer, source)
    return tokenizer


INSTALL = "install what reads it: pip install sentencepiece==0.2.1 protobuf==6.33.6"


def _readable() -> bool:
    """Whether sentencepiece and the protobuf classes that it brings can be imported."""
    if not find_spec("sentencepiece"):
        return False
    try:
        from sentencepiece import sentencepiece_model_pb2  # noqa: F401  # pyright: ignore
    except Exception:  # protobuf is missing, or of another version than the classes were made with
        return False
    return True


def _check_sentencepiece(tokenizer: PreTrainedTokenizerBase, source: str) -> None:
    """Raises RunError if the ids are not those of the sentencepiece model that it was made of."""
    model = Path(getattr(tokenizer, "vocab_file", None) or "")
    if (
        model.suffix != ".model"
        or model.with_name(JSON).is_file()
        or not find_spec("sentencepiece")
    ):
        return
    from sentencepiece import SentencePieceProcessor

    try:
        theirs = SentencePieceProcessor(model_file=str(model)).encode(list(TEXTS))
    except RuntimeError:  # of tiktoken, under the same name
        return
    text, ids = next(_others(tokenizer, theirs), ("", []))
    if not text:
        return
    pieces, ours = tokenizer.convert_ids_to_tokens, tokenizer(text, add_special_tokens=False)
    ways_out = [
        f"add the {JSON} that belongs to the model: this is how transformers takes it as it is",
        "make one with transformers 4, which reads it right: AutoTokenizer.from_pretrained(FOLDER)"
        ".save_pretrained(FOLDER)",
    ]
    if _is_llamas(source, theirs):
        ways_out[1] = f"make one, as it is one of Llama: {MAKE.format(shlex.quote(source))}"
    raise RunError(
        "no-tokenizer",
        f"transformers makes another tokenizer of {model.name} of {source} than it is: {text!r} begins "
        f"with {pieces(ours.input_ids[:3])}, and by sentencepiece with {pieces(ids[:3])}",
        ways_out[0],
        f"or {ways_out[1]}",
    )


MAKE = (
    'python -c "import sys; from transformers import LlamaTokenizer as T; '
    'T.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])" {}'
)


def _others(
    tokenizer: PreTrainedTokenizerBase, theirs: Sequence[list[int]]
) -> Iterator[tuple[str, list[int]]]:
    """The texts of which the tokenizer has other ids than these."""
    for text, ids in zip(TEXTS, theirs, strict=True):
        if tokenizer(text, add_special_tokens=False).input_ids != ids:
            yield text, ids


def _is_llamas(source: str, theirs: Sequence[list[int]]) -> bool:
    """Whether the ids would be these if the tokenizer were said to be one of Llama."""
    from transformers import LlamaTokenizer

    try:
        return not any(_others(LlamaTokenizer.from_pretrained(source), theirs))
    except Exception:  # whatever it is, it does not help
        return False
