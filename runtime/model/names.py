"""Modules and weights chosen by name. A name that matches nothing is an error, never passed over."""

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from ..errors import RunError


def freeze(model: Any, patterns: Sequence[str]) -> None:
    """Freezes each parameter that a pattern names, or that belongs to a module that one names.

    Patterns are those of fnmatch: `*` stands for any text, dots too, `?` for a character, `[0-7]` for one of
    these. A weight with two names (a tied head) is frozen by either. Raises RunError for a pattern that
    matches nothing, and if nothing is left to train.
    """
    parameters = list(model.named_parameters(remove_duplicate=False))
    for pattern in patterns:
        matched = [parameter for name, parameter in parameters if matches(name, pattern)]
        if not matched:
            names = sorted({end for name, _ in parameters for end in ends(name)})
            near = difflib.get_close_matches(pattern, names, n=3)
            raise RunError(
                "unknown-module",
                f'method.freeze: "{pattern}" matches nothing in this model',
                f"the nearest names: {', '.join(near)}"
                if near
                else f"it has {', '.join(names[:8])}",
            )
        for parameter in matched:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for _, parameter in parameters):
        raise RunError(
            "nothing-to-train", "method.freeze covers every weight", "freeze less of the model"
        )


def ends(name: str) -> list[str]:
    """A parameter's name and those of the modules that hold it: a.b.c -> a, a.b, a.b.c."""
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def matches(name: str, pattern: str) -> bool:
    """Whether the pattern names the parameter, or a module that holds it."""
    return any(fnmatchcase(end, pattern) for end in ends(name))


def unknown(key: str, name: str, names: set[str]) -> RunError:
    """The error of a name that none of the full `names` ends with."""
    count = name.count(".") + 1
    names = {".".join(full.split(".")[-count:]) for full in names}
    near = difflib.get_close_matches(name, sorted(names), n=3)
    known = ", ".join(near or [name for name in sorted(names) if not name.isdigit()][:8])
    return RunError(
        "unknown-module",
        f'method.{key}: "{name}" matches nothing in this model',
        f"the nearest names: {known}" if near else f"it has {known}, ...",
    )
