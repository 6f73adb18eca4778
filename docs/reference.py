"""Writes the pages of docs/reference: python -m docs.reference [--check].

Everything in them comes from elsewhere: the keys from the models in compiler/spec/, the examples
from specs that the tests compile, the messages from the cases under tests/errors.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftc.compiler.catalog.presets import find_model
from ftc.compiler.document.load import parse
from ftc.compiler.document.write_toml import toml
from ftc.compiler.spec.describe import CHANGES as CONSEQUENCES
from ftc.compiler.spec.describe import (
    affects,
    changes,
    choice,
    describe,
    extra,
    field_at,
    header,
    models_in,
)
from ftc.compiler.spec.other_tools import ELSEWHERE, NO_KEY
from ftc.compiler.spec.spec import Spec, Table
from pydantic.fields import FieldInfo

from docs.reference_codes import diagnostics_page
from docs.reference_names import names_page
from tests.changes import CHANGES

ROOT = Path(__file__).resolve().parent.parent
SPECS = [ROOT / "specs/quickstart.toml", *sorted(ROOT.glob("tests/golden/*/spec.toml"))]
GENERATED = "<!-- Written by `make docs`. Change what it is made from, not this page. -->"

INTRODUCTION = """\
A spec is one TOML file that says everything about one fine-tuning run. `ftc check spec.toml` judges it, `ftc compile
spec.toml` turns it into a run directory. This page has every table and every key; the [guide](../guide.md) starts
from the beginning, and [diagnostics](diagnostics.md) has what ftc says when something is wrong.

**What every spec needs** is a `name`, what is tuned (`[model]`), how (`[method]`), on what (`[[data.train]]`) and where
(`[hardware]`). All else has a default, so this is a whole spec:

{least}

**Paths** are relative to the spec.

**Nothing is converted, and nothing ignored**: `"8"` is no number, and a key that is not on this page is an error.

**Unset** means that ftc decides the value from other keys; the key's text says how. `ftc explain spec.toml` shows every
value that was decided, and where it comes from.

**A change** of a key may spoil the checkpoints that exist, so each key says whether it does. The word in parentheses
says what the key is about, as in `ftc diff`: numerics (what is computed), data (on what), schedule (how long, how fast,
in what batches) or placement (where, and how it is shared out).

**Elsewhere** are the names that XTuner, LLaMA-Factory, Axolotl and others have for a key. Whoever writes one of them in
a spec is told the key.
"""


def spec_page() -> str:
    """Every table of the language, in the order of the models."""
    groups = grouped()
    contents = [
        f"- {link(title)}: {summary(model)}{needed(model, names)}" for model, title, names in groups
    ]
    parts = [
        "# The spec",
        GENERATED,
        INTRODUCTION.format(least=fenced(least())),
        "## Tables",
        "\n".join(contents),
        *(table(model, title, names) for model, title, names in groups),
        *names_page(),
        "## What is no key",
        "\n".join(no_keys()),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def grouped() -> list[tuple[type[Table], str, list[str]]]:
    """The models with their headings and the places where they stand: one model may serve several."""
    places: dict[type[Table], list[str]] = {}
    for model, name in walk():
        places.setdefault(model, [])
        if name not in places[model]:
            places[model].append(name)
    return [(model, title(model, names), names) for model, names in places.items()]


def walk(model: type[Table] = Spec, name: str = "") -> Iterator[tuple[type[Table], str]]:
    yield model, name
    for key, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            yield from walk(inner, f"{name}.{key}" if name else key)


def title(model: type[Table], names: list[str]) -> str:
    text = ", ".join(f"`{header(name)}`" if name else "The top level" for name in names)
    kind = literal(model.model_fields.get("kind"))
    return f'{text} with `kind = "{kind}"`' if kind else text


def required(path: str) -> bool:
    """Whether a spec must have the table at this path."""
    field = field_at(tuple(path.split(".")), "full") if path else None
    return bool(field and field.is_required() and all(map(required, parents(path))))


def needed(model: type[Table], names: list[str]) -> str:
    found = [f"`{header(name)}`" for name in names if required(name)]
    if not found:
        return ""
    if literal(model.model_fields.get("kind")):
        return " One of the kinds is required."
    return " Required." if len(found) == len(names) else f" {found[0]} is required."


def parents(path: str) -> list[str]:
    return [path.rpartition(".")[0]] if "." in path else []


def literal(field: FieldInfo | None) -> str:
    """The one text that a key can be; "" if it can be others."""
    words = describe(field) if field else ""
    return words[1:-1] if words.count('"') == 2 and words[0] == words[-1] == '"' else ""


def link(heading: str) -> str:
    """A link to a heading, by the name that code hosts give it."""
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -_")
    return f"[{heading}](#{kept.replace(' ', '-')})"


def summary(model: type[Table]) -> str:
    text = " ".join((model.__doc__ or "").split())
    text = text.partition(": ")[2] if text.startswith("[") else text
    return text[:1].upper() + text[1:]


def table(model: type[Table], title: str, names: list[str]) -> str:
    parts = [f"## {title}", summary(model)]
    example = best_example(model, names)
    parts += [fenced(example)] if example else []
    base = next((b for b in model.__mro__[1:] if b in dict(walk())), None)
    inherited = base.model_fields if base else {}
    if base:
        parts.append(f"It has the keys of {link(heading(base))}, and these.")
    for key, field in model.model_fields.items():
        path = f"{names[0]}.{key}" if names[0] else key
        new = key not in inherited and not (key == "kind" and siblings(names[0])[0] is not model)
        if new and not list(models_in(field.annotation)):
            parts.append(entry(model, path, key, field))
    inner = [link(heading(m)) for f in model.model_fields.values() for m in models_in(f.annotation)]
    if inner and names[0]:
        parts.append(f"Tables in it: {', '.join(dict.fromkeys(inner))}.")
    return "\n\n".join(parts)


def heading(model: type[Table]) -> str:
    return next(title for other, title, _ in grouped() if other is model)


def siblings(place: str) -> list[type[Table]]:
    """The models that may stand at a place: one, or one for each kind."""
    return list(dict.fromkeys(model for model, name in walk() if name == place))


def entry(model: type[Table], path: str, key: str, field: FieldInfo) -> str:
    """A key: what it is, what it takes, and what follows from a change."""
    unit, takes = str(extra(field)["unit"]), describe(field)
    if key == "kind":
        takes = choice([describe(m.model_fields[key]) for m in siblings(path.rpartition(".")[0])])
    takes = takes if not unit or unit in takes else f"{takes}, in {unit}"
    facts = [f"**Takes** {takes}.", f"**Default:** {default(field)}."]
    facts.append(f"**Example:** `{key} = {toml(an_example(path, field))}`.")
    parts = tuple(path.split("."))
    about = affects(parts)
    consequence = CONSEQUENCES[changes(parts)].removeprefix("A change ")
    about = f" ({about})" if about != "cosmetic" else ""
    effects = [f"**A change**{about} {consequence}"]
    if path in ELSEWHERE:
        words = ", ".join(f"`{word}`" for word in ELSEWHERE[path].split())
        effects.append(f"**Elsewhere:** {words}.")
    return "\n".join(
        [f"### `{path}`\n", f"{field.description}\n", " ".join(facts), " ".join(effects)]
    )


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "none, the key is required"
    value = field.default
    return "unset" if value is None else f"`{toml(value)}`"


def an_example(path: str, field: FieldInfo) -> Any:
    """A value, if possible not the default: of a spec that ftc ships, or of the tests."""
    values = [v for v in (*shipped(path), *reversed(CHANGES[path][:2])) if v is not None]
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return next((value for value in values if value != default), values[0])


def shipped(path: str) -> Iterator[Any]:
    """The values that shipped specs give to a key."""
    for spec in SPECS:
        found: Any = parse(spec.read_text("utf-8"), str(spec)).data
        for part in path.split("."):
            found = found[0] if isinstance(found, list) else found
            found = found.get(part) if isinstance(found, dict) else None
        if found is not None:
            yield found


def best_example(model: type[Table], names: list[str]) -> str:
    """The table in the spec that sets most keys of it, as it is written there."""
    kind = literal(model.model_fields.get("kind"))
    found: list[str] = []
    for path in SPECS:
        text = path.read_text("utf-8")
        data = parse(text, str(path)).data
        if kind and data["method"]["kind"] != kind:
            continue
        if names[0] == "model" and not own_template(data["model"]):
            continue
        found += sections(text, names[0])
    return max(found, key=lambda text: text.count(" = "), default="")


def own_template(model: dict[str, Any]) -> bool:
    """Whether a model has the template that it knows: another's tokens may be missing in its tokenizer."""
    preset, template = find_model(model["base"]), model.get("chat_template", "model")
    return template == "model" or (preset is not None and template == preset.chat_template)


def sections(text: str, name: str) -> Iterator[str]:
    """The parts of a spec under the headers of a table, from header to header."""
    current: list[str] = []
    here = ""
    for line in [*text.splitlines(), "[]"]:
        if line.startswith("["):
            if here == name:
                yield "\n".join(current).strip()
            here, current = line.strip("[] "), []
        current += [line] if not line.startswith("#") else []


def least() -> str:
    """The shortest spec that the tests compile: what every spec needs, and nothing else."""
    from tests.specs import BASE

    def lines(data: dict[str, Any], name: str = "") -> Iterator[str]:
        plain = {key: value for key, value in data.items() if not isinstance(value, dict | list)}
        if name and plain:
            yield f"\n[{name}]"
        yield from (f"{key} = {toml(value)}" for key, value in plain.items())
        for key, value in data.items():
            path = f"{name}.{key}" if name else key
            if isinstance(value, dict):
                yield from lines(value, path)
            elif isinstance(value, list):
                for item in value:
                    yield f"\n[[{path}]]"
                    yield from (f"{k} = {toml(v)}" for k, v in item.items())

    return "\n".join(lines(BASE))


def no_keys() -> Iterator[str]:
    """What other tools have a key for, and ftc does not."""
    reasons: dict[str, list[str]] = {}
    for word, reason in NO_KEY.items():
        reasons.setdefault(reason, []).append(f"`{word}`")
    yield "These are keys of other tools, and ftc has none for them:\n"
    yield from (f"- {', '.join(words)}: {reason}." for reason, words in reasons.items())


def fenced(text: str) -> str:
    return f"```toml\n{text.strip()}\n```"


PAGES = {"spec.md": spec_page, "diagnostics.md": diagnostics_page}

if __name__ == "__main__":
    stale: list[str] = []
    for name, page in PAGES.items():
        path = ROOT / "docs/reference" / name
        text = page()
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(f"docs/reference/{name}")
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"stale: {', '.join(stale)}. Write them again: python -m docs.reference")
