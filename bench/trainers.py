"""The trainers that bench/train.py compares ftc with, one in a process, each in its own environment.

    VENV/bin/python bench/trainers.py NAME FOLDER STEPS

FOLDER has model/ and rows.jsonl. Prints JSON lists with an entry a step: seconds, real tokens, losses.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

MAX_SEQ_LENGTH, PACKED, PADDED, THREADS = 1024, 4, 20, 2


class Watch:
    """Counts what a transformers Trainer is given, and how long its steps take."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.losses: list[float] = []
        self.batches: list[int] = []

    def callback(self) -> Any:
        from transformers import TrainerCallback

        watch = self

        class Callback(TrainerCallback):
            def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                watch.begun.append(time.perf_counter())

            def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                watch.ended.append(time.perf_counter())

            def on_log(
                self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any
            ) -> None:
                if logs and "loss" in logs:
                    watch.losses.append(float(logs["loss"]))

        return Callback()

    def counting(self, collate: Any) -> Any:
        """The collator, counting the real tokens of each micro-batch."""

        def counted(rows: list[dict[str, Any]]) -> Any:
            real = [row.get("attention_mask", row["input_ids"]) for row in rows]
            masked = ["attention_mask" in row for row in rows]
            self.batches.append(
                sum(sum(map(bool, r)) if m else len(r) for r, m in zip(real, masked, strict=True))
            )
            return collate(rows)

        return counted

    def result(self, accumulated: int) -> dict[str, list[float]]:
        firsts = range(0, len(self.ended) * accumulated, accumulated)
        return {
            "seconds": [end - begin for begin, end in zip(self.begun, self.ended, strict=True)],
            "tokens": [sum(self.batches[first : first + accumulated]) for first in firsts],
            "losses": self.losses,
        }


# What every Trainer here is told; gradients are not checkpointed, as they are not in ftc's run.
COMMON = {
    "use_cpu": True, "bf16": False, "fp16": False, "gradient_checkpointing": False, "logging_steps": 1,
    "learning_rate": 2e-4, "lr_scheduler_type": "constant", "optim": "adamw_torch_fused", "seed": 42,
    "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
}  # fmt: skip


def lora_config() -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def trl(folder: Path, steps: int, packing: bool) -> dict[str, list[float]]:
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = load_dataset("json", data_files=str(folder / "rows.jsonl"), split="train").map(
        lambda row: {"prompt": row["messages"][:1], "completion": row["messages"][1:]},
        remove_columns=["messages"],
    )
    micro, accumulated = (1, PACKED) if packing else (4, PADDED // 4)
    config = SFTConfig(
        output_dir=str(folder / "out"), max_length=MAX_SEQ_LENGTH, packing=packing,
        per_device_train_batch_size=micro, gradient_accumulation_steps=accumulated,
        max_steps=steps, **COMMON,
    )  # fmt: skip
    watch = Watch()
    model = AutoModelForCausalLM.from_pretrained(
        folder / "model", dtype=torch.float32, attn_implementation="sdpa"
    )
    trainer = SFTTrainer(
        model=model, args=config, train_dataset=rows, peft_config=lora_config(),
        processing_class=AutoTokenizer.from_pretrained(folder / "model"),
        callbacks=[watch.callback()],
    )  # fmt: skip
    trainer.data_collator = watch.counting(trainer.data_collator)
    trainer.train()
    return watch.result(accumulated)


def llama_factory(folder: Path, steps: int) -> dict[str, list[float]]:
    from llamafactory.data import collator
    from llamafactory.train.tuner import run_exp

    tags = {
        "role_tag": "role", "content_tag": "content",
        "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system",
    }  # fmt: skip
    rows = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}
    (folder / "dataset_info.json").write_text(
        json.dumps({"rows": {"file_name": "rows.jsonl", **rows}})
    )
    watch = Watch()
    plain = collator.SFTDataCollatorWith4DAttentionMask.__call__
    collator.SFTDataCollatorWith4DAttentionMask.__call__ = lambda self, features: watch.counting(
        lambda found: plain(self, found)
    )(features)
    arguments = {
        "model_name_or_path": str(folder / "model"), "stage": "sft", "do_train": True,
        "finetuning_type": "lora", "lora_rank": 16, "lora_alpha": 32, "lora_target": "all",
        "dataset": "rows", "dataset_dir": str(folder), "template": "chatml", "flash_attn": "sdpa",
        "cutoff_len": MAX_SEQ_LENGTH, "packing": True, "neat_packing": True, "overwrite_cache": True,
        "output_dir": str(folder / "out"), "overwrite_output_dir": True, "max_steps": steps,
        "per_device_train_batch_size": 1, "gradient_accumulation_steps": PACKED,
        "disable_gradient_checkpointing": True, "upcast_layernorm": False, **COMMON,
    }  # fmt: skip
    run_exp(arguments, callbacks=[watch.callback()])
    return watch.result(PACKED)


def transformers_padded(folder: Path, steps: int) -> dict[str, list[float]]:
    from peft import get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    rows = []
    for line in (folder / "rows.jsonl").read_text("utf-8").splitlines():
        found = tokenizer.apply_chat_template(
            json.loads(line)["messages"], return_dict=True, return_assistant_tokens_mask=True
        )
        learnt = zip(found["input_ids"], found["assistant_masks"], strict=True)
        labels = [token if loss else -100 for token, loss in learnt]
        rows.append({"input_ids": found["input_ids"], "labels": labels})
    watch = Watch()
    arguments = TrainingArguments(
        output_dir=str(folder / "out"), per_device_train_batch_size=4,
        gradient_accumulation_steps=PADDED // 4, max_steps=steps, **COMMON,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        folder / "model", dtype=torch.float32, attn_implementation="sdpa"
    )
    trainer = Trainer(
        model=get_peft_model(model, lora_config()), args=arguments, train_dataset=rows,
        data_collator=watch.counting(DataCollatorForSeq2Seq(tokenizer)),
        callbacks=[watch.callback()],
    )  # fmt: skip
    trainer.train()
    return watch.result(PADDED // 4)


WORKERS = {
    "trl packed": lambda folder, steps: trl(folder, steps, packing=True),
    "trl padded": lambda folder, steps: trl(folder, steps, packing=False),
    "llama-factory packed": llama_factory,
    "transformers padded": transformers_padded,
}


def main() -> None:
    name, folder, steps = sys.argv[1:]
    here = Path(__file__).resolve().parent  # its files are no modules of the trainers
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != here]
    torch.set_num_threads(THREADS)
    print(json.dumps(WORKERS[name](Path(folder), int(steps))))


if __name__ == "__main__":
    main()
