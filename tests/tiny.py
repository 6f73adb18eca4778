"""A tiny random model with a tokenizer and a chat template, in Hugging Face form, and rows to train it on."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).parent.parent / "templates" / "chat" / "chatml.jinja"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def rows(count: int = 40, seed: int = 0) -> list[dict]:
    """Conversations of very different lengths, so that wrong weighting shows."""
    words = [
        "the",
        "model",
        "reads",
        "a",
        "spec",
        "and",
        "writes",
        "a",
        "run",
        "with",
        "steps",
        "of",
        "tokens",
        "and",
        "loss",
        "é",
        "ü",
        "你好",
        "🙂",
    ]
    chance = random.Random(seed)

    def text(longest: int) -> str:
        return " ".join(chance.choices(words, k=chance.randint(1, longest)))

    found = []
    for _ in range(count):
        messages = []
        for _ in range(chance.choice([1, 1, 2])):
            messages.append({"role": "user", "content": text(6)})
            messages.append({"role": "assistant", "content": text(chance.choice([2, 4, 20]))})
        found.append({"messages": messages})
    return found


def write_rows(path: Path, count: int = 40, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows(count, seed))
    path.write_text("".join(lines), "utf-8")


def num_supervised(sample: Any) -> int:
    """How many tokens of a sample are predicted: the first never is."""
    return int(sample.loss[1:].sum())


def in_memory(samples: list) -> Any:
    """Samples that were made otherwise than by reading, as those of one source."""
    import pyarrow as pa
    from ftc.runtime.data import ledger, sample_set, tokenizing

    batch = tokenizing.batch(samples, ledger.Ledger(""))
    return sample_set.Samples.of([pa.Table.from_batches([batch])], [{}])


def read(source: Any) -> Iterator[tuple[str, Any]]:
    """(place, content) of each row that its format does not drop."""
    from ftc.runtime import formats
    from ftc.runtime.data import reading
    from ftc.runtime.rows import Dropped

    format = formats.function(source.format)
    for place, raw in reading.raw_rows(source):
        content = formats.convert(format, source.format, place, raw)
        if not isinstance(content, Dropped):
            yield place, content


def make(folder: Path, **settings: object) -> None:
    """Writes the model: a llama of 2 layers, with `settings` of its config; the same bytes every time."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    texts = [message["content"] for row in rows(200) for message in row["messages"]]
    bpe.train_from_iterator(["system user assistant", *texts], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
    )
    tokenizer.chat_template = TEMPLATE.read_text("utf-8")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    defaults = {
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    LlamaForCausalLM(LlamaConfig(**{**defaults, **settings})).save_pretrained(folder)


def write_lines(name: str, rows: list) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def talk(answer: str, question: str = "the model") -> dict:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns}
