"""`ftc.compiler.document.load`: files that are read, and files that cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ftc.compiler.diagnostics.diagnostic import CompileError, Diagnostic
from ftc.compiler.document.load import MAX_BYTES, load
from ftc.compiler.document.scanner import Span

from .specs import told


def failure(path: str | Path) -> Diagnostic:
    with pytest.raises(CompileError) as caught:
        load(path)
    (problem,) = caught.value.diagnostics
    assert problem.path == str(path)
    return problem


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes('\ufeffname = "é"\r\nseed = 1\r\n'.encode())
    document = load(path)
    assert document.data == {"name": "é", "seed": 1}
    assert (document.path, document.text) == (str(path), 'name = "é"\r\nseed = 1\r\n')
    assert document.value(("seed",)) == Span(2, 8, 9)
    assert load(str(path)).data == document.data


def test_load_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = '\xc3\xa9\xe9'\r\n")
    error = failure(path)
    said = "    2:7-8 encoding: byte 0xE9 (at offset 17) is not UTF-8"
    assert told(error) == f"{said}\n    hint: save the file as UTF-8"
    assert error.source == "b = 'é\ufffd'"
    path.write_bytes("a = 1".encode("utf-16"))
    said = "    1:1-2 encoding: the file is in UTF-16\n    hint: save the file as UTF-8"
    assert told(failure(path)) == said


def test_load_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    missing = "    0:1-2 not-found: there is no such file\n    hint: "
    for path in ("spec.toml", "no/such/spec.toml"):
        assert (
            told(failure(path)) == missing + "check the path, or write a first spec with `ftc new`"
        )
    Path("quickstart.toml").write_text("a = 1")
    assert told(failure("quickstrat.toml")) == missing + "did you mean `quickstart.toml`?"
    assert "check the path" in told(failure("quickstart.toml/spec.toml"))


def test_load_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    said = "    0:1-2 not-a-file: this is a folder, not a spec\n    hint: "
    assert told(failure("run")) == said + "name a file, such as `spec.toml`"
    Path("run/spec.toml").write_text("a = 1")
    assert told(failure("run")) == said + "did you mean `run/spec.toml`?"


def test_load_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_BYTES == 10_000_000
    monkeypatch.setattr(sys.modules[load.__module__], "MAX_BYTES", 10)
    path = tmp_path / "spec.toml"
    path.write_text("a = 123456")
    assert load(path).data == {"a": 123456}
    path.write_text("a = 1234567")
    assert told(failure(path)) == (
        "    0:1-2 too-large: the file is larger than 10 MB\n    hint: a spec holds settings; "
        "keep data in files of its own and name them in the spec"
    )


def test_load_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "    0:1-2 unreadable: the file cannot be read: "
    assert told(failure("a\0b")) == said + "embedded null byte\n    hint: None"

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert told(failure("x")) == said + "Permission denied\n    hint: check its permissions"
