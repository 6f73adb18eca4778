"""LoRA training on the CPU: ftc and each of its levers beside TRL, LLaMA-Factory and plain Transformers.

    python bench/train.py --trl VENV/bin/python --llama-factory VENV/bin/python

See bench/README.md for how the rivals' environments are made. All train SmolLM2-135M-Instruct on the 999
alpaca rows with rank 16 on all linear layers, AdamW, float32, two threads, and about 4,096 tokens a step
(packed: 4 sequences of 1,024; padded: 20 rows). Each runs in a process of its own, one after the other.
The first step is not counted. Tokens are real ones: no padding. Memory is the largest sum of the
processes' proportional set sizes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import alpaca_rows, memory

MAX_SEQ_LENGTH, PACKED, PADDED, THREADS = 1024, 4, 20, 2
HERE = Path(__file__).resolve().parent

# What is taken out of the run again, lever by lever: (file, as it is, without). The first line of the
# ladder lacks them all, the next ones have one more each.
LEVERS = {
    "attention a sample at a time": [
        ("train.py", "attn_implementation=attention.SEGMENT_SDPA", 'attn_implementation="sdpa"'),
        ("train.py", "        lengths=batch.lengths,\n", ""),
    ],
    "head where loss is": [
        ("train.py", "        logits_to_keep=batch.predict_at,\n", ""),
        ("train.py", "output.logits.squeeze(0)", "output.logits.squeeze(0)[batch.predict_at]"),
    ],
    "head and loss in one": [
        ("train.py", "    fused.linear_cross_entropy(model)", "    # without"),
        (
            "train.py",
            "    with fused.targets(batch.targets):\n        return logits(model, batch)",
            "    return torch.nn.functional.cross_entropy(\n"
            '        logits(model, batch).float(), batch.targets, reduction="none"\n    )',
        ),
    ],
    "adapters in place": [
        ("train.py", "    fused.lora(model)", "    # without"),
        ("train.py", "    fused.lora_mlp(model)", "    # without"),
    ],
    "norms and attention as functions": [
        ("train.py", "    fused.rms_norm(model)", "    # without"),
        ("train.py", "    fused.attention(model)", "    # without"),
    ],
    "memory kept": [("launch.sh", "export MALLOC_MMAP_MAX_=0 MALLOC", "export NO_MALLOC")],
    "large pages": [("launch.sh", "export GLIBC_TUNABLES", "export NO_TUNABLES")],
}

SPEC = """\
name = "bench"
[model]
base = "model"
chat_template = "chatml"
max_seq_length = {length}
[method]
kind = "lora"
rank = 16
alpha = 32
[[data.train]]
source = "rows.jsonl"
format = "messages"
[optim]
learning_rate = 2e-4
lr_scheduler = "constant"
[train]
max_steps = {steps}
global_batch_size = {packed}
micro_batch_size = 1
[hardware]
device = "cpu"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trl", metavar="PYTHON", help="an interpreter with trl 1.16")
    parser.add_argument("--llama-factory", metavar="PYTHON", help="one with llamafactory 0.9.5")
    parser.add_argument("--steps", type=int, default=4, help="how many each trains, the first free")
    parser.add_argument("--only", help="names of contestants, separated by commas")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        sys.path[:] = [place for place in sys.path if Path(place).resolve() != HERE]
        torch.set_num_threads(THREADS)
        print(json.dumps(WORKERS[options.worker](options.folder, options.steps)))
        return
    pythons = {
        "trl packed": options.trl,
        "trl padded": options.trl,
        "llama-factory packed": options.llama_factory,
        "transformers padded": sys.executable,
    }
    names = ["ftc", *(f"ftc-{n}" for n in range(len(LEVERS))), *pythons]
    wanted = options.only.split(",") if options.only else names
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        prepare(folder)
        compile_runs(folder, options.steps)
        peak = peak_flops()
        found = {}
        for name in names:
            if name in wanted and (name.startswith("ftc") or pythons[name]):
                found[name] = measure(name, pythons.get(name), folder, options.steps)
        show(found, folder, max(peak, peak_flops()))


def prepare(folder: Path) -> None:
    """rows.jsonl, and model/: SmolLM2 in float32 with the chatml template."""
    from ftc.runtime import models
    from transformers import AutoModelForCausalLM, AutoTokenizer

    wanted = (HERE.parent / "Makefile").read_text().split("MODEL := ")[1].split()
    base = models.from_package(wanted[0], wanted[1], wanted[3])
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = (HERE.parent / "templates/chat/chatml.jinja").read_text("utf-8")
    tokenizer.save_pretrained(folder / "model")
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).save_pretrained(
        folder / "model"
    )
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as out:
        for row in alpaca_rows(folder):
            question = "\n".join(filter(None, [row["instruction"], row["input"]]))
            messages = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": row["output"]},
            ]
            out.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def compile_runs(folder: Path, steps: int) -> None:
    """A run directory for each line of the ladder: ftc-0 has no lever, ftc-1 the first, ..."""
    (folder / "spec.toml").write_text(
        SPEC.format(length=MAX_SEQ_LENGTH, packed=PACKED, steps=steps)
    )
    levers = list(LEVERS.values())
    for number in range(len(levers) + 1):
        run = folder / f"ftc-{number}"
        subprocess.run(
            ["ftc", "compile", "spec.toml", "-o", run.name],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        for file, there, instead in [edit for lever in levers[number:] for edit in lever]:
            text = (run / file).read_text("utf-8")
            assert text.count(there) == 1, f"{file} has no {there!r}"
            (run / file).write_text(text.replace(there, instead), "utf-8")


# -- The contestants. Each gives lists with an entry a step: seconds, real tokens, loss.


def ftc(run: Path) -> dict[str, list[float]]:
    lines = (run / "logs/metrics.jsonl").read_text("utf-8").splitlines()
    steps = [record for record in map(json.loads, lines) if "loss" in record]
    return {
        "seconds": [record["tokens"] / record["tokens_per_second"] for record in steps],
        "tokens": [record["tokens"] for record in steps],
        "losses": [record["loss"] for record in steps],
    }


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


# -- Measuring


def measure(name: str, python: str | None, folder: Path, steps: int) -> dict[str, Any]:
    """Runs one contestant, python being its interpreter (None: ftc); adds its peak memory in bytes."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    lever = name.removeprefix("ftc-") if name != "ftc" else str(len(LEVERS))
    run = folder / f"ftc-{lever}"
    environment = {
        **os.environ, "HF_HOME": str(folder / "hf"), "FTC_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "DISABLE_VERSION_CHECK": "1",
        "OMP_NUM_THREADS": str(THREADS),
    }  # fmt: skip
    command = ["bash", str(run / "launch.sh")]
    if python:
        command = [
            python,
            __file__,
            "--worker",
            name,
            "--folder",
            str(folder),
            "--steps",
            str(steps),
        ]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE if python else log,
            stderr=log,
            env=environment,
            text=True,
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory(process.pid, "Pss:"))
            time.sleep(1)
        said = process.stdout.read() if process.stdout else ""
        if process.returncode:
            log.seek(0)
            sys.exit(f"{name} failed:\n{said[-2000:]}{log.read()[-3000:]}")
    found = json.loads(said.strip().splitlines()[-1]) if python else ftc(run)
    return {**found, "peak": peak}


def peak_flops() -> float:
    """Floating-point operations a second of a large float32 product, the best of some."""
    torch.set_num_threads(THREADS)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    best = 0.0
    for _ in range(20):
        begun = time.perf_counter()
        a @ b
        best = max(best, 2 * 2048**3 / (time.perf_counter() - begun))
    return best


def flops_per_token(folder: Path) -> float:
    """What a token costs at least: two operations a weight forwards and two backwards, as the base has no
    gradient of its own; six for a weight of an adapter. The head counts where loss is, three in four."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder / "model")
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    keys = width * config.num_key_value_heads // config.num_attention_heads
    shapes = [(width, width)] * 2 + [(width, keys)] * 2 + [(width, inner)] * 3
    body = layers * sum(a * b for a, b in shapes)
    adapters = layers * sum(16 * (a + b) for a, b in shapes)
    return 4 * body + 6 * adapters + 4 * 0.75 * width * config.vocab_size


def show(found: dict[str, dict[str, Any]], folder: Path, peak: float) -> None:
    cost = flops_per_token(folder)
    print(f"\npeak of a float32 product: {peak / 1e9:.0f} GFLOP/s; a token: {cost / 1e9:.2f} GFLOP")
    head = ("tokens/s", "of ftc's", "of peak", "memory MiB", "of ftc's")
    print(f"{'':24}" + "".join(f"{name:>12}" for name in head) + "  losses")
    speeds = {name: sum(r["tokens"][1:]) / sum(r["seconds"][1:]) for name, r in found.items()}
    for name, run in found.items():
        ours = found.get("ftc", run)
        cells = [
            f"{speeds[name]:.0f}",
            f"{speeds[name] / speeds.get('ftc', speeds[name]):.2f}",
            f"{speeds[name] * cost / peak:.0%}",
            f"{run['peak'] / 2**20:,.0f}",
            f"{run['peak'] / ours['peak']:.2f}",
        ]
        losses = " ".join(f"{loss:.4f}" for loss in run["losses"])
        print(f"{name:24}" + "".join(f"{cell:>12}" for cell in cells) + f"  {losses}")
    print("\nlevers, each with those before it: " + ", ".join(LEVERS))


if __name__ == "__main__":
    main()
