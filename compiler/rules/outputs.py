"""Rules about [samples], [tracking] and [export]."""

from __future__ import annotations

from collections.abc import Iterator

from ..diagnostics.diagnostic import Diagnostic, KeyPath
from ..document.load import Document
from ..facts.gather import Facts
from ..spec.method import Full
from ..spec.spec import Spec
from .rule import Rule, conflict

TRACKERS: KeyPath = ("tracking", "trackers")
ONLINE: KeyPath = ("tracking", "online")
LOCAL = {"tensorboard"}  # what has no service to send to


def trackers_once(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """A tracker that is named twice would get each number twice."""
    names = [name for _, name in spec.tracking.each("trackers")] if spec.tracking else []
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        yield conflict(
            document,
            TRACKERS,
            f"{' and '.join(twice)} {'is' if len(twice) == 1 else 'are'} named more than once",
            on="value",
            hints=["name each tracker once"],
        )


def something_goes_online(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """online needs a tracker that sends."""
    if spec.tracking and spec.tracking.online and LOCAL.issuperset(spec.tracking.trackers):
        yield conflict(
            document,
            ONLINE,
            "TensorBoard writes files and sends nothing, so online has no say",
            others=[(TRACKERS, 'trackers is ["tensorboard"]')],
            hints=[
                "remove online",
                "or name a tracker that sends: wandb, mlflow, swanlab, trackio",
            ],
        )


def adapter_is_merged(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """export.merge is about an adapter; a server needs the merged model."""
    path: KeyPath = ("export", "merge")
    if isinstance(spec.method, Full):
        if document.key(path):
            yield conflict(
                document,
                path,
                "full fine-tuning has no adapter to merge",
                others=[(("method", "kind"), 'kind is "full"')],
                hints=["remove export.merge"],
            )
    elif not spec.export.merge and document.key(("deploy",)):
        yield conflict(
            document,
            path,
            "the server of [deploy] serves the merged model, and merge = false makes none",
            on="value",
            others=[(("deploy",), "[deploy] is here")],
            hints=["remove export.merge", "or remove [deploy]"],
        )


def chat_samples(spec: Spec, facts: Facts, document: Document) -> Iterator[Diagnostic]:
    """top_p has a say only where tokens are drawn."""
    path: KeyPath = ("chat", "top_p")
    if document.key(path) and not spec.chat.temperature:
        yield conflict(
            document,
            path,
            "at temperature 0 the likeliest token is taken, so top_p has no say",
            others=[(("chat", "temperature"), "temperature is 0")],
            hints=["set chat.temperature above 0", "or remove top_p"],
        )


RULES: tuple[Rule, ...] = (trackers_once, something_goes_online, adapter_is_merged, chat_samples)
