"""The lists of pinned packages agree with each other, and cover every extra."""

import re
import tomllib
from itertools import chain

import pytest

from .specs import ROOT

UNTESTED = {"flash-attn"}  # must be compiled for a GPU


def plain(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {plain(name): version for name, version in pairs}


@pytest.mark.parametrize(
    ("runtime", "constraints"),
    [
        ("runtime/requirements.txt", "constraints.txt"),
        ("runtime/requirements-lmdeploy.txt", "constraints-lmdeploy.txt"),
    ],
)
def test_what_a_run_pins_is_what_is_tested(runtime: str, constraints: str) -> None:
    known = pins(constraints)
    for package, version in pins(runtime).items():
        assert known.get(package) == version or package in UNTESTED, package


def test_every_extra_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {plain(re.split(r"[\[<>=]", each)[0]) for each in wanted} - {"ftc"}
    assert names <= pins("constraints.txt").keys()
