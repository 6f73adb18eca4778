"""`ftc new`: a first spec to go on from, with what a user most often changes spelled out.

What can be told from the rows and from the model's name is chosen, and the line says why. What can't be
told stands there as a choice that is still open.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...runtime.train.duration import about
from ..catalog.accelerators import find_accelerator
from ..catalog.hubs import repository
from ..check.suggestions import fits
from ..diagnostics.diagnostic import CompileError, Diagnostic
from ..diagnostics.snippet import visible
from ..document.load import Document, parse
from ..document.write_toml import toml
from ..estimate.duration import EPOCHS, GOAL
from ..facts.gather import is_file
from ..facts.near_templates import near_template
from ..plan.duration import Duration, duration
from ..plan.plan import Plan
from ..rows.formats import AUTO
from ..spec.keys import dashed
from ..spec.spec import Spec
from .compile import Compiled, compile_document
from .set_values import override

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
BATCHES = (16, 8, 4, 2, 1)
SPARE = 1.25  # what is known of the rows' lengths is an estimate
STAND_IN = "chatml"  # for a template that is still to be chosen, to see whether the rest is right
ALONE = "in this model, samples that share a row would see each other"
UNPACKED = "set data.packing = false"  # the way out of a model in which samples can't share a row


@dataclass(frozen=True)
class Choices:
    """What the spec says; a note on a value stands behind it as a comment."""

    file: Path
    base: str
    method: str
    source: str
    data_format: str
    accelerator: str | None
    template: str | None = None
    template_note: str = ""
    template_open: bool = False
    revision: str | None = None
    address: str | None = None
    date: str | None = None
    attention: str | None = None
    packing: bool = True
    length: int = 1024
    length_note: str = ""
    epochs: int = 3  # 0: the steps are given
    batch: int = 16
    batch_note: str = ""


@dataclass(frozen=True)
class Draft:
    """The text of a spec, what it compiles to, and what deserves a word."""

    text: str
    compiled: Compiled
    warnings: tuple[Diagnostic, ...]


def draft(choices: Choices, settings: Sequence[str]) -> Draft:
    """The first spec for these choices, with `settings` as of --set. Raises CompileError."""
    steps = any(setting.startswith("train.max_steps=") for setting in settings)
    choices = replace(choices, epochs=0 if steps else choices.epochs)
    choices, open_choice = _settled(choices, settings)
    compiled = _compiled(choices, settings)
    choices = _chosen(choices, compiled, settings)
    choices = replace(choices, epochs=0 if steps else choices.epochs)
    compiled = _compiled(choices, settings)
    text = _document(choices, settings, final=True).text
    told = [w for w in compiled.warnings if w.code != "unpinned"]  # a line of the spec says that
    return Draft(text, compiled, (*open_choice, *told))


def _compiled(choices: Choices, settings: Sequence[str]) -> Compiled:
    """What these choices compile to. Raises CompileError with what is wrong, and no warning beside it."""
    try:
        return compile_document(_document(choices, settings))
    except CompileError as error:
        wrong = [problem for problem in error.diagnostics if problem.severity == "error"]
        raise CompileError(wrong) from None


def _settled(choices: Choices, settings: Sequence[str]) -> tuple[Choices, tuple[Diagnostic, ...]]:
    """The choices with what the model asks for, and what of it is still open. Raises CompileError with the
    errors that no choice here mends."""
    try:
        _compiled(choices, settings)
    except CompileError as error:
        errors = error.diagnostics
    else:
        return choices, ()
    no_template = [problem for problem in errors if problem.code == "no-chat-template"]
    packed = [problem for problem in errors if UNPACKED in problem.hints and choices.packing]
    if others := [problem for problem in errors if problem not in (*no_template, *packed)]:
        raise CompileError(others)
    choices = replace(choices, packing=not packed)
    if not no_template:
        return choices, ()
    if guess := near_template(choices.base):
        note = f"{guess.why}: compare it with the model's own"
        return replace(choices, template=guess.template, template_note=note), ()
    choices = replace(choices, template=STAND_IN, template_open=True)
    return choices, tuple(replace(p, severity="warning") for p in no_template)


def _chosen(choices: Choices, compiled: Compiled, settings: Sequence[str]) -> Choices:
    """The choices with what the rows, the model and this machine tell."""
    plan, facts = compiled.plan, compiled.facts
    hub_id = plan.model.hub_id.value if plan.model.hub_id else None
    repo = plan.model.base.value if plan.model.modelscope else hub_id
    gpu = find_accelerator(choices.accelerator)
    flash = gpu is not None and gpu.bfloat16 and facts.traits.can_flash
    choices = replace(
        choices,
        data_format=plan.data.train[0].format.value  # the name says more to who reads the spec
        if choices.data_format == AUTO
        else choices.data_format,
        address=repository(repo) if repo else None,
        revision=cached_revision(hub_id) if hub_id else None,
        date=date.today().isoformat() if plan.model.date else None,
        attention="flash_attention_2" if flash and find_spec("flash_attn") else None,
    )
    found = duration(plan, facts)
    if found is None or not found.longest:
        return choices
    most = facts.architecture.max_position if facts.architecture else None
    fitting = [n for n in LENGTHS if n <= (most or LENGTHS[-1])] or [most or LENGTHS[0]]
    length = next((n for n in fitting if n >= found.longest * SPARE), fitting[-1])
    epochs, batch, steps = _batch(plan, compiled, length)
    return replace(
        choices,
        length=length,
        length_note=f"99% of the rows have about {found.longest} tokens or fewer",
        epochs=epochs,
        batch=batch,
        batch_note=f"about {about(steps, 'step')} in all" if not settings else "",
    )


def _batch(plan: Plan, compiled: Compiled, length: int) -> tuple[int, int, int]:
    """How many epochs of how large a batch make enough steps, and how many: (epochs, batch, steps)."""
    for epochs, batch in [
        *((3, size) for size in BATCHES),
        *((n, 1) for n in range(4, EPOCHS + 1)),
    ]:
        found = _with(plan, compiled, length, epochs, batch)
        if found is not None and found.steps >= GOAL:
            return epochs, batch, found.steps
    found = _with(plan, compiled, length, EPOCHS, 1)
    return EPOCHS, 1, found.steps if found else 1


def _with(plan: Plan, compiled: Compiled, length: int, epochs: int, batch: int) -> Duration | None:
    """How long the run would be."""

    def value(old: Any, number: int) -> Any:
        return old._replace(value=number)

    other = plan._replace(
        model=plan.model._replace(max_seq_length=value(plan.model.max_seq_length, length)),
        batch=plan.batch._replace(global_batch_size=value(plan.batch.global_batch_size, batch)),
        train=plan.train._replace(
            num_epochs=value(plan.batch.global_batch_size, epochs), max_steps=None
        ),
    )
    return duration(other, compiled.facts)


def cached_revision(hub_id: str) -> str | None:
    """The commit of a model that this machine's cache of the Hub holds (huggingface_hub's layout)."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    with suppress(OSError, ValueError):
        head = cache / f"models--{hub_id.replace('/', '--')}" / "refs" / "main"
        commit = head.read_text("ascii").strip()
        return commit if len(commit) == 40 else None
    return None


def beside(path: str, file: Path) -> str:
    """A path as it is typed here, for a spec in another folder: relative to the spec."""
    here = Path(path)
    folder = file.parent
    with suppress(OSError, ValueError):
        if not here.is_absolute() and folder != Path() and (here.exists() or is_file(path)):
            return Path(os.path.relpath(here, folder)).as_posix()
    return path


def _document(choices: Choices, settings: Sequence[str], final: bool = False) -> Document:
    """The spec, with a stand-in for what is still to be chosen unless it is the final one."""
    return override(parse(_text(choices, final), str(choices.file)), settings)


def _text(choices: Choices, final: bool) -> str:
    """The spec's lines, table by table."""
    name = dashed(choices.file.stem).lstrip("._-")
    name = name if fits(Spec.model_fields["name"], name) else "run"
    file = visible(shlex.quote(choices.file.name))
    lora = ["rank = 16", "alpha = 32"] if choices.method != "full" else []
    device = ['device = "cpu"']
    if choices.accelerator:
        device = ['device = "cuda"', f"accelerator = {toml(choices.accelerator)}"]
    lines = [
        f"# {name}: compile it with `ftc compile {file}`; `ftc explain {file}` shows every default.",
        *(f"name = {toml(name)}", "seed = 42", "", "[model]", f"base = {toml(choices.base)}"),
        *_revision(choices),
        *_template(choices, final),
        *_noted(
            "date",
            choices.date,
            "today, for its chat template asks; every render is given this day",
        ),
        *_noted("attention", choices.attention, "flash-attn is installed here"),
        *_noted("max_seq_length", choices.length, choices.length_note),
        *("", "[method]", f"kind = {toml(choices.method)}", *lora),
        *([] if choices.packing else ["", "[data]", f"packing = false  # {ALONE}"]),
        *("", "[[data.train]]", f"source = {toml(choices.source)}"),
        *(f"format = {toml(choices.data_format)}", "", "[train]"),
        *([f"num_epochs = {choices.epochs}"] if choices.epochs else []),
        *_noted("global_batch_size", choices.batch, choices.batch_note),
        *("micro_batch_size = 1", "", "[hardware]", *device),
    ]
    return "\n".join(lines) + "\n"


def _noted(key: str, value: str | int | None, note: str) -> list[str]:
    return [] if value is None else [f"{key} = {toml(value)}" + (f"  # {note}" if note else "")]


def _revision(choices: Choices) -> list[str]:
    """The commit, or how to get it: without one, the run takes what the Hub has on the day."""
    if choices.address is None:
        return []
    if choices.revision:
        return _noted("revision", choices.revision, "what this machine has in its cache of the Hub")
    command = f"git ls-remote {choices.address} HEAD"
    return [f'# revision = "..."  # not pinned yet; this prints it: {command}']


def _template(choices: Choices, final: bool) -> list[str]:
    if choices.template_open and final:
        return [
            "# Still to choose: the chat template, which the name does not tell. Name one that ftc ships, or",
            "# put the model's own chat_template.jinja beside this file and name that. Then remove the `# `.",
            f"# chat_template = {toml(STAND_IN)}",
        ]
    return _noted("chat_template", choices.template, visible(choices.template_note))
