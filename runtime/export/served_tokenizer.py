"""The tokenizer of an exported model: a server must see the ids that were trained."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ..data import jinja
from ..data.places import CALLING, PLAIN, SYSTEM, TOOL
from ..data.tokens import chat_samples
from ..errors import RunError
from ..rows import Conversation, Message


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _answer(text: str) -> Message:
    return {"role": "assistant", "content": text}


HARD = [_user("  é 🙂\n\n"), _answer(" ü 你好 \n"), _user(""), _answer("")]
LONG = [message for i in range(20) for message in (_user(f"no. {i}"), _answer("yes " * i))]
UNFIT = ("template-refused", "template-without-tools", "no-end-token")
# What a template must get right; one that can't take a system text or tools is asked without.
GOLDEN = [
    Conversation(PLAIN),
    Conversation([SYSTEM, *PLAIN]),
    Conversation([SYSTEM, *HARD]),
    Conversation([SYSTEM, *LONG]),
    Conversation(CALLING, [TOOL]),
]


def prepare(tokenizer: Any) -> None:
    """Makes servers put a BOS where training did.

    A tokenizer may put a BOS before each text by itself. lmdeploy (0.18: `HuggingFaceTokenizer.encode`)
    lets it, behind the template, and `apply_chat_template` doesn't; so it is switched off here.
    """
    if tokenizer("")["input_ids"]:
        tokenizer.add_bos_token = False
        tokenizer.add_eos_token = False


def prove(trained: PreTrainedTokenizerBase, folder: Path, trust_remote_code: bool) -> int:
    """Compares training's ids with those by the tokenizer in `folder`, in both ways that servers go.

    What a server sends, the prompt before each answer, must be what training has before it. Returns the number
    of conversations that the template can render. Raises RunError where ids differ.
    """
    exported = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    seen = 0
    for conversation in GOLDEN:
        try:
            for prompt, ids in _prompts(trained, conversation):
                _compare(exported, prompt, ids, folder)
        except RunError as error:
            if error.code not in UNFIT:
                raise
            continue
        seen += 1
    return seen


def _prompts(
    tokenizer: PreTrainedTokenizerBase, conversation: Conversation
) -> Iterator[tuple[Conversation, list[int]]]:
    """What comes before each answer of a conversation, with its ids in training."""
    messages = conversation.messages
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            one = replace(conversation, messages=messages[: number + 1])
            where = ["the export's own check"]
            (sample,) = chat_samples(tokenizer, [one], where, "last_assistant")
            ids = sample.ids[: int(sample.loss.argmax())].tolist()
            yield replace(one, messages=messages[:number]), ids


def _compare(
    exported: PreTrainedTokenizerBase, prompt: Conversation, ids: list[int], folder: Path
) -> None:
    how: dict[str, Any] = {"tools": prompt.tools, "add_generation_prompt": True}
    found = jinja.applied(exported, prompt.messages, return_dict=False, **how)
    text = jinja.applied(exported, prompt.messages, tokenize=False, **how)
    for way, theirs in (
        ("apply_chat_template", found),
        ("the rendered text, as lmdeploy tokenizes it,", exported.encode(text)),
    ):
        if theirs != ids[: len(theirs)] or not theirs:
            raise RunError(
                "other-tokens",
                f"the exported tokenizer gives other ids than training did: {way} "
                f"ends {theirs[-6:]}, training {ids[: len(theirs)][-6:]}",
                "nothing was exported; please report this with the run's ftc.lock",
                where=str(folder),
            )
