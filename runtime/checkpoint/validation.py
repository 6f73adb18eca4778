"""What follows from the validation losses of a run: its best checkpoint, and whether to go on.

They are a list of (steps trained, loss), which each checkpoint carries in its state.json: a run that is gone
on with decides as one that never stopped.
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..process import lock

Losses = Sequence[tuple[int, float]]


def lowest(losses: Losses) -> int:
    """The place of the lowest loss, the first of equals; one that is no finite number is no low one."""
    return min(range(len(losses)), key=lambda place: _order(losses[place][1]))


def stagnates(losses: Losses, patience: int) -> bool:
    """Whether `patience` evaluations in a row, the last ones, brought no lower loss than before them."""
    return len(losses) > patience and len(losses) - 1 - lowest(losses) >= patience


def best(checkpoints: Iterable[Path]) -> Path | None:
    """The checkpoint that was evaluated with the lowest loss; None if no one was evaluated.

    `checkpoints`: oldest first. Those with other validation data than the newest are no match for it.
    """
    found = [(path, loss) for path in checkpoints if (loss := _own(path)) is not None]
    if not found:
        return None
    data = lock.validation(found[-1][0])
    found = [(path, loss) for path, loss in found if lock.validation(path) == data]
    return found[lowest([(0, loss) for _, loss in found])][0]


def _own(checkpoint: Path) -> float | None:
    """The loss after the very steps that the checkpoint has behind it, None without one."""
    try:
        state = json.loads((checkpoint / "state.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None  # damaged; whoever reads it for good says so
    return dict(state.get("validation_losses", ())).get(state["step"])


def _order(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf
