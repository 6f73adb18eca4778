"""Weight files that are damaged: `ftc check` sees it without reading them, whatever the damage."""

import json
import random
import shutil

import pytest
from ftc.compiler.facts.weights import fault
from safetensors import SafetensorError, safe_open


@pytest.fixture
def mine(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "mine")
    return tmp_path / "mine"


def test_a_download_that_ended_anywhere(mine):
    file = mine / "model.safetensors"
    content, chance = file.read_bytes(), random.Random(0)
    assert fault(mine, False) is None
    for size in [
        0,
        3,
        8,
        9,
        len(content) - 1,
        *(chance.randrange(len(content)) for _ in range(50)),
    ]:
        file.write_bytes(content[:size])
        assert fault(mine, False), size
    file.write_bytes(content + b"\0")
    assert fault(mine, False)


def test_a_header_that_lies_is_seen_wherever_safetensors_refuses_it(mine):
    file = mine / "model.safetensors"
    content, chance = file.read_bytes(), random.Random(1)
    length = int.from_bytes(content[:8], "little")
    header, refused = content[8 : 8 + length].rstrip(), 0
    for _ in range(300):
        entries = json.loads(header)
        entry = entries[chance.choice([name for name in entries if name != "__metadata__"])]
        key = chance.choice(["dtype", "shape", "data_offsets"])
        values = [
            None,
            7,
            -1,
            [],
            [1, 2],
            [2, 1],
            [-1, 5],
            [0, 2**70],
            "F64",
            "X",
            {},
            [[1]],
            [0.5, 1],
        ]
        entry[key] = chance.choice([*values, [n * 2 for n in entry.get("shape", [1])]])
        text = json.dumps(entries).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
        try:
            safe_open(file, "pt").keys()
        except SafetensorError:
            refused += 1
            # A dtype that is not known here may be one of a later version.
            assert fault(mine, False) or entry["dtype"] == "X", entry
        else:
            assert fault(mine, False) is None
    assert refused > 200


@pytest.mark.parametrize("map", ["[", "[]", "{}", '{"weight_map": 7}', '{"weight_map": {"a": 7}}',
                                 '{"weight_map": {"a": "../b.safetensors"}}'])  # fmt: skip
def test_an_index_that_is_none(mine, map):
    (mine / "model.safetensors").unlink()
    (mine / "model.safetensors.index.json").write_text(map)
    found = fault(mine, False)
    assert found and found.file.name == "model.safetensors.index.json"


def test_pickles_are_asked_for_by_name(mine):
    (mine / "pytorch_model.bin").write_bytes(b"x")
    assert fault(mine, False) is None  # transformers takes the other one
    (mine / "model.safetensors").unlink()
    assert fault(mine, False).code == "pickled-weights"
    assert fault(mine, True) is None
