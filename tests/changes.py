"""Two values for each key of the spec language, and a spec in which the key has a say."""

from collections.abc import Iterator
from typing import Any

from ftc.compiler.spec.describe import models_in
from ftc.compiler.spec.spec import Spec

from .specs import BASE, GPU, HELD_OUT, HUB, merged

Q8 = {"train": {"global_batch_size": 32}, "hardware": {"devices_per_node": 8}}
QLORA = merged(BASE, GPU, HUB, {"method": {"kind": "qlora"}})
FULL8 = merged(BASE, GPU, HUB, {"method": {"kind": "full"}}, Q8)
EIGHT = merged(QLORA, {"method": {"quantization": {"bits": 8}}})
PATTERN = merged(BASE, {"method": {"rank_pattern": [{"module": "q_proj", "rank": 2}]}})
LONG = merged(BASE, {"model": {"rope_scaling": {"type": "linear", "factor": 2.0}}})
YARN = merged(LONG, {"model": {"rope_scaling": {"type": "yarn"}}})
LLAMA3 = merged(LONG, {"model": {"rope_scaling": {"type": "llama3"}}})
DATED = merged(BASE, {"model": {"chat_template": "dated.jinja"}})
ASKS = merged(BASE, {"samples": {"prompts": ["Hi"]}})
TRACKED = merged(BASE, {"tracking": {"trackers": ["wandb"]}})
HUB_ROWS = merged(BASE, {"data": {"train": [{"source": "acme/rows", "format": "messages"}]}})
HUB_HELD = merged(BASE, {"data": {"validation": [{"source": "acme/rows", "format": "messages"}]}})
HELD = merged(BASE, HELD_OUT)
WSD = {"optim": {"lr_scheduler": "warmup_stable_decay"}}
DRAWS = merged(BASE, {"chat": {"temperature": 0.5}})
# The examples of the reference page come from here, so values should teach what the key is for.
COMMITS = (
    "12fd25f77366fa6b3b4b768ec3050bf629380bac",
    "a09a35458c702b33eeacc393d103063234e8bc28",
    "cc7b047b6e5bb11b4f1af84efc572db110a51b3c",
    "831dabac2283d99420cda0b673d7a2a43849f17a",
)

# Key -> two values (None: unset), and a spec in which it has a say.
CHANGES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "name": ("case", "other", BASE),
    "seed": (1, 2, BASE),
    "deterministic": (False, True, BASE),
    "vendor_runtime": (False, True, BASE),
    "model.base": ("acme/one", "acme/two", merged(BASE, {"model": {"chat_template": "chatml"}})),
    "model.source": ("package", "hub", BASE),
    "model.revision": (COMMITS[0], COMMITS[1], QLORA),
    "model.dtype": ("float16", "bfloat16", QLORA),
    "model.attention": ("sdpa", "eager", BASE),
    "model.chat_template": ("chatml", "llama3", BASE),
    "model.date": ("2026-01-31", "2026-02-28", DATED),
    "model.max_seq_length": (64, 128, BASE),
    "model.rope_scaling.type": ("linear", "yarn", LONG),
    "model.rope_scaling.factor": (2.0, 4.0, LONG),
    "model.rope_scaling.original_max_position": (4096, 8192, YARN),
    "model.rope_scaling.attention_factor": (None, 1.5, YARN),
    "model.rope_scaling.beta_fast": (32.0, 16.0, YARN),
    "model.rope_scaling.beta_slow": (1.0, 2.0, YARN),
    "model.rope_scaling.low_freq_factor": (1.0, 2.0, LLAMA3),
    "model.rope_scaling.high_freq_factor": (4.0, 8.0, LLAMA3),
    "model.trust_remote_code": (False, True, QLORA),
    "model.allow_pickle": (False, True, QLORA),
    "model.gradient_checkpointing": (False, True, BASE),
    "model.fused_kernels": ("auto", "none", BASE),
    "method.kind": ("full", "lora", BASE),
    "method.rank": (4, 8, BASE),
    "method.alpha": (4, 8, BASE),
    "method.dropout": (0.0, 0.1, BASE),
    "method.target_modules": ("all-linear", ["q_proj"], BASE),
    "method.exclude_modules": ([], ["down_proj"], BASE),
    "method.layers_to_transform": ([], [0], BASE),
    "method.rank_pattern.module": ("q_proj", "k_proj", PATTERN),
    "method.rank_pattern.rank": (4, 8, PATTERN),
    "method.rank_pattern.alpha": (None, 8, PATTERN),
    "method.init_lora_weights": ("default", "pissa_niter_4", BASE),
    "method.use_dora": (False, True, BASE),
    "method.use_rslora": (False, True, BASE),
    "method.loraplus_lr_ratio": (None, 16.0, BASE),
    "method.modules_to_save": ([], ["lm_head"], BASE),
    "method.bias": ("none", "all", BASE),
    "method.freeze": ([], ["lm_head"], FULL8),
    "method.neftune_noise_alpha": (None, 5.0, BASE),
    "method.quantization.bits": (4, 8, QLORA),
    "method.quantization.compute_dtype": ("auto", "float16", QLORA),
    "method.quantization.int8_threshold": (6.0, 0.0, EIGHT),
    "method.quantization.type": ("nf4", "fp4", QLORA),
    "method.quantization.double_quant": (True, False, QLORA),
    "data.train.source": ("rows.jsonl", "more.jsonl", BASE),
    "data.train.format": (
        "messages",
        "pretrain",
        merged(BASE, {"data": {"train": [{"source": "more.jsonl", "format": "messages"}]}}),
    ),
    "data.train.revision": (COMMITS[2], COMMITS[3], HUB_ROWS),
    "data.train.subset": ("socratic", "main", HUB_ROWS),
    "data.train.split": (None, "validation", HUB_ROWS),
    "data.train.max_samples": (
        None,
        1,
        merged(BASE, {"data": {"train": [{"source": "more.jsonl", "format": "messages"}]}}),
    ),
    "data.train.weight": (1.0, 0.5, BASE),
    "data.validation.source": ("held_out.jsonl", "more.jsonl", HELD),
    "data.validation.format": (
        "messages",
        "pretrain",
        merged(BASE, {"data": {"validation": [{"source": "more.jsonl", "format": "messages"}]}}),
    ),
    "data.validation.revision": (COMMITS[2], COMMITS[3], HUB_HELD),
    "data.validation.subset": ("socratic", "main", HUB_HELD),
    "data.validation.split": (None, "validation", HUB_HELD),
    "data.validation.max_samples": (None, 1, HELD),
    "data.validation_fraction": (0.1, 0.2, BASE),
    "data.packing": (True, False, BASE),
    "data.group_by_length": (False, True, merged(BASE, {"data": {"packing": False}})),
    "data.max_dropped_fraction": (None, 0.0, BASE),
    "data.max_truncated_fraction": (
        0.0,
        0.1,
        merged(BASE, {"data": {"on_overlong": "truncate"}}),
    ),
    "data.on_overlong": ("drop", "error", BASE),
    "data.loss_on": ("assistant", "all", BASE),
    "optim.optimizer": ("adamw", "lion", BASE),
    "optim.learning_rate": (1e-4, 2e-4, BASE),
    "optim.betas": ([0.9, 0.95], [0.9, 0.999], BASE),
    "optim.eps": (1e-8, 1e-6, BASE),
    "optim.weight_decay": (0.0, 0.1, BASE),
    "optim.max_grad_norm": (1.0, 0.5, BASE),
    "optim.lr_scheduler": ("cosine", "linear", BASE),
    "optim.warmup_ratio": (0.1, 0.2, BASE),
    "optim.warmup_steps": (5, 10, BASE),
    "optim.decay_ratio": (0.1, 0.2, merged(BASE, WSD)),
    "optim.min_lr_ratio": (0.1, 0.2, BASE),
    "train.num_epochs": (1, 2, BASE),
    "train.max_steps": (10, 20, BASE),
    "train.global_batch_size": (8, 16, BASE),
    "train.grad_accum_dtype": ("float32", "model", QLORA),
    "train.micro_batch_size": (1, 2, BASE),
    "train.log_every": (1, 2, BASE),
    "train.save_every": (10, 20, BASE),
    "train.keep_checkpoints": (1, 2, BASE),
    "train.eval_every": (10, 20, HELD),
    "train.keep_best": (False, True, HELD),
    "train.early_stopping_patience": (2, 3, HELD),
    "hardware.device": ("cpu", "cuda", BASE),
    "hardware.accelerator": ("A100-80G", "V100-32G", QLORA),
    "hardware.peak_tflops": (0.2, 0.4, BASE),
    "hardware.nodes": (1, 2, QLORA),
    "hardware.devices_per_node": (1, 2, QLORA),
    "parallel.zero_stage": (1, 2, FULL8),
    "parallel.sequence_parallel_size": (1, 2, FULL8),
    "parallel.offload_optimizer": (False, True, FULL8),
    "parallel.offload_params": (False, True, merged(FULL8, {"parallel": {"zero_stage": 3}})),
    "samples.prompts": (["Hi"], ["Ho"], ASKS),
    "samples.every": (None, 10, ASKS),
    "samples.at_checkpoints": (False, True, ASKS),
    "samples.system": (None, "Be brief.", ASKS),
    "samples.max_new_tokens": (8, 16, ASKS),
    "tracking.trackers": (["tensorboard"], ["wandb"], TRACKED),
    "tracking.project": ("one", "two", TRACKED),
    "tracking.run_name": (None, "other", TRACKED),
    "tracking.online": (False, True, TRACKED),
    "export.merge": (True, False, BASE),
    "export.max_shard_size": ("1GB", "2GB", BASE),
    "chat.system": (None, "Be brief.", BASE),
    "chat.max_new_tokens": (8, 16, BASE),
    "chat.temperature": (0.0, 0.5, BASE),
    "chat.top_p": (1.0, 0.9, DRAWS),
    "chat.repetition_penalty": (1.0, 1.1, BASE),
    "deploy.engine": ("transformers", "lmdeploy", QLORA),
    "deploy.host": ("127.0.0.1", "0.0.0.0", BASE),
    "deploy.port": (1000, 2000, BASE),
    "deploy.session_len": (4096, 8192, QLORA),
    "deploy.model_name": (None, "other", BASE),
    "deploy.api_key_env": (None, "API_KEY", BASE),
}
NEEDS = {"hardware.device": {"cuda": {"hardware": {"accelerator": "A100-80G"}}}}


def leaves(model: Any = Spec, path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = list(models_in(field.annotation))
        for table in inner:
            yield from leaves(table, f"{path}{name}.")
        if not inner:
            yield f"{path}{name}"


def put(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *tables, key = path.split(".")
    patch: dict[str, Any] = {key: value}
    items = data.get(tables[0], {}).get(tables[1]) if len(tables) == 2 else None
    if isinstance(items, list):  # of which the first is meant
        patch = {k: v for k, v in {**items[0], **patch}.items() if v is not None}
        return merged(data, {tables[0]: {tables[1]: [patch]}})
    for table in reversed(tables):
        patch = {table: patch}
    return merged(data, patch, NEEDS.get(path, {}).get(value, {}) if isinstance(value, str) else {})
