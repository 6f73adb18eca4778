"""A conversation with a model in the terminal; chat.py of a run directory calls `run`."""

import sys
from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import TextStreamer

from ..data import jinja, require_embeddings
from ..errors import EXIT_ERROR, RunError
from ..export.served_tokenizer import stops

HELP = """\
/reset forgets the conversation, /exit (or Ctrl-C, Ctrl-D) ends it. End a line with \\ to go on in the next one."""

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

    Raises RunError for a message with a token that the model has no embedding for.
    """
    how = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": False}
    prompt = jinja.applied(tokenizer, messages, **how).to(model.device)
    require_embeddings(
        model, tokenizer, prompt[0].tolist(), f"prompt {messages[-1]['content'][:60]!r}"
    )
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


def read(prompt: str) -> str | None:
    """One message, of several lines where they end with a backslash; None at the end of the input."""
    lines = []
    while True:
        try:
            line = input("" if not prompt else prompt if not lines else "... ")
        except EOFError:
            return "\n".join(lines) if lines else None
        except KeyboardInterrupt:  # drops the lines before, as a shell does, or is the end
            print()
            if not lines:
                return None
            lines = []
            continue
        if not line.endswith("\\"):
            return "\n".join([*lines, line])
        lines.append(line[:-1])


def run(
    model: Any,
    tokenizer: Any,
    *,
    system: str | None,
    settings: dict[str, Any],
    prompt: str | None = None,
    ask: Callable[[str], str | None] = read,
) -> None:
    """Answers `prompt` and returns; or piped standard input, as one prompt; or chats until /exit.

    `settings` go to `model.generate`. The history grows by every turn until /reset.
    """
    start: Messages = [{"role": "system", "content": system}] if system else []
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
    if prompt is not None:
        if prompt:
            question = [*start, {"role": "user", "content": prompt}]
            try:
                generate(model, tokenizer, question, settings, stream=True)
            except RunError as error:
                print(error, file=sys.stderr)
                sys.exit(EXIT_ERROR)
        return
    print(HELP)
    history = list(start)
    while (text := ask("\n> ")) is not None and text.strip() != "/exit":
        if text.strip() == "/reset":
            history = list(start)
            print("Forgotten.")
        elif text.strip().startswith("/"):
            print(HELP)
        elif text.strip():
            history.append({"role": "user", "content": text})
            try:
                answer = generate(model, tokenizer, history, settings, stream=True)
                history.append({"role": "assistant", "content": answer})
            except (KeyboardInterrupt, RunError) as error:
                history.pop()
                print(f"\n{str(error) or 'Stopped'}; this turn is forgotten.")
