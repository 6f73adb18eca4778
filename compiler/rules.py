"""What keys mean together: one named function for each rule. They judge and change nothing.

A rule takes the spec, the facts and the document (for places) and yields diagnostics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .diagnostics import Diagnostic, at, nearest
from .facts import Facts, is_file
from .load import Document
from .presets import ACCELERATORS
from .spec import Full, Lora, Qlora, Spec

Rule = Callable[[Spec, Facts, Document], Iterator[Diagnostic]]


def batch_divides(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """global_batch_size = devices x micro_batch_size x accumulation, all of them whole."""
    world = spec.hardware.nodes * spec.hardware.devices_per_node
    micro, total = spec.train.micro_batch_size, spec.train.global_batch_size
    unit = world * micro
    if total % unit == 0:
        return
    below, above = total // unit * unit, (total // unit + 1) * unit
    choices = " or ".join(str(size) for size in (below, above) if size)
    divisors = [d for d in range(micro, 0, -1) if total % (world * d) == 0]
    hints = [f"train.global_batch_size = {choices}"]
    hints += [f"train.micro_batch_size = {divisors[0]}"] if divisors else []
    yield at(
        document,
        ("train", "global_batch_size"),
        "batch-arithmetic",
        f"a global batch of {total} can't be shared by {world} devices x {micro} sequences "
        f"a micro-batch (= {unit})",
        on="value",
        hints=hints,
        notes=[
            (("train", "micro_batch_size"), f"micro_batch_size is {micro}"),
            (
                ("hardware", "devices_per_node"),
                f"devices_per_node is {spec.hardware.devices_per_node}",
            ),
            (("hardware", "nodes"), f"nodes is {spec.hardware.nodes}"),
        ],
    )


def one_length(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    if spec.train.num_epochs is not None and spec.train.max_steps is not None:
        yield _conflict(document, ("train", "max_steps"), ("train", "num_epochs"))


def one_warmup(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    if spec.optim.warmup_steps is not None and spec.optim.warmup_ratio is not None:
        yield _conflict(document, ("optim", "warmup_steps"), ("optim", "warmup_ratio"))
    steps, limit = spec.optim.warmup_steps, spec.train.max_steps
    if steps is not None and limit is not None and steps >= limit:
        yield at(
            document,
            ("optim", "warmup_steps"),
            "warmup-too-long",
            f"{steps} steps of warm-up leave none of the {limit} steps to train at full rate",
            on="value",
            notes=[(("train", "max_steps"), f"max_steps is {limit}")],
        )


def one_validation(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    if spec.data.validation and spec.data.validation_fraction:
        yield _conflict(document, ("data", "validation_fraction"), ("data", "validation"))


def schedule_has_floor(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    if spec.optim.lr_scheduler == "constant" and spec.optim.min_lr_ratio:
        yield at(
            document,
            ("optim", "min_lr_ratio"),
            "conflict",
            "a constant learning rate never falls to `optim.min_lr_ratio`",
            notes=[(("optim", "lr_scheduler"), 'lr_scheduler is "constant"')],
            hints=["remove min_lr_ratio", 'or choose lr_scheduler = "cosine" or "linear"'],
        )


def length_fits_model(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    limit = facts.architecture.max_position if facts.architecture else None
    if limit is not None and spec.model.max_seq_length > limit:
        yield at(
            document,
            ("model", "max_seq_length"),
            "too-long-for-model",
            f"{spec.model.max_seq_length} tokens are more than the {limit} positions of {spec.model.base}",
            on="value",
            hints=[f"max_seq_length = {limit} or less"],
        )


def accelerator_known(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The compile target must be known: dtype and attention follow from it."""
    name, path = spec.hardware.accelerator, ("hardware", "accelerator")
    if spec.hardware.device == "cpu":
        if name is not None:
            yield at(
                document,
                path,
                "conflict",
                "a CPU run has no accelerator",
                notes=[(("hardware", "device"), 'device is "cpu"')],
                hints=["remove hardware.accelerator", 'or set hardware.device = "cuda"'],
            )
        return
    known = ", ".join(ACCELERATORS)
    if name is None:
        message = 'device = "cuda" needs `hardware.accelerator`: dtype and attention follow from it'
        yield at(document, path, "missing-key", message, hints=[f"one of {known}"])
    elif name not in ACCELERATORS:
        guess = nearest(name, ACCELERATORS)
        hints = [f'did you mean "{guess}"?'] if guess else [f"known: {known}"]
        message = f'`hardware.accelerator` "{name}" is not known'
        yield at(document, path, "unknown-value", message, on="value", hints=hints)


def dtype_fits_hardware(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    dtype, device = spec.model.dtype, spec.hardware.device
    accelerator = ACCELERATORS.get(spec.hardware.accelerator or "")
    if device == "cuda" and dtype == "bfloat16" and accelerator and not accelerator.bfloat16:
        yield at(
            document,
            ("model", "dtype"),
            "dtype-not-supported",
            f"{spec.hardware.accelerator} does not compute in bfloat16",
            on="value",
            notes=[(("hardware", "accelerator"), f"accelerator is {spec.hardware.accelerator}")],
            hints=['dtype = "float16"', 'or leave it to dtype = "auto"'],
        )
    if device == "cpu" and dtype == "float16":
        yield at(
            document,
            ("model", "dtype"),
            "dtype-not-supported",
            "a CPU does not train in float16",
            on="value",
            notes=[(("hardware", "device"), 'device is "cpu"')],
            hints=['dtype = "float32"'],
        )


def attention_fits_hardware(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    accelerator = ACCELERATORS.get(spec.hardware.accelerator or "")
    flash = spec.model.attention == "flash_attention_2"
    target = spec.hardware.accelerator or "a CPU"
    if flash and (spec.hardware.device == "cpu" or (accelerator and not accelerator.bfloat16)):
        yield at(
            document,
            ("model", "attention"),
            "attention-not-supported",
            f"flash_attention_2 needs an Ampere GPU or newer; the target is {target}",
            on="value",
            hints=['attention = "segment_sdpa"', 'or leave it to attention = "auto"'],
        )
    if flash and spec.model.dtype == "float32":
        yield at(
            document,
            ("model", "attention"),
            "attention-not-supported",
            "flash_attention_2 computes in bfloat16 or float16 only",
            on="value",
            notes=[(("model", "dtype"), 'dtype is "float32"')],
            hints=['dtype = "bfloat16"', 'or attention = "segment_sdpa"'],
        )


def zero_fits_method(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """What DeepSpeed can share and offload, at which stage."""
    parallel, cpu = spec.parallel, spec.hardware.device == "cpu"
    stage = parallel.zero_stage
    if stage == 3 and isinstance(spec.method, Qlora):
        yield at(
            document,
            ("parallel", "zero_stage"),
            "zero-stage",
            "ZeRO stage 3 shares out the base's weights, and 4-bit weights can't be shared out",
            on="value",
            notes=[(("method", "kind"), 'kind is "qlora"')],
            hints=["zero_stage = 2", 'or kind = "lora"'],
        )
    if parallel.offload_params and stage != 3:
        yield at(
            document,
            ("parallel", "offload_params"),
            "zero-stage",
            "only ZeRO stage 3 can offload parameters",
            notes=[(("parallel", "zero_stage"), f"zero_stage is {stage}")],
            hints=["zero_stage = 3", "or offload_params = false"],
        )
    if parallel.offload_optimizer and stage == 0:
        yield at(
            document,
            ("parallel", "offload_optimizer"),
            "zero-stage",
            "only ZeRO stages 1 to 3 can offload the optimizer",
            notes=[(("parallel", "zero_stage"), "zero_stage is 0")],
            hints=["zero_stage = 2", "or offload_optimizer = false"],
        )
    for key in ("offload_optimizer", "offload_params"):
        if cpu and getattr(parallel, key):
            yield at(
                document,
                ("parallel", key),
                "conflict",
                "a CPU run has everything in the host's memory already",
                notes=[(("hardware", "device"), 'device is "cpu"')],
                hints=[f"remove parallel.{key}"],
            )


def targets_exist(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Every name in target_modules is a linear layer of the architecture."""
    linears = facts.architecture.linears if facts.architecture else None
    if (
        not isinstance(spec.method, Lora)
        or spec.method.target_modules == "all-linear"
        or not linears
    ):
        return
    for index, name in enumerate(spec.method.target_modules):
        if name not in linears:
            guess = nearest(name, linears)
            hints = [f'did you mean "{guess}"?'] if guess else []
            yield at(
                document,
                ("method", "target_modules", index),
                "unknown-module",
                f"{spec.model.base} has no linear layer `{name}`",
                on="value",
                hints=[*hints, f"it has {', '.join(linears)}"],
            )


def source_keys_fit(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """revision, subset and split are for the Hub; a Hub id should be pinned."""
    for group, sources in (("train", spec.data.train), ("validation", spec.data.validation)):
        for index, source in enumerate(sources):
            path = ("data", group, index)
            for key in ("revision", "subset", "split"):
                if is_file(source.source) and getattr(source, key) is not None:
                    yield at(
                        document,
                        (*path, key),
                        "conflict",
                        f"`{key}` is for data sets of the Hub; {source.source} is a file",
                        hints=[f"remove {key}"],
                    )
            if not is_file(source.source) and source.revision is None:
                yield _unpinned(document, (*path, "source"), source.source)


def model_source_fits(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    model, preset = spec.model, facts.preset
    if model.source is not None and preset is None:
        yield at(
            document,
            ("model", "source"),
            "conflict",
            f"`source` chooses where a preset comes from; {model.base} is no preset",
            hints=["remove model.source"],
        )
    elif model.source == "package" and preset is not None and preset.package is None:
        message = f"no package carries the weights of {model.base}"
        yield at(
            document,
            ("model", "source"),
            "no-package",
            message,
            on="value",
            hints=['source = "hub"'],
        )
    packaged = preset is not None and preset.package is not None and model.source != "hub"
    if model.revision is not None and (packaged or facts.local_model):
        yield at(
            document,
            ("model", "revision"),
            "conflict",
            "`revision` is for models of the Hub",
            hints=["remove model.revision", *(['or set source = "hub"'] if packaged else [])],
        )
    elif model.revision is None and not packaged and facts.local_model is None:
        yield _unpinned(document, ("model", "base"), model.base)


def validation_is_used(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """eval_every without anything to evaluate would be a dead key."""
    given = document.data.get("train", {})
    if "eval_every" in given and not spec.data.validation and not spec.data.validation_fraction:
        yield at(
            document,
            ("train", "eval_every"),
            "nothing-to-evaluate",
            "there is no validation data to evaluate on",
            hints=[
                "set data.validation_fraction or [[data.validation]]",
                "or remove train.eval_every",
            ],
        )


def full_is_merged(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    if isinstance(spec.method, Full) and "merge" in document.data.get("export", {}):
        yield at(
            document,
            ("export", "merge"),
            "conflict",
            "full fine-tuning has no adapter to merge",
            notes=[(("method", "kind"), 'kind is "full"')],
            hints=["remove export.merge"],
        )


def deploy_can_serve(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    if spec.deploy.engine == "lmdeploy" and spec.hardware.device == "cpu":
        yield at(
            document,
            ("deploy", "engine"),
            "engine-not-supported",
            "lmdeploy serves on GPUs only",
            on="value",
            notes=[(("hardware", "device"), 'device is "cpu"')],
            hints=['engine = "transformers"', 'or leave it to engine = "auto"'],
        )


SECRETS = ("hf_", "sk-", "ghp_", "github_pat_", "glpat-", "AKIA")


def no_secret(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A spec is copied into the run and committed with it."""

    def texts(
        value: object, path: tuple[str | int, ...]
    ) -> Iterator[tuple[tuple[str | int, ...], str]]:
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, dict):
            for key, inner in value.items():  # pyright: ignore
                yield from texts(inner, (*path, str(key)))  # pyright: ignore
        elif isinstance(value, list):
            for index, inner in enumerate(value):  # pyright: ignore
                yield from texts(inner, (*path, index))

    for path, text in texts(document.data, ()):
        for word in text.split():
            if (
                word.startswith(SECRETS)
                and len(word) >= 20
                and word.replace("_", "").replace("-", "").isalnum()
            ):
                yield at(
                    document,
                    path,
                    "secret-in-spec",
                    f"this looks like a secret ({word[:4]}...), and a spec is committed with its run",
                    on="value",
                    hints=["keep it in an environment variable, and revoke it if it was shared"],
                )


def _conflict(document: Document, one: tuple[str, str], other: tuple[str, str]) -> Diagnostic:
    return at(
        document,
        one,
        "conflict",
        f"`{'.'.join(one)}` and `{'.'.join(other)}` say the same thing twice",
        notes=[(other, f"`{other[1]}` is set here")],
        hints=["keep one of them"],
    )


def _unpinned(document: Document, path: tuple[str | int, ...], name: str) -> Diagnostic:
    return at(
        document,
        path,
        "unpinned",
        f"{name} has no revision: what it stands for can change between two runs",
        on="value",
        hints=["set `revision` to a commit of the Hub"],
        severity="warning",
    )


RULES: tuple[Rule, ...] = (
    batch_divides,
    one_length,
    one_warmup,
    one_validation,
    schedule_has_floor,
    length_fits_model,
    accelerator_known,
    dtype_fits_hardware,
    attention_fits_hardware,
    zero_fits_method,
    targets_exist,
    source_keys_fit,
    model_source_fits,
    validation_is_used,
    full_is_merged,
    deploy_can_serve,
    no_secret,
)
