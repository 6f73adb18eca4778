"""Rules about where the weights come from, and that they stay what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..catalog.hubs import repository
from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..diagnostics.secrets import SECRET, mask
from ..document.at import at, on_span
from ..document.load import Document
from ..facts.gather import Facts, modelscope_id
from ..spec.data import Source
from ..spec.model import Model
from ..spec.spec import Spec
from .rule import BASE, Rule, conflict

REVISION: KeyPath = ("model", "revision")
COMMIT = re.compile(r"[0-9a-fA-F]{40}\Z")  # branches and tags move; what is shorter may be one


def weights_have_a_source(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """`source` chooses where a preset's weights come from."""
    model, preset, path = spec.model, facts.preset, ("model", "source")
    others = [(BASE, f'base is "{model.base}"')]
    if model.source is not None and (preset is None or modelscope_id(model.base)):
        yield conflict(
            document,
            path,
            f"`source` is for presets, and {model.base} is not one: it names its own weights",
            others=others,
            hints=["remove model.source"],
        )
    elif model.source == "package" and preset is not None and preset.package is None:
        yield at(
            document,
            path,
            "no-package",
            f"no package carries the weights of {model.base}",
            on="value",
            others=others,
            hints=['set source = "hub"', "or remove it: the Hub is where they come from"],
        )


def model_is_pinned(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A model of the Hub has a revision, and no other has."""
    model, preset = spec.model, facts.preset
    packaged = preset is not None and preset.package is not None and model.source != "hub"
    on_hub = not packaged and facts.local_model is None
    broken = any(problem.code in ("unknown-model", "bad-model") for problem in facts.problems)
    if model.revision is not None and not on_hub:
        where = "a package, pinned by its hash" if packaged else "a local folder"
        yield conflict(
            document,
            REVISION,
            f"`revision` is for models of the Hub, and {model.base} comes from {where}",
            others=[(BASE, f'base is "{model.base}"')],
            hints=["remove model.revision", *(['or set source = "hub"'] if packaged else [])],
        )
    elif on_hub and not broken:
        other = modelscope_id(model.base) is not None
        address = repository(preset.hub_id if preset and not other else model.base)
        yield from unpinned(document, ("model",), "base", model, "[model]", address)


def unpinned(
    document: Document, path: KeyPath, key: str, pinned: Source | Model, table: str, address: str
) -> Iterator[Diagnostic]:
    """The warning where `pinned`, the table at `path`, names (with `key`) what may change at `address`."""
    name, revision = getattr(pinned, key), pinned.revision
    if revision is not None and COMMIT.match(revision):
        return
    site = "ModelScope" if modelscope_id(name) else "the Hub"
    message = f"{name} has no `revision`, so it is whatever {site} has on the day"
    if revision is not None:
        message = f'the revision "{revision}" of {name} is no commit in full, so it may move'
    yield at(
        document,
        (*path, key if revision is None else "revision"),
        "unpinned",
        message,
        on="value",
        why="two runs of this spec may differ, and nobody would be told",
        hints=[
            f"set revision in {table} to a commit (40 hexadecimal digits)",
            f"this prints the newest: git ls-remote {address} HEAD",
        ],
        severity="warning",
    )


def no_secret(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A spec, with its comments, is copied into the run and committed with it."""
    for match in SECRET.finditer(document.source):
        yield on_span(
            document,
            document.span(*match.span()),
            "secret-in-spec",
            f"this looks like a secret ({mask(match[0])[:8]}), and a spec is no place for one",
            notes=["a spec is copied into its run and committed with it"],
            hints=[
                "keep it in an environment variable, such as HF_TOKEN",
                "and revoke it, if this file was ever shared",
            ],
        )


RULES: tuple[Rule, ...] = (weights_have_a_source, model_is_pinned, no_secret)
