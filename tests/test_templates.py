"""Templates hold no logic; what they become passes the usual tools."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ftc.compiler.emit import quote, templates
from ftc.compiler.emit.templates import environment
from jinja2 import UndefinedError, nodes

from .specs import SPECS, TEMPLATES, render, written

PLAIN = (nodes.Name, nodes.Getattr)


def names_of_templates() -> list[str]:
    return sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.jinja"))


@pytest.mark.parametrize("name", names_of_templates())
def test_templates_hold_no_logic(name: str) -> None:
    assert list(logic(environment().parse((TEMPLATES / name).read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "text",
    [
        "{{ a + 1 }}",
        "{{ a() }}",
        "{{ a[0] }}",
        "{{ 'text' }}",
        "{{ a | upper }}",
        "{{ a | py | sh }}",
        "{{ a if b else c }}",
        "{% if a == b %}{% endif %}",
        "{% if not a %}{% endif %}",
        "{% if a %}{% elif b %}{% endif %}",
        "{% if a and b %}{% endif %}",
        "{% for a in b if a.c %}{% endfor %}",
        "{% for a in b.c() %}{% endfor %}",
        "{% set a = b %}",
        "{% macro a() %}{% endmacro %}",
        "{% include 'a' %}",
        "{% extends 'a' %}",
        "{% raw %}{% endraw %}{% block a %}{% endblock %}",
    ],
)
def test_logic_is_recognised(text: str) -> None:
    assert list(logic(environment().parse(text)))


def logic(node: nodes.Node) -> Iterator[str]:
    """What a template does beyond placing values and asking whether a section is there."""
    match node:
        case nodes.If():
            plain = isinstance(node.test, PLAIN) and not node.elif_
        case nodes.For():
            plain = isinstance(node.iter, nodes.Getattr) and isinstance(node.target, nodes.Name)
            plain = plain and not (node.test or node.else_ or node.recursive)
        case nodes.Filter():
            plain = node.name in KNOWN_FILTERS and isinstance(node.node, PLAIN)
            plain = plain and not (node.args or node.kwargs or node.dyn_args or node.dyn_kwargs)
        case _:
            plain = type(node) in ALLOWED
    if not plain:
        yield f"line {node.lineno}: {type(node).__name__}"
    for child in node.iter_child_nodes():
        yield from logic(child)


ALLOWED = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.Getattr, nodes.Name)
KNOWN_FILTERS = {"py", "sh", "name", "comment", "comment_lines", "origin", "source"}


def test_every_template_and_filter_is_used(folder: Path) -> None:
    templates.parsed.cache_clear()
    for data in SPECS.values():
        render(data, folder)
    assert templates.parsed.cache_info().currsize == len(names_of_templates())
    texts = "".join((TEMPLATES / name).read_text("utf-8") for name in names_of_templates())
    assert set(re.findall(r"{{[^}]*\| (\w+)", texts)) == set(quote.FILTERS) == KNOWN_FILTERS


def test_jinja_itself_renders_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def jinja(path: str, variables: dict[str, Any]) -> str:
        text = (TEMPLATES / f"{path}.jinja").read_text("utf-8")
        return environment().from_string(text).render(variables)

    ours = [render(data, folder) for data in SPECS.values()]
    monkeypatch.setattr(templates, "fill", jinja)
    assert [render(data, folder) for data in SPECS.values()] == ours


def test_a_value_that_lacks_is_an_error() -> None:
    for path, variables in (("train/model_lora", {"plan": {}}), ("train/model_lora", {})):
        with pytest.raises(UndefinedError):
            templates.fill(path, variables)


def test_the_output_passes_the_usual_tools(folder: Path) -> None:
    out = folder / "out"
    for name, data in SPECS.items():
        written(render(data, folder), out / name)
    scripts = sorted(str(path) for path in out.rglob("*.sh"))
    unserved = [s for s in SPECS.values() if not s.get("export", {}).get("merge", True)]
    assert len(scripts) == 3 * len(SPECS) - len(unserved) and len(unserved) == 1
    for command in (
        ["ruff", "format", "--check", "--line-length", "100", "--isolated", str(out)],
        ["ruff", "check", "--isolated", str(out)],
        ["shellcheck", *scripts],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_in_a_comment_can_be_run_or_end_it() -> None:
    said = quote.comment('one\ntwo $(date) `date` "x" \\ \x1b[0m ${HOME}')
    assert not set(said) & set('\n$`"\\\x1b') and said.startswith("one two (date) date")
    assert quote.comment("`") == "-"  # never empty, where a line is expected to go on
