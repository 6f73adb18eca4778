"""Whole run directories, compared with what is committed, byte for byte."""

import pytest

from .golden import cases, expected

AT_LEAST = 6


def test_every_case_is_found():
    assert len(cases()) >= AT_LEAST


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_golden(case):
    files = [case / "lock.json", *(path for path in (case / "run").rglob("*") if path.is_file())]
    found = {path.relative_to(case).as_posix(): path.read_bytes() for path in files}
    wanted = expected(case)
    assert sorted(found) == sorted(wanted), "run: make golden"
    for name in wanted:
        assert found[name] == wanted[name], f"{name} differs; if it should, run: make golden"
