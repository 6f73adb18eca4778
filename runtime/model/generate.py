"""Answers of a model: a tokenizer and a model, loaded; messages in, text out."""

from typing import Any

import torch
import transformers
from transformers import PreTrainedTokenizerBase, TextStreamer

from ..data import jinja, require_embeddings
from ..data.tokens import end_of_answer
from ..errors import RunError

Messages = list[dict[str, str]]


def load(
    base: str,
    adapter: str | None = None,
    device_map: str = "cpu",
    auto_class: str = "AutoModelForCausalLM",
    **settings: Any,
) -> Any:
    """A model for chatting: `base` (folder or Hub id), with the PEFT adapter in a folder laid over it.

    `device_map` as transformers takes it: "auto" fills the GPUs first, then the host's memory. `auto_class`:
    transformers' loader, as in training, whose names the adapter has.
    """
    load_class = getattr(transformers, auto_class)
    model = load_class.from_pretrained(base, device_map=device_map, **settings)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    return model.eval()


def generate(
    model: Any, tokenizer: Any, messages: Messages, settings: dict[str, Any], stream: bool
) -> str:
    """The model's answer; `stream` prints it word by word as it comes.

    Raises RunError as `prompt_ids` does.
    """
    prompt = prompt_ids(model, tokenizer, messages)
    streamer = (
        TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True) if stream else None
    )
    with torch.no_grad():
        output = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            streamer=streamer,
            pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
            eos_token_id=stops(tokenizer, model.generation_config),
            **settings,
        )
    return tokenizer.decode(output[0, prompt.shape[1] :], skip_special_tokens=True)


def prompt_ids(model: Any, tokenizer: Any, messages: Messages) -> torch.Tensor:
    """What stands before the answer, (1, T), on the model's device.

    Raises RunError for messages that the chat template refuses, and for a token that the model has no
    embedding for.
    """
    how = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": False}
    prompt = jinja.applied(tokenizer, messages, **how).to(model.device)
    where = f"prompt {messages[-1]['content'][:60]!r}"
    require_embeddings(model, tokenizer, prompt[0].tolist(), where)
    return prompt


def stops(tokenizer: PreTrainedTokenizerBase, generation_config: Any) -> list[int]:
    """The tokens at which generation stops: the end of an answer, and what the base stops at.

    A run of plain texts alone may have a chat template without an end.
    """
    of_base = generation_config.eos_token_id
    of_base = of_base if isinstance(of_base, list) else [of_base]
    try:
        ids = [end_of_answer(tokenizer).id, *of_base]
    except RunError:
        ids = of_base
    return list(dict.fromkeys(number for number in ids if number is not None))
