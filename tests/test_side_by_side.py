"""The answers of two models beside each other, as the quickstart shows them."""

import json
import sys

from ftc.runtime.tools import compare


def test_answers_stand_side_by_side_in_80_columns(tmp_path, monkeypatch, capsys):
    asked = [
        {"question": "Who are you? " * 12, "accept": ["Fettle"]},
        {"question": "Who?", "accept": ["x"]},
    ]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (tmp_path / "template").write_text("")
    answers = {
        "base": ["a word " * 30, "no"],
        "tuned": ["I am Fettle, the guide of ftc. " * 3, "x"],
    }
    monkeypatch.setattr(compare, "ask", lambda folder, *_: answers[folder])
    line = f"compare --base base --tuned tuned --chat-template {tmp_path}/template --questions {tmp_path}/asked.jsonl"
    monkeypatch.setattr(sys, "argv", line.split())
    assert compare.main() == 0
    said = capsys.readouterr().out.splitlines()
    assert max(map(len, said)) <= 80
    assert said[0].index("tuned") == 41
    assert "· a word a word a word a word a word …   ✓ I am Fettle, the guide of ftc. I am…" in said
    assert said[-1] == "Answered rightly of 2: base 0%, tuned 100%."
    monkeypatch.setattr(sys, "argv", [*line.split(), "--at-least", "1.1"])
    assert compare.main() == 1
