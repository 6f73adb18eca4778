"""Curves as SVG, to stand in a page: no script, colours from the page's style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from .log import Points

SIZE, WIDE = (640, 250), (1140, 320)  # of the picture, in its own units
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 26
BUCKETS = 300  # a curve of more points is drawn by the extremes of so many parts
HOVERS = 80


class Curve(NamedTuple):
    """`colour`: the number of one in the page's palette. `smooth`: draw a running mean over it.
    `marks`: a dot at each point, for a few points far apart."""

    name: str
    points: Points
    colour: int
    smooth: bool = False
    marks: bool = False


def smoothed(points: Points) -> Points:
    """Exponential running means over about a 25th of the points, without the bias towards the first."""
    keep = 1 - 2 / (max(len(points) / 25, 1) + 1)
    mean, weight, found = 0.0, 0.0, list[tuple[float, float]]()
    for step, value in points:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        found.append((step, mean / weight))
    return found


def thinned(points: Points) -> Points:
    """At most twice BUCKETS points: the lowest and the highest of each part."""
    if len(points) <= 2 * BUCKETS:
        return points
    found: Points = []
    for part in range(BUCKETS):
        some = points[part * len(points) // BUCKETS : (part + 1) * len(points) // BUCKETS]
        found += sorted({min(some, key=_value), max(some, key=_value)})
    return found


def _value(point: tuple[float, float]) -> float:
    return point[1]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers in between."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next((unit * m for m in (1, 2, 5) if unit * m >= raw), 10 * unit)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def label(number: float) -> str:
    """A number in few characters: 1.5e-4, 0.25, 12k."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.4g}{sign}"
    if number and abs(number) < 1e-3:
        digits, exponent = f"{number:.2e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    return f"{number:.4g}"


def span(curves: Sequence[Curve], from_zero: bool) -> tuple[float, float]:
    """What the vertical axis shows: all of the running means, and of raw values all but the extremes."""
    values = list[float]()
    for curve in curves:
        raw = sorted(value for _, value in curve.points)
        cut = len(raw) // 50 if curve.smooth else 0
        values += [raw[cut], raw[-1 - cut]]
        values += [value for _, value in smoothed(curve.points)] if curve.smooth else []
    low, high = min(values), max(values)
    low = min(low, 0.0) if from_zero else low
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return (low if from_zero and low == 0 else low - room), high + room


class Frame(NamedTuple):
    """The part of the plane that a picture shows, and its size."""

    first: float
    last: float
    low: float
    high: float
    width: int
    height: int

    def x(self, step: float) -> float:
        share = (step - self.first) / (self.last - self.first)
        return LEFT + share * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return TOP + (1 - min(max(share, -1), 2)) * self.inner  # far beyond the frame is clipped

    @property
    def inner(self) -> int:
        return self.height - TOP - BOTTOM


def chart(curves: Sequence[Curve], *, from_zero: bool = False, wide: bool = False) -> str:
    """The curves in one picture, over steps; "" if they have no point."""
    curves = [curve for curve in curves if curve.points]
    if not curves:
        return ""
    first = min(curve.points[0][0] for curve in curves)
    last = max(curve.points[-1][0] for curve in curves)
    size = WIDE if wide else SIZE
    frame = Frame(first, last if last > first else first + 1, *span(curves, from_zero), *size)
    names = escape(", ".join(curve.name for curve in curves))
    parts = [_axes(frame), *(_drawn(curve, frame) for curve in curves), _hovers(curves, frame)]
    head = f'viewBox="0 0 {frame.width} {frame.height}" role="img" aria-label="{names}"'
    return f"<svg {head}>{''.join(parts)}</svg>"


def _axes(frame: Frame) -> str:
    lines = ""
    for value in ticks(frame.low, frame.high):
        y = f"{frame.y(value):.1f}"
        lines += f'<line x1="{LEFT}" x2="{frame.width - RIGHT}" y1="{y}" y2="{y}"/>'
        lines += f'<text x="{LEFT - 7}" y="{y}" dy=".33em" text-anchor="end">{label(value)}</text>'
    for step in ticks(frame.first, frame.last, 6):
        if step == int(step):
            place = f'x="{frame.x(step):.1f}" y="{frame.height - 7}" text-anchor="middle"'
            lines += f"<text {place}>{label(step)}</text>"
    return f'<g class="axes">{lines}</g>'


def _drawn(curve: Curve, frame: Frame) -> str:
    def line(points: Points, kind: str) -> str:
        ends = points if len(points) > 1 else points * 2  # one point: a dot, by its round caps
        places = " ".join(f"{frame.x(step):.1f},{frame.y(value):.1f}" for step, value in ends)
        return f'<polyline class="{kind} c{curve.colour}" points="{places}"/>'

    if curve.smooth and len(curve.points) > 2:
        drawn = line(thinned(curve.points), "faint") + line(thinned(smoothed(curve.points)), "line")
    else:
        drawn = line(thinned(curve.points), "line")
    if curve.marks and len(curve.points) <= 100:
        drawn += "".join(
            f'<circle class="c{curve.colour}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3"/>'
            for x, y in curve.points
        )
    top, tall = TOP - 4, frame.inner + 8
    return f'<svg y="{top}" height="{tall}" viewBox="0 {top} {frame.width} {tall}">{drawn}</svg>'


def _hovers(curves: Sequence[Curve], frame: Frame) -> str:
    """Strips that tell the values at a step when the pointer rests on them."""
    longest = max(curves, key=lambda curve: len(curve.points)).points
    chosen = longest[:: -(-len(longest) // HOVERS)]
    known = [(curve.name, dict(curve.points)) for curve in curves]
    wide = (frame.width - LEFT - RIGHT) / max(len(chosen) - 1, 1)
    strips = ""
    for step, _ in chosen:
        said = (f", {name} {values[step]:.6g}" for name, values in known if step in values)
        place = f'x="{frame.x(step) - wide / 2:.1f}" y="{TOP}" width="{wide:.1f}"'
        title = escape(f"step {step:g}" + "".join(said))
        strips += f'<rect {place} height="{frame.inner}"><title>{title}</title></rect>'
    return f'<g class="hovers">{strips}</g>'
