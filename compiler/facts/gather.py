"""Spec -> Facts: what the compiler looks up outside the spec. The only I/O between load and write.

Facts come from files that the spec names and from presets; never from the network, and never from
the state of the machine, so that the same spec and files give the same run anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..catalog.architectures import ModelType, traits
from ..catalog.presets import Architecture, ModelPreset
from ..diagnostics.diagnostic import Diagnostic
from ..document.load import Document
from ..spec.data import Source
from ..spec.keys import Refused
from ..spec.spec import Spec
from .chat_template import Unknown, chat_template
from .data import DataFile, RowFormat, is_file, is_hub_id, look_up, modelscope_id
from .model import LocalModel, model_facts, weight_problems

__all__ = ["DataFile", "Facts", "LocalModel", "gather", "is_file", "is_hub_id", "modelscope_id"]

LOADER = "AutoModelForCausalLM"  # transformers' loader of causal language models


class Facts(NamedTuple):
    """`files` and `formats`: of the sources by key path, as in ("train", 0).

    `problems`: what was wrong with what was found.
    """

    preset: ModelPreset | None
    local_model: LocalModel | None
    architecture: Architecture | None
    template_name: str | None
    template: str | None
    files: dict[tuple[str, int], DataFile]
    formats: dict[tuple[str, int], RowFormat]
    problems: tuple[Diagnostic, ...]

    @property
    def model_type(self) -> str:
        """transformers' name for the architecture of the base; "" where it is not known."""
        return self.architecture.model_type if self.architecture else ""

    @property
    def traits(self) -> ModelType:
        """What the catalog says of that type."""
        return traits(self.model_type)

    def format(self, group: str, index: int, source: Source) -> str:
        """The name of a source's format, as far as it is known."""
        found = self.formats.get((group, index))
        return found.name if found else source.format

    def hub_id(self, spec: Spec) -> str | None:
        """The `owner/name` of a base without a preset that is fetched; None of another."""
        if self.preset or self.local_model:
            return None
        base = modelscope_id(spec.model.base) or spec.model.base
        return base if is_hub_id(base) else None

    def runs_own_code(self, spec: Spec) -> bool:
        """Whether the base is loaded by code that lies beside its weights."""
        local = self.local_model
        return bool(spec.model.trust_remote_code and local and LOADER in local.code)

    def copied(self) -> Iterator[tuple[CopyKey, Path, bytes]]:
        """The files that the run carries a copy of: where the spec names each, its path and content."""
        for (group, index), file in self.files.items():
            for number, part in enumerate(file.parts or (file,)):
                if part.content is not None:
                    key = f"source{number}" if file.parts else "source"
                    yield (group, index, key), part.path, part.content
        for (group, index), found in self.formats.items():
            if found.code is not None:
                yield (group, index, "format"), found.code.path, found.code.content


CopyKey = tuple[str, int, str]  # as in ("train", 0, "source")


def gather(spec: Spec, document: Document) -> Facts:
    """Looks up all that `spec` refers to; relative paths are relative to the spec's folder."""
    problems: list[Diagnostic] = []
    preset, local, architecture = None, None, None
    name, template = None, None
    base_known = False
    with suppress(Refused):
        try:
            preset, local, architecture = model_facts(spec, document)
            base_known = True
            problems += weight_problems(spec, local, document)
        except Unknown as problem:
            problems.append(problem.diagnostic)
    with suppress(Refused):
        try:
            if base_known or spec.model.chat_template != "model":
                name, template = chat_template(spec, document, preset, local and local.path)
        except Unknown as problem:
            problems.append(problem.diagnostic)
    files: dict[tuple[str, int], DataFile] = {}
    formats: dict[tuple[str, int], RowFormat] = {}
    for group in ("train", "validation"):
        with suppress(Refused):
            for index, source in spec.data.each(group):
                with suppress(Refused):
                    file, found, problem = look_up(source, ("data", group, index), document)
                    files |= {(group, index): file} if file else {}
                    formats |= {(group, index): found} if found else {}
                    problems += [problem] if problem else []
    return Facts(preset, local, architecture, name, template, files, formats, tuple(problems))
