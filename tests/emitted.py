"""The emitted train.py in this process, up to where its engine would start: no training, no subprocess."""

import importlib.util
import sys
from types import SimpleNamespace


class Reached(Exception):
    """The script asked for its engine."""


def begin(run, monkeypatch) -> SimpleNamespace:
    """What the script holds by then: its functions and constants, and the variables of its `main`.

    Among them `model`, `optimizer`, `tokenizer`, `train_set`, `sequences`, `stream`, `head` and `losses`.
    """
    import deepspeed
    from ftc.runtime.process import distributed
    from ftc.runtime.train import launch, sequence_parallel

    held = {}

    def initialize(**arguments):
        held.update(sys._getframe(1).f_locals)
        raise Reached

    monkeypatch.chdir(run.folder)
    monkeypatch.setattr(distributed, "start", lambda *_: 0)
    monkeypatch.setattr(launch, "prepare", lambda *_: None)
    monkeypatch.setattr(deepspeed, "initialize", initialize)
    monkeypatch.setattr(sequence_parallel, "start", lambda *_: None)
    spec = importlib.util.spec_from_file_location("train", run.folder / "train.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    try:
        script.main(None)
    except Reached:
        return SimpleNamespace(**{**vars(script), **held})
    raise AssertionError("the script asked for no engine")
