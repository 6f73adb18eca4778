"""Rotary positions stretched over a longer context than a base model was made for."""

from typing import Any

from transformers import AutoConfig

from ..errors import RunError


def scaled(base: str, scaling: dict[str, Any], max_position: int, **settings: Any) -> Any:
    """The base's config with the rope parameters of `scaling` (transformers.modeling_rope_utils).

    `settings` go to AutoConfig.from_pretrained. Raises RunError for a base without one set of plain rotary
    positions: one whose positions are stretched already, that has other ones, or several kinds of them.
    """
    config = AutoConfig.from_pretrained(base, **settings)
    parameters = getattr(config, "rope_parameters", None) or {}
    if parameters.get("rope_type") != "default":
        kind = parameters.get("rope_type") or "several or other positions"
        raise RunError(
            "rope-scaled-already",
            f"[model.rope_scaling] is for plain rotary positions, and {base} has {kind}",
            "remove [model.rope_scaling]",
            "or choose a base whose positions are not stretched",
        )
    config.rope_parameters = {**parameters, **scaling}
    config.max_position_embeddings = max_position
    config.validate_rope()
    return config
