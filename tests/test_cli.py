"""The command line: help, and the specs that we ship."""

import re
from pathlib import Path

import pytest
from ftc.compiler.cli import main

from .specs import BASE, ROOT, ftc, merged, toml

SHIPPED = [ROOT / "specs" / "quickstart.toml", *sorted((ROOT / "tests/golden").glob("*/spec.toml"))]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_specs_that_we_ship_are_fine(path: Path) -> None:
    result = ftc("check", path)
    told = set(re.findall(r": warning\[([a-z-]+)\]: ", result.stderr))
    short = {"few-steps"} if path.parent.name in ("gpu8-zero3-offload", "nodes2-lora") else set()
    assert told == short  # the rows of these two are a sample
    verdict = "compiles, with 1 warning" if short else "fine"
    assert result.stdout.startswith(f"{path}: {verdict}.\n")


def test_what_is_warned_of_is_not_fine(folder: Path) -> None:
    unpinned = merged(BASE, {"model": {"base": "acme/model", "chat_template": "chatml"}})
    (folder / "spec.toml").write_text(toml(unpinned))
    result = ftc("check", folder / "spec.toml")
    warnings = result.stderr.count(": warning[")
    assert warnings and f"spec.toml: compiles, with {warnings} warning" in result.stdout
    assert "fine." not in result.stdout


COMMANDS = ([], *([name] for name in sorted(main.commands)))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_fits_a_terminal(command: list[str]) -> None:
    text = ftc(*command, "--help").stdout
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "..." not in text.replace("COMMAND [ARGS]...", "")


def test_no_arguments_show_the_help() -> None:
    result = ftc(exit_code=2)
    assert "Usage: ftc" in result.output
    assert "compile" in result.output
