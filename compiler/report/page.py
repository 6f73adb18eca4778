"""`ftc report`: runs as one HTML file: no script, nothing from elsewhere, light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from typing import Any, NamedTuple

from ..catalog.presets import resource
from ..diagnostics.secrets import mask
from ..diagnostics.snippet import visible
from ..diff.difference import diff
from ..diff.sides import Side
from ..document.write_toml import toml
from .charts import Curve, chart, smoothed
from .log import RunLog, Sample

MARK = '<meta name="generator" content="ftc report">'
POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # no script runs, whatever stands here
LIGHT = ["#3b6fd4", "#c2571a", "#2c8a4b", "#8a4bb8", "#b83260", "#0f8a96", "#8a7a12", "#5d6678"]
DARK = ["#7da2f0", "#f0935c", "#5fc985", "#c08ce6", "#f07fa6", "#4fc7d3", "#d1bd4a", "#a0a9bb"]
MANY = 12  # steps whose samples are shown before the rest folds

STYLE = """
body { max-width: 74rem; }
svg { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: var(--soft); font-variant-numeric: tabular-nums; } .axes line { stroke: var(--line); }
polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
polyline.faint { stroke-width: 1; opacity: .32; }
.hovers rect { fill: transparent; } .hovers rect:hover { fill: var(--soft); fill-opacity: .13; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr)); gap: .9rem; }
.charts figure { margin: 0; padding: .7rem .8rem .5rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem; }
.charts figure.first { grid-column: 1 / -1; }
@media (max-width: 44rem) { figure.first svg { font-size: 22px; } }
figcaption { font-size: .9rem; margin-bottom: .4rem; display: flex; gap: .2rem 1rem; flex-wrap: wrap; }
figcaption b { font-weight: 600; } figcaption span, .legend { color: var(--soft); }
i.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .35em; }
.legend { display: flex; gap: .3rem 1.2rem; flex-wrap: wrap; margin: 0 0 .8rem; }
td, th { text-align: left; white-space: normal; overflow-wrap: break-word; vertical-align: top; }
td code { overflow-wrap: anywhere; } td:first-child { min-width: 6rem; }
td.same, small { color: var(--soft); }
ul.notes { margin: .8rem 0 0; padding: 0; list-style: none; } ul.notes li { margin: .15rem 0; }
ul.notes b { color: var(--alarm); }
.answers { display: grid; grid-template-columns: max-content 1fr; gap: .35rem .9rem;
  padding: .2rem .9rem .9rem; font-size: .92rem; }
.answers span { color: var(--soft); font-variant-numeric: tabular-nums; text-align: right; }
.answers bdi { white-space: pre-wrap; overflow-wrap: anywhere; display: block; }
.answers details { grid-column: 1 / -1; margin: 0; }
@media print { details::details-content { content-visibility: visible; display: block; } }
"""


class Reported(NamedTuple):
    """A run under the name that tells it from the others: what was trained, and what is compiled now."""

    name: str
    side: Side
    log: RunLog
    compiled: Side


def page(runs: Sequence[Reported]) -> str:
    """The whole page, for one run or several side by side."""
    one = runs[0] if len(runs) == 1 else None
    names = [_text(run.name) for run in runs]
    title = names[0] if one else f"{len(runs)} runs"
    head = [f"<h1>{title}</h1>"]
    if one:
        summary = str(_value(one.side, "summary")).replace("\n", " ")
        head += [f"<p>{_text(summary)}</p>", _facts(one)]
    else:
        dots = (f"<span>{_dot(number)}{name}</span>" for number, name in enumerate(names))
        head += [f'<p class="legend">{"".join(dots)}</p>', _table_of(runs)]
    body = [_notes(run, alone=one is not None) for run in runs]
    body += ["<h2>Curves</h2>", _charts(runs)]
    if not one:
        body += ["<h2>What differs</h2>", _differences(runs)]
    if any(run.log.samples for run in runs):
        body += ["<h2>Samples</h2>", *_samples(runs)]
    body += ["<h2>The plan</h2>", *map(_plan, runs)]
    text = "\n".join(part for part in [*head, *body] if part)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{MARK}
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{title if one else ", ".join(names)}: what happened</title>
<style>{_style()}</style>
{text}
</html>
"""


def _style() -> str:
    shared = (resource("runtime") / "tools/page.css").read_text("utf-8")
    light, dark = (
        "".join(f"--c{n}: {colour};" for n, colour in enumerate(colours))
        for colours in (LIGHT, DARK)
    )
    colours = f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    uses = "".join(
        f"polyline.c{n} {{ stroke: var(--c{n}); }} circle.c{n} {{ fill: var(--c{n}); }}\n"
        for n in range(len(LIGHT))
    )
    return shared + colours + uses + STYLE


def _text(value: Any) -> str:
    """Anything, on one line, for HTML."""
    return escape(mask(visible(str(value))))


def _value(side: Side, path: str) -> Any:
    return side.plan[path].value if path in side.plan else ""


def _dot(number: int) -> str:
    return f'<i class="dot" style="background:var(--c{number % len(LIGHT)})"></i>'


class Measure(NamedTuple):
    text: str
    remark: str = ""


def measures(log: RunLog) -> dict[str, Measure]:
    """The run in a few numbers, as far as it has come."""
    loss, validation = log.points("loss"), log.points("validation_loss")
    memory, epochs = log.points("peak_memory_gb"), log.points("epoch")
    speed, mfu = (sorted(v for _, v in log.points(k)) for k in ("tokens_per_second", "mfu"))
    found = {"state": Measure(log.state)}
    if log.starts or log.last_step:
        total = f"of {log.total_steps:,}" if log.total_steps else ""
        found["steps"] = Measure(f"{log.last_step:,}", total)
    if epochs:
        found["epochs"] = Measure(f"{epochs[-1][1]:g}")
    if loss:
        found["loss"] = Measure(f"{smoothed(loss)[-1][1]:.4f}", "running mean")
    if validation:
        step, lowest = min(validation, key=lambda point: point[1])
        found["lowest validation loss"] = Measure(f"{lowest:.4f}", f"after {step:,.0f} steps")
    if speed:
        found["tokens a second"] = Measure(f"{speed[len(speed) // 2]:,.0f}", "median")
    if mfu:
        found["MFU"] = Measure(f"{mfu[len(mfu) // 2]:.1%}", "median")
    if memory:
        found["GB of memory"] = Measure(f"{max(value for _, value in memory):.2f}", "at most")
    if log.trainable_parameters:
        found["trained weights"] = Measure(f"{log.trainable_parameters:,}")
    return found


def _facts(run: Reported) -> str:
    cards = (
        f"<div><b>{one.text}</b>{name}{', ' * bool(one.remark)}{one.remark}</div>"
        for name, one in measures(run.log).items()
    )
    return f'<div class="facts">{"".join(cards)}</div>'


def _table_of(runs: Sequence[Reported]) -> str:
    found = [measures(run.log) for run in runs]
    columns = list(dict.fromkeys(name for one in found for name in one))
    head = "".join(f"<th>{name}" for name in columns)
    rows = ""
    for number, (run, one) in enumerate(zip(runs, found, strict=True)):
        cells = (one.get(name, Measure("")) for name in columns)
        rows += f"<tr><td>{_dot(number)}{_text(run.name)}"
        rows += "".join(f"<td>{cell.text} <small>{cell.remark}</small>" for cell in cells)
    return f'<div class="wide"><table><tr><th>run{head}{rows}</table></div>'


def _notes(run: Reported, *, alone: bool) -> str:
    """What should be known before one believes a curve."""
    log, notes = run.log, list[str]()
    resumed = [f"{step:,}" for step in log.starts if step]
    if resumed:
        notes.append(f"Resumed after {', '.join(resumed)} steps.")
    if log.best_step is not None:
        notes.append(
            f"The validation loss was lowest after {log.best_step:,} steps, then stagnated."
        )
    if run.side.edited:
        notes.append(
            f"<b>Edited</b> since it was generated: {_text(', '.join(sorted(run.side.edited)))}."
        )
    if since := _since(run):
        notes.append(since)
    spikes = [f"{step:,.0f} (to {loss:.4f})" for step, loss in log.points("loss_spike")]
    if spikes:
        more = f" and {len(spikes) - 8} more" if len(spikes) > 8 else ""
        notes.append(
            f"<b>The loss jumped</b> at step {', '.join(spikes[:8])}{more}; logs/metrics.jsonl names the rows."
        )
    if log.damaged:
        lines = "line is" if log.damaged == 1 else "lines are"
        notes.append(f"<b>{log.damaged:,}</b> {lines} no record and left out.")
    before = "" if alone else f"{_text(run.name)}: "
    items = "".join(f"<li>{before}{note}" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _since(run: Reported) -> str:
    """What was compiled into the run's place since it was started, in one sentence; "" if that is the same."""
    difference = diff(run.side, run.compiled) if run.side is not run.compiled else None
    if not difference:
        return ""
    plans = [side.plan for side in (run.side, run.compiled)]
    paths = sorted(
        path
        for path in (plans[0].keys() | plans[1].keys()) - {"summary"}
        if _value(run.side, path) != _value(run.compiled, path)
    )
    paths += [change.path for change in difference.contents]
    if not paths:
        return ""
    names = ", ".join(f"<code>{_text(path)}</code>" for path in paths[:6])
    more = f" and {len(paths) - 6} more" if len(paths) > 6 else ""
    may = "cannot" if difference.resume == "new run" else "can"
    return (
        f"<b>Compiled since</b> with other values of {names}{more}: this page shows what was trained, and "
        f"what is compiled now {may} resume its checkpoints."
    )


def panels(runs: Sequence[Reported]) -> Iterator[tuple[str, str, list[Curve], bool]]:
    """What is drawn: (title, unit, curves, whether the axis begins at zero). Several runs: a colour each."""
    alone = len(runs) == 1

    def curves(key: str, name: str = "", colour: int = 0, **how: bool) -> list[Curve]:
        return [
            Curve(
                name if alone else run.name,
                run.log.points(key),
                colour if alone else n % len(LIGHT),
                **how,
            )
            for n, run in enumerate(runs)
        ]

    validation = curves("validation_loss", "validation", 1, marks=True)
    loss = curves("loss", "training", smooth=True)
    yield "Loss", "nats a token", loss + (validation if alone else []), False
    if not alone:
        yield "Validation loss", "nats a token", validation, False
    yield "Learning rate", "", curves("learning_rate", "learning rate"), True
    yield "Gradient norm", "before clipping", curves("grad_norm", "norm", smooth=True), True
    speed = curves("tokens_per_second", "all tokens", smooth=True)
    learnt = curves("supervised_tokens_per_second", "supervised tokens", 1, smooth=True)
    yield "Tokens a second", "all processes together", speed + (learnt if alone else []), True
    yield "Model FLOPs utilization", "of the devices' peak", curves("mfu", "MFU", smooth=True), True
    yield "Memory", "GB, at most", curves("peak_memory_gb", "memory"), True


def _charts(runs: Sequence[Reported]) -> str:
    figures = ""
    for title, unit, curves, from_zero in panels(runs):
        drawn = chart(curves, from_zero=from_zero, wide=not figures)
        if not drawn:
            continue
        names = [(c.name, c.colour) for c in curves if c.points]
        keys = "".join(f"<span>{_dot(colour)}{_text(name)}</span>" for name, colour in names)
        keys = keys if len(names) > 1 else ""
        first = "" if figures else ' class="first"'
        caption = f"<b>{title}</b><span>{unit}</span>{keys}"
        figures += f"<figure{first}><figcaption>{caption}</figcaption>{drawn}</figure>"
    if not figures:
        return "<p>Nothing was logged yet. Train: <code>bash launch.sh</code></p>"
    return f'<div class="charts">{figures}</div>'


def _differences(runs: Sequence[Reported]) -> str:
    """Every key and content that differs from the first run's in any other, a column a run."""
    found = [diff(runs[0].side, run.side) for run in runs[1:]]
    rows: dict[str, dict[int, Any]] = {}
    for number, difference in enumerate(found, 1):
        for change in (*difference.keys, *difference.contents):
            row = rows.setdefault(change.path, {0: change.old})
            row[number] = change.new
    follows = {change.path for difference in found for change in difference.derived}
    if not rows:
        return "<p>Nothing: their specs say the same.</p>"
    head = "".join(f"<th>{_dot(n)}{_text(run.name)}" for n, run in enumerate(runs))
    lines = ""
    for path, row in sorted(rows.items()):
        cells = "".join(
            f"<td>{_written(row[n])}" if n in row else f'<td class="same">{_written(row[0])}'
            for n in range(len(runs))
        )
        lines += f"<tr><td><code>{_text(path)}</code>{cells}"
    then = ""
    if follows:
        names = ", ".join(f"<code>{_text(path)}</code>" for path in sorted(follows))
        then = f"<p>What follows from that differs, too: {names}.</p>"
    return f'<div class="wide"><table><tr><th>key{head}{lines}</table></div>{then}'


def _written(value: Any) -> str:
    return "–" if value is None else f"<code>{_text(toml(value))}</code>"


def _samples(runs: Sequence[Reported]) -> Iterator[str]:
    """For each prompt, the answers over the steps, the first and the last ones open."""
    said = [(n, sample) for n, run in enumerate(runs) for sample in run.log.samples]
    for prompt in dict.fromkeys(sample.prompt for _, sample in said):
        mine = sorted((s.step, n, s) for n, s in said if s.prompt == prompt)
        steps = [list(group) for _, group in groupby(mine, key=lambda found: found[0])]
        fold = len(steps) > MANY
        shown = [*steps[: MANY // 2], *steps[-MANY // 2 :]] if fold else steps
        lines = [_answers(group, len(runs) > 1) for group in shown]
        if fold:
            hidden = "".join(_answers(g, len(runs) > 1) for g in steps[MANY // 2 : -MANY // 2])
            more = f"{len(steps) - len(shown)} steps between"
            inner = f'<div class="answers">{hidden}</div>'
            lines.insert(
                MANY // 2, f"<details><summary><span>{more}</span></summary>{inner}</details>"
            )
        question = f'<summary><bdi dir="auto">{_text(prompt)}</bdi></summary>'
        yield f'<details open>{question}<div class="answers">{"".join(lines)}</div></details>'


def _answers(found: list[tuple[int, int, Sample]], several: bool) -> str:
    return "".join(
        f"<span>{_dot(n) if several else ''}{step:,}</span>"
        f'<bdi dir="auto">{_lines(sample.answer) or "(nothing)"}</bdi>'
        for step, n, sample in found
    )


def _lines(text: str) -> str:
    """A text of several lines, for HTML."""
    return "\n".join(_text(line) for line in text.split("\n"))


def _plan(run: Reported) -> str:
    rows = "".join(
        f"<tr><td><code>{_text(path)}</code><td><code>{_text(toml(value.value))}</code>"
        f"<td>{_text(value.origin)}"
        for path, value in run.side.plan.items()
        if path != "summary" and value.value is not None
    )
    head = "<tr><th>value of the plan<th>is<th>from"
    summary = f"<code>{_text(run.name)}</code><span>every value, and where it comes from</span>"
    table = f'<div class="wide"><table>{head}{rows}</table></div>'
    return f"<details><summary>{summary}</summary>{table}</details>"
