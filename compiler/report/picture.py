"""The curves of `ftc report` as a picture, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from .charts import smoothed, span
from .page import LIGHT, Reported, panels


def picture(runs: Sequence[Reported], path: Path) -> None:
    """Writes a PNG (or what else the name's ending says) with the panels that have curves."""
    shown = [panel for panel in panels(runs) if any(curve.points for curve in panel[2])]
    rows = max(-(-len(shown) // 2), 1)
    library: Any = import_module(
        "matplotlib.figure"
    )  # imported where it is needed: it takes a second
    figure = library.Figure(figsize=(12, 1 + 3 * rows), layout="constrained")
    title = (f"{run.name}: {run.log.state}, {run.log.last_step:,} steps" for run in runs)
    figure.suptitle("\n".join(title), parse_math=False)
    for place, (name, unit, curves, from_zero) in enumerate(shown, 1):
        axes = figure.add_subplot(rows, 2, place)
        present = [curve for curve in curves if curve.points]
        for curve in present:
            colour, drawn = LIGHT[curve.colour], curve.points
            if curve.smooth and len(drawn) > 2:
                axes.plot(*zip(*drawn, strict=True), color=colour, alpha=0.3, linewidth=0.8)
                drawn = smoothed(drawn)
            marker = "o" if curve.marks or len(drawn) == 1 else ""
            axes.plot(
                *zip(*drawn, strict=True),
                color=colour,
                marker=marker,
                markersize=3,
                label=curve.name,
            )
        axes.set_ylim(span(present, from_zero))
        axes.set_title(f"{name}, {unit}" if unit else name, loc="left", fontsize=10)
        axes.grid(alpha=0.3)
        if len(present) > 1:
            for text in axes.legend(fontsize=8, frameon=False).get_texts():
                text.set_parse_math(False)
    figure.savefig(path, dpi=120)
