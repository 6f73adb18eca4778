"""The ladder of bench/train.py is made by edits of the emitted scripts: they must find what they take away."""

import ast
import importlib

from . import tiny
from .conftest import ROOT


def test_each_lever_of_the_ladder_is_in_the_scripts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    bench = importlib.import_module("train")
    tiny.make(tmp_path / "model", max_position_embeddings=bench.MAX_SEQ_LENGTH)
    tiny.write_rows(tmp_path / "rows.jsonl")
    bench.compile_runs(tmp_path, 4)
    scripts = [(run / "train.py").read_text() for run in sorted(tmp_path.glob("ftc-*"))]
    assert len(scripts) == len(bench.LEVERS) + 1
    for script in scripts:
        ast.parse(script)
    assert "FUSED = []" in scripts[0] and "with fused.targets" not in scripts[0]
