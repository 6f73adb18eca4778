"""The reference pages: fresh, complete, and with links that lead somewhere."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ftc.compiler.diagnostics.codes import COMPILER, MEANINGS, RUN
from ftc.compiler.spec.describe import tables

from docs.reference import own_template
from docs.reference_codes import run_messages

from .conftest import ROOT, environ
from .test_errors import NO_CASE, codes_in_source

SPEC = ROOT / "docs/reference/spec.md"
DIAGNOSTICS = ROOT / "docs/reference/diagnostics.md"


def test_the_pages_are_fresh():
    command = [sys.executable, "-m", "docs.reference", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=environ(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_code_says_what_it_means_and_no_other_does():
    assert set(MEANINGS) == codes_in_source(), (
        "give a new code its sentence in compiler/diagnostics/codes.py"
    )
    assert sum(map(len, COMPILER.values())) == len(MEANINGS), "a code stands in two groups"


def test_every_code_of_the_runtime_says_what_it_means_and_no_other_does():
    said = {code for code, _ in run_messages()}
    assert set(RUN) == said, "give a new code its sentence in compiler/diagnostics/codes.py"
    assert "drift" in said and all(re.fullmatch(r"[a-z]+(-[a-z{}]+)*", code) for code in said)


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_every_code_is_on_the_page_with_a_message(code):
    page = DIAGNOSTICS.read_text("utf-8")
    (section,) = re.findall(rf"^### {code}\n(.*?)(?=^##)", page, re.M | re.S)
    assert MEANINGS[code] in section
    assert code in NO_CASE or f"[{code}]: " in section


def test_examples_work_and_teach():
    """No template beside a base that lacks its tokens, and no value that is a letter."""
    page = SPEC.read_text("utf-8")
    tables = [tomllib.loads(text) for text in re.findall(r"^```toml\n(.*?)^```", page, re.M | re.S)]
    models = [table["model"] for table in tables if "base" in table.get("model", {})]
    assert models and all(own_template(model) for model in models)
    assert not re.findall(r'\*\*Example:\*\* `\w+ = "\w"`', page) and "None" not in page


def test_every_key_is_on_the_page():
    page = SPEC.read_text("utf-8")
    headings = re.findall(r"^### `(.+)`$", page, re.M)
    once = [name for name in headings if not name.startswith("method.")]  # those: once a kind
    assert len(once) == len(set(once)), "a key stands there twice"
    every = {f"{table}.{key}" if table else key for table, keys in tables() for key in keys}
    leaves = every - {table for table, _ in tables()}
    # [[data.train]] has the keys of [[data.validation]] and more: the page links there.
    assert set(headings) == {
        key
        for key in leaves
        if not (key.startswith("data.train.") and key.replace("train", "validation", 1) in leaves)
    }
    for heading, section in re.findall(r"^### `([^`\n]+)`\n(.*?)(?=^##)", page, re.M | re.S):
        for fact in ("**Takes** ", "**Default:** ", "**Example:** ", "**A change** "):
            assert section.count(fact) == 1, heading
        assert "()" not in section and "None" not in section


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """The anchors that code hosts give to a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    kept = (
        re.sub(r"[^\w\- ]", "", found.lower()) for found in re.findall(r"^#+ (.+)$", text, re.M)
    )
    return {name.replace(" ", "-") for name in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target
