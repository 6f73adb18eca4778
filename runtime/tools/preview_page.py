"""The preview as one HTML file: no script, nothing from elsewhere, light and dark."""

from html import escape
from pathlib import Path
from typing import Any

from ..data.ledger import in_words
from ..data.tokens import Sample
from .preview_samples import Preview, Token

POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # no script runs, whatever a row holds
STYLE = (
    Path(__file__).with_name("page.css").read_text("utf-8")
    + """
.lost { margin: .7rem 0 0; padding: 0; list-style: none; font-size: .9rem; }
.lost b { color: var(--alarm); }
summary .share { flex: 0 0 6rem; height: .45rem; margin: .55rem 0 0 auto; border-radius: 1rem;
  background: var(--line); overflow: hidden; } .share i { display: block; height: 100%; background: var(--edge); }
pre { margin: 0; padding: .8rem .9rem 1rem; border-top: 1px solid var(--line); overflow-x: auto;
  white-space: pre-wrap; overflow-wrap: anywhere; }
pre span { border-left: 1px solid color-mix(in srgb, var(--soft) 28%, transparent); }
pre span:hover { outline: 1px solid var(--soft); }
ins, .key { background: var(--learnt); text-decoration: underline var(--edge) 2px;
  text-underline-offset: .22em; border-radius: .15rem; }
.end { color: var(--soft); }
.pack { display: flex; height: 2.6rem; border-radius: .5rem; overflow: hidden; background: var(--line); }
.pack a { display: block; min-width: 2px; border-right: 2px solid var(--ground);
  background: color-mix(in srgb, var(--bar) 55%, var(--card)); overflow: hidden; padding: .6rem .3rem;
  font-size: .75rem; color: var(--ink); text-align: center; }
.pack a:nth-child(even) { background: color-mix(in srgb, var(--bar) 30%, var(--card)); }
details.of { border: 0; background: none; margin: 0 0 .6rem; } details.of summary { padding: .2rem 0; }
details.of div { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: .3rem .8rem;
  align-items: center; font-size: .88rem; font-variant-numeric: tabular-nums; }
.bars i { display: block; height: 1rem; background: var(--bar); border-radius: .2rem; min-width: 1px; }
.bars span { color: var(--soft); text-align: right; }
"""
)


def page(found: Preview) -> str:
    """The whole page."""
    rows = "\n".join(
        _sample(sample, tokens, opened=number < 3)
        for number, (sample, tokens) in enumerate(found.shown)
    )
    total, learnt, samples = (
        sum(one[key] for one in found.ledger) for key in ("tokens", "supervised_tokens", "samples")
    )
    facts = [
        (f"{samples:,}", "samples"),
        (f"{total:,}", "tokens"),
        (f"{learnt:,}", f"tokens learnt ({learnt / max(total, 1):.0%})"),
        (
            f"{found.num_sequences:,}",
            f"sequence{'s' * (found.num_sequences != 1)} of at most {found.max_seq_length:,}",
        ),
    ]
    cards = "".join(f"<div><b>{number}</b>{escape(what)}</div>" for number, what in facts)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(found.name)}: what it trains on</title>
<style>{STYLE}</style>
<h1>{escape(found.name)}</h1>
<p>{escape(found.summary)}</p>
<div class="facts">{cards}</div>
<p>{escape(found.how_long).replace(chr(10), "<br>")}</p>
<h2>What became of the rows</h2>
{_ledger(found.ledger)}
<h2>As the model sees them</h2>
<p>The first samples, a thin line before each token. The model learns to predict
<span class="key">what is underlined</span>, and reads the rest.</p>
{rows}
<h2>{"The first packed sequences" if found.packed else "The first sequences"}</h2>
<p>In training's order. Samples are laid end to end, up to {found.max_seq_length:,} tokens. Positions
restart at each border, and no sample sees another.</p>
{"".join(_sequence(one, found.max_seq_length) for one in found.sequences)}
<h2>Lengths</h2>
{_histogram(found.lengths)}
</html>
"""


def _ledger(ledger: list[dict[str, Any]]) -> str:
    columns = ("rows", "samples", "duplicates", "tokens", "supervised_tokens", "longest")
    head = "".join(f"<th>{escape(name)}" for name in ("source", "rows", "kept", "doubles"))
    head += "<th>tokens<th>learnt<th>longest"
    lines, lost = "", ""
    for one in ledger:
        cells = "".join(f"<td>{one[column]:,}" for column in columns)
        lines += f"<tr><td><code>{escape(one['source'])}</code>{cells}"
        for what, fate in in_words(one).items():
            places = ", ".join(f"<code>{escape(place)}</code>" for place in fate["first"])
            more = ", ..." if fate["rows"] > len(fate["first"]) else ""
            lost += f"<li><b>{fate['rows']:,}</b> {escape(what)}: {places}{more}"
    lost = lost or "<li>No row was dropped or cut."
    table = f'<div class="wide"><table><tr>{head}{lines}</table></div>'
    return f'{table}<ul class="lost">{lost}</ul>'


def _sample(sample: Sample, tokens: list[Token], opened: bool) -> str:
    text = ""
    for number, token in enumerate(tokens):
        before = number > 0 and tokens[number - 1].learnt
        text += "<ins>" * (token.learnt and not before) + "</ins>" * (before and not token.learnt)
        ids = " ".join(map(str, token.ids))
        text += f'<span title="{ids}">{_visible(token.text)}</span>'
    text += "</ins>" * (bool(tokens) and tokens[-1].learnt)
    learnt = int(sample.loss.sum())
    share = 100 * learnt / max(len(sample.ids), 1)
    return (
        f"<details{' open' * opened}><summary><code>{escape(sample.row)}</code>"
        f"<span>{len(sample.ids):,} tokens, {learnt:,} learnt</span>"
        f'<span class="share"><i style="width:{share:.1f}%"></i></span></summary>'
        f"<pre>{text}</pre></details>"
    )


def _visible(text: str) -> str:
    """Escaped, with line ends shown and unprintable characters named."""
    shown = ""
    for character in text:
        if character == "\n":
            shown += '<i class="end">⏎</i>\n'
        elif character.isprintable():
            shown += escape(character)
        else:
            shown += f'<i class="end">\\u{ord(character):04x}</i>'
    return shown


def _sequence(samples: list[Sample], limit: int) -> str:
    blocks = ""
    for sample in samples:
        length, row = len(sample.ids), escape(sample.row)
        wide = 100 * length / max(limit, 1)
        blocks += f'<a style="width:{wide:.3f}%" title="{row}: {length} tokens">{length}</a>'
    total = sum(len(sample.ids) for sample in samples)
    rows = ", ".join(f"<code>{escape(sample.row)}</code>" for sample in samples)
    many = "sample" if len(samples) == 1 else "samples"
    return (
        f'<div class="pack">{blocks}</div><details class="of"><summary><span>{total:,} tokens, '
        f"{len(samples)} {many}</span></summary><div>{rows}</div></details>"
    )


def _histogram(lengths: list[tuple[int, int, int]]) -> str:
    most = max((count for _, _, count in lengths), default=1)
    bars = "".join(
        f'<span>{low:,} to {high:,}</span><i style="width:{100 * count / most:.1f}%"></i>'
        f"<span>{count:,}</span>"
        for low, high, count in lengths
    )
    return f'<p>Tokens of a sample, and how many samples are so long.</p><div class="bars">{bars}</div>'
