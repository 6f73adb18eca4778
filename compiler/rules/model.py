"""Rules about [model]: how long a context, and what its attention needs."""

from __future__ import annotations

from collections.abc import Iterator

from ..catalog.architectures import MODEL_TYPES
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.at import at
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.method import Qlora
from ..spec.model import ROPE_KEYS, RopeScaling
from ..spec.spec import Spec
from .rule import BASE, Rule, conflict

LENGTH: KeyPath = ("model", "max_seq_length")
ROPE: KeyPath = ("model", "rope_scaling")


def _original(spec: Spec, facts: Facts) -> int | None:
    """Positions of the base as it is."""
    known = facts.architecture.max_position if facts.architecture else None
    scaling = spec.model.rope_scaling
    return (scaling.original_max_position if scaling else None) or known


def length_fits_model(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """No position beyond those that the model knows, as they are or stretched."""
    original, length, scaling = (
        _original(spec, facts),
        spec.model.max_seq_length,
        spec.model.rope_scaling,
    )
    if original is None or length <= original * (scaling.factor if scaling else 1):
        return
    factor = -(-length // original)
    path = LENGTH if document.key(LENGTH) else BASE
    limit = int(original * (scaling.factor if scaling else 1))
    stretched = facts.architecture is not None and facts.architecture.rope is not None
    longer = (
        f"or set factor in [model.rope_scaling] to {factor}"
        if scaling
        else f'or stretch its positions: [model.rope_scaling] with type = "yarn" and factor = {factor}.0'
    )
    yield at(
        document,
        path,
        "too-long-for-model",
        f"sequences of {length} tokens are longer than {spec.model.base} can take: {limit}",
        on="value",
        why="beyond the positions that a model was made for, its output is noise",
        others=[((*ROPE, "factor"), f"{original} positions x {scaling.factor:g}")]
        if scaling
        else [],
        hints=[
            f"set max_seq_length to {limit} or less",
            *([] if stretched else [longer]),
            "or choose a base with more positions",
        ],
    )


def rope_is_known(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Positions are stretched from a known length, and once."""
    scaling, known = spec.model.rope_scaling, facts.architecture
    if scaling is None:
        return
    if _original(spec, facts) is None:
        yield at(
            document,
            ROPE,
            "missing-key",
            "[model.rope_scaling] has no `original_max_position`, which it needs here",
            why=f"ftc does not know how many positions {spec.model.base} has",
            hints=["set it to max_position_embeddings in the base's config.json"],
        )
    if known and known.rope and known.rope != "default":
        yield conflict(
            document,
            ROPE,
            f"the positions of {spec.model.base} are no plain rotary ones ({known.rope})",
            why="what is stretched already can't be stretched again",
            others=[(BASE, f'base is "{spec.model.base}"')],
            hints=["remove [model.rope_scaling]", "or choose another base"],
        )


def rope_keys_fit(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Keys that are about another type, and bounds in their order."""
    scaling = spec.model.rope_scaling
    if scaling is None:
        return
    for kind, keys in ROPE_KEYS.items():
        for key in keys:
            if kind != scaling.type and document.key((*ROPE, key)):
                yield conflict(
                    document,
                    (*ROPE, key),
                    f"`{key}` is for {kind}, and this is {scaling.type}",
                    others=[((*ROPE, "type"), f'type is "{scaling.type}"')],
                    hints=[f"remove {key}", f'or set type = "{kind}"'],
                )
    for low, high in (("beta_slow", "beta_fast"), ("low_freq_factor", "high_freq_factor")):
        yield from _in_order(scaling, low, high, document)


def _in_order(
    scaling: RopeScaling, low: str, high: str, document: Document
) -> Iterator[Diagnostic]:
    below, above = getattr(scaling, low), getattr(scaling, high)
    if below >= above:
        yield at(
            document,
            (*ROPE, low) if document.key((*ROPE, low)) else (*ROPE, high),
            "out-of-range",
            f"`{low}` must be less than `{high}`: {below:g} and {above:g}",
            on="value",
            hints=[f"leave both out for the usual ones: {_default(low)} and {_default(high)}"],
        )


def _default(key: str) -> str:
    return f"{RopeScaling.model_fields[key].default:g}"


def dynamic_is_alone(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Dynamic scaling follows the longest sample of a row, so each must have a row of its own."""
    scaling = spec.model.rope_scaling
    if scaling is not None and scaling.type == "dynamic":
        what = "dynamic scaling needs each sample in a row of its own"
        why = "it depends on the longest sample of a row"
        yield from _alone(spec, document, (*ROPE, "type"), what, why, ['set type = "yarn"'])


def session_fits_model(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """The server keeps to the positions that the model has, stretched as in training."""
    original, asked, scaling = (
        _original(spec, facts),
        spec.deploy.session_len,
        spec.model.rope_scaling,
    )
    limit = int(original * (scaling.factor if scaling else 1)) if original else None
    if limit and asked and asked > limit:
        yield at(
            document,
            ("deploy", "session_len"),
            "too-long-for-model",
            f"conversations of {asked} tokens are longer than {spec.model.base} can take: {limit}",
            on="value",
            hints=[
                f"set session_len to {limit} or less",
                "or remove it: the server takes the longest",
            ],
        )


def samples_may_share_rows(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """With some architectures, samples that share a row see each other."""
    if facts.traits.alone:
        what = f"{spec.model.base} is a {facts.model_type}, which needs each sample in a row of its own"
        why = "in transformers, samples that share a row of it would see each other"
        yield from _alone(spec, document, BASE, what, why, [])


def rows_fit_model(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Some architectures compute otherwise, or not at all, behind so many tokens of a row."""
    known, length = facts.architecture, spec.model.max_seq_length
    if known is None:
        return
    limit = facts.traits.row_limit
    limit = known.max_position if limit == "max_position" else limit
    micro = spec.train.micro_batch_size
    if limit and length * micro > limit:
        what = f"a row of {length * micro} tokens is too long for a {known.model_type}: {limit}"
        why = "transformers counts its tokens from the start of the row, not of a sample"
        fits = limit // length
        hints = [f"set train.micro_batch_size to {fits}{' or less' * (fits > 1)}"] if fits else []
        path = LENGTH if document.key(LENGTH) else BASE
        yield from _alone(spec, document, path, what, why, hints)


def _alone(
    spec: Spec, document: Document, path: KeyPath, what: str, why: str, hints: list[str]
) -> Iterator[Diagnostic]:
    packing, micro = spec.data.packing, spec.train.micro_batch_size
    if not packing and micro == 1:
        return
    several = f"micro_batch_size is {micro}"
    way = "data.packing = false" * packing + " and " * (packing and micro > 1)
    way += "train.micro_batch_size = 1" * (micro > 1)
    yield conflict(
        document,
        path,
        what,
        on="value",
        why=f"{why}, and {'packing is on' if packing else several}",
        others=[(("data", "packing"), "packing is on")] * packing
        + [(("train", "micro_batch_size"), several)] * (micro > 1),
        hints=[*hints, f"{'or ' if hints else ''}set {way}"],
    )


def kernels_fit(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """Liger's kernels run on GPUs, for the architectures that it knows."""
    if spec.model.fused_kernels != "liger":
        return
    path: KeyPath = ("model", "fused_kernels")
    known = facts.architecture
    if spec.hardware.device == "cpu":
        yield at(
            document,
            path,
            "kernels-not-supported",
            "Liger's kernels run on GPUs, and the target is a CPU",
            on="value",
            others=[(("hardware", "device"), 'device is "cpu"')],
            hints=['leave it to fused_kernels = "auto"'],
        )
    elif not facts.traits.liger:
        others = sorted(kind for kind, row in MODEL_TYPES.items() if row.liger)
        what = (
            f"is a {known.model_type}" if known else "is of an architecture that ftc doesn't know"
        )
        yield at(
            document,
            path,
            "kernels-not-supported",
            f"{spec.model.base} {what}, and Liger has kernels for {len(others)} others",
            on="value",
            hints=[
                'leave it to fused_kernels = "auto"',
                f"or take a model of one of these types: {', '.join(others)}",
            ],
        )


def can_be_quantized(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """QLoRA packs the weights of linear layers."""
    if isinstance(spec.method, Qlora) and not facts.traits.quantizable:
        yield conflict(
            document,
            ("method", "kind"),
            f"{spec.model.base} can't be quantized: it is a {facts.model_type}",
            on="value",
            why="this architecture reads some weights itself, which bitsandbytes would have packed",
            hints=['set kind = "lora"'],
        )


RULES: tuple[Rule, ...] = (
    length_fits_model,
    rope_is_known,
    rope_keys_fit,
    dynamic_is_alone,
    session_fits_model,
    samples_may_share_rows,
    rows_fit_model,
    kernels_fit,
    can_be_quantized,
)
