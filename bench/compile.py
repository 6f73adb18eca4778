"""How long `ftc compile` takes: python bench/compile.py [SPEC]. See bench/README.md.

    python bench/compile.py --trl PYTHON --llama-factory PYTHON --axolotl PYTHON

times beside it how long the others take from a file with the same run to their checked settings, each in
its own environment. They write nothing and load no model: the least that their command lines do first.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ftc.compiler import compile_file

ROUNDS, RIVAL_ROUNDS, SPECS = 15, 3, 500
QUICKSTART = Path(__file__).resolve().parent.parent / "specs" / "quickstart.toml"
FTC = "from ftc.compiler.cli import main; main()"  # what the command `ftc` does

# The quickstart in the words of each: their keys are JSON here, which YAML holds.
SHARED = {
    "learning_rate": 5e-4,
    "warmup_steps": 10,
    "num_train_epochs": 4,
    "seed": 42,
    "output_dir": "out",
}
BATCH = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "logging_steps": 1}
CONFIGS = {
    "trl": SHARED | BATCH | {
        "model_name_or_path": "model", "dataset_name": "data", "max_length": 512, "packing": False,
        "use_peft": True, "lora_r": 16, "lora_alpha": 32, "lora_target_modules": "all-linear",
        "lr_scheduler_type": "cosine", "assistant_only_loss": True, "bf16": False, "report_to": "none",
    },
    "llama_factory": SHARED | BATCH | {
        "model_name_or_path": "model", "dataset": "alpaca", "dataset_dir": "data", "cutoff_len": 512,
        "stage": "sft", "do_train": True, "finetuning_type": "lora", "lora_rank": 16, "lora_alpha": 32,
        "lora_target": "all", "template": "qwen", "lr_scheduler_type": "cosine", "report_to": "none",
    },
    "axolotl": {
        "base_model": "model", "datasets": [{"path": "data/rows.jsonl", "type": "chat_template"}],
        "sequence_len": 512, "adapter": "lora", "lora_r": 16, "lora_alpha": 32, "lora_target_linear": True,
        "micro_batch_size": 4, "gradient_accumulation_steps": 2, "num_epochs": 4, "optimizer": "adamw_torch",
        "lr_scheduler": "cosine", "learning_rate": 5e-4, "warmup_steps": 10, "output_dir": "out",
    },
}  # fmt: skip
LOAD = {
    "trl": "from trl.scripts.sft import make_parser; import sys; "
    "make_parser().parse_args_and_config(['--config', sys.argv[1]])",
    "llama_factory": "from llamafactory.hparams import get_train_args; get_train_args()",
    "axolotl": "from axolotl.cli.config import load_cfg; import sys; load_cfg(sys.argv[1])",
}
MODEL = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "vocab_size": 1000,
    "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 2,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("spec", nargs="?", default=str(QUICKSTART))
    for name in LOAD:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="PYTHON", help="its interpreter")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compiling = against_imports(options.spec, folder)
        in_one_process(options.spec, folder)
        write_inputs(Path(folder))
        for name, python in ((name, getattr(options, name)) for name in LOAD):
            if python:
                command = [python, "-c", LOAD[name], f"{name}.yaml"]
                seconds(command, folder)  # writes Python's own caches
                taken = min(seconds(command, folder) for _ in range(RIVAL_ROUNDS))
                print(f"{name:<14} {taken:.1f} s, {taken / compiling:.0f} times ftc compile")


def against_imports(spec: str, folder: str) -> float:
    """Prints how long a process compiles beside one that only imports; the former's median, in seconds."""
    imports = [sys.executable, "-c", "import pydantic, jinja2, click"]
    ftc = [sys.executable, "-c", FTC, "compile", spec, "-o", f"{folder}/run"]
    seconds(ftc)
    pairs = [(seconds(imports), seconds(ftc)) for _ in range(ROUNDS)]
    ratios = sorted(one / base for base, one in pairs)
    bare, compiling = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(
        f"imports alone  median {1000 * bare:.0f} ms\nftc compile    median {1000 * compiling:.0f} ms"
    )
    median = statistics.median(ratios)
    print(f"ratio          median {median:.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")
    return compiling


def in_one_process(spec: str, folder: str) -> None:
    start = time.perf_counter()
    for _ in range(SPECS):
        compile_file(spec, f"{folder}/run")
    each = (time.perf_counter() - start) / SPECS
    print(f"in one process {1000 * each:.1f} ms a spec, {SPECS} of them")


def write_inputs(folder: Path) -> None:
    """What the configurations name: a model's config.json, and data in the form of each."""
    for name in ("model", "data"):
        (folder / name).mkdir()
    (folder / "model/config.json").write_text(json.dumps(MODEL))
    columns = {"prompt": "instruction", "response": "output"}
    info = {"alpaca": {"file_name": "rows.jsonl", "columns": columns}}
    (folder / "data/dataset_info.json").write_text(json.dumps(info))
    (folder / "data/rows.jsonl").write_text('{"instruction": "Hello", "output": "Hi"}\n')
    for name, config in CONFIGS.items():
        (folder / f"{name}.yaml").write_text(json.dumps(config, indent=2))


def seconds(command: list[str], folder: str | None = None) -> float:
    """The wall time of a process that must succeed. Python may cache bytecode: installed packages do."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "AXOLOTL_DO_NOT_TRACK": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    taken = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{command}:\n{done.stderr.decode()[-3000:]}")
    return taken


if __name__ == "__main__":
    main()
