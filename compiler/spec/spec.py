"""The spec language: every table and key, with its type, default, unit, help text, resume class and
what a change of it is about.

Each table stands in the file of its name; nothing else holds names, types or defaults. The checks, the
JSON Schema, the reference page and the error texts are all made from these models. A spec is strict (no
word is taken for a number), frozen, and closed (`extra="forbid"` at every level): a key that is not here
does not exist.

A default of None means that the value is decided in `resolve` from other keys; the help says how.
"""

from __future__ import annotations

from pydantic import Field

from .data import Data
from .deploy import Deploy
from .hardware import Hardware
from .keys import RUN, RunName, Table, cosmetic, key, resumable, table
from .method import Method
from .model import Model
from .optim import Optim
from .outputs import Chat, Export, Samples, Tracking
from .parallel import Parallel
from .train import Train


class Spec(Table, affects="numerics"):
    """One fine-tuning run."""

    name: RunName = cosmetic(
        help="The run's name, and that of its directory.", pattern=RUN, max_length=100
    )
    seed: int = key(42, help="Seed of everything that is random.", ge=0, lt=2**31)
    deterministic: bool = resumable(
        False,
        help="Use deterministic algorithms only: a GPU gives the same bits again, more slowly. An "
        "operation that has none ends the run. A CPU run repeats itself without this, too.",
    )
    vendor_runtime: bool = cosmetic(
        False, help="Copy ftc.runtime into the run, which then needs no ftc."
    )
    model: Model = Field(description="The model that is tuned.")
    method: Method = Field(description="What is trained of the model.")
    data: Data = Field(description="What the model is trained on.")
    optim: Optim = table(Optim, help="The optimizer and its schedule.")
    train: Train = table(Train, help="How long, in what batches.")
    hardware: Hardware = Field(description="The compile target.")
    parallel: Parallel = table(Parallel, help="How the training state is shared.")
    samples: Samples | None = Field(None, description="Answers generated during training.")
    tracking: Tracking | None = Field(None, description="Trackers that get the metrics, too.")
    export: Export = table(Export, help="What convert.sh makes.")
    chat: Chat = table(Chat, help="How chat.py generates.")
    deploy: Deploy = table(Deploy, help="The server that deploy.sh starts.")
