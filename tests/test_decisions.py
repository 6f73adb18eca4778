"""What the compiler decides by itself, against tests/decisions.toml; and the facts that it decides by."""

import json
import tomllib

import pytest
from ftc.compiler import compile_document
from ftc.compiler.catalog.accelerators import ACCELERATORS
from ftc.compiler.document.load import Document
from ftc.compiler.plan.values import leaves

from .specs import BASE, GPU, ROOT, furnish, merged, toml

TABLE = tomllib.loads((ROOT / "tests/decisions.toml").read_text("utf-8"))
CASES = [(name, kind) for name, row in TABLE.items() for kind in row.get("model_types", [None])]
# Of the folders that `model_types` makes.
CONFIG = {
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "max_position_embeddings": 4096,
}


def test_a_decision_has_one_place():
    assert len(CASES) >= 60
    for name, row in TABLE.items():
        assert row.keys() <= {"on", "model_types", "spec", "plan", "ds_config", "unset"}, name
        assert row.keys() & {"plan", "ds_config", "unset"}, name


@pytest.mark.parametrize("name, kind", CASES, ids=lambda value: str(value or ""))
def test_the_compiler_decides(tmp_path, name, kind):
    row = TABLE[name]
    furnish(tmp_path)
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text(json.dumps({"model_type": kind, **CONFIG}))
    folder = {"model": {"base": "base", "chat_template": "chatml"}} if kind else {}
    gpu = GPU if row["on"] == "gpu" else {}
    text = toml(merged(BASE, gpu, folder, row.get("spec", {})))
    path = str(tmp_path / "spec.toml")
    compiled = compile_document(Document(path, text, tomllib.loads(text)))
    plan = dict(leaves(compiled.plan))
    for key, (value, origin) in row.get("plan", {}).items():
        found = plan.get(key)
        assert found is not None, f"{key} is unset"
        assert (plain(found.value), str(found.origin)) == (value, origin.format(model_type=kind)), (
            key
        )
    config = json.loads(compiled.files["ds_config.json"].content)
    for key, value in row.get("ds_config", {}).items():
        assert inside(config, key) == value, key
    for key in row.get("unset", []):
        table, _, inner = key.partition(":")
        assert (inside(config, inner) if table == "ds_config" else plan.get(key)) is None, key


def plain(value):
    return list(value) if isinstance(value, tuple) else value


def inside(table, path):
    for key in path.split("."):
        table = table.get(key) if table is not None else None
    return table


# By NVIDIA's architecture papers and data sheets: compute capability, multiprocessors, boost clock in MHz, and the
# dense 16-bit operations (two a product) that a multiprocessor sums in float32 in a clock.
SHEETS = {
    "A10": (8.6, 72, 1695, 1024),
    "A100": (8.0, 108, 1410, 2048),
    "A6000": (8.6, 84, 1800, 1024),
    "H100": (9.0, 132, 1830, 4096),
    "H200": (9.0, 132, 1830, 4096),
    "L4": (8.9, 58, 2040, 1024),
    "L40S": (8.9, 142, 2490, 1024),
    "RTX2080Ti": (7.5, 68, 1545, 512),
    "RTX3090": (8.6, 82, 1695, 512),
    "RTX4090": (8.9, 128, 2520, 512),
    "RTX5090": (12.0, 170, 2407, 512),
    "T4": (7.5, 40, 1590, 1024),
    "V100": (7.0, 80, 1530, 1024),
}
PEAKS = {"B200": (10.0, 2250.0)}  # of an HGX B200's data sheet, half of what it gives with sparsity


@pytest.mark.parametrize("name", ACCELERATORS)
def test_a_gpu_is_what_its_data_sheet_says(name):
    gpu = ACCELERATORS[name]
    model, _, memory = name.rpartition("-")
    assert memory == f"{gpu.memory}G"
    if model in PEAKS:
        capability, peak = PEAKS[model]
    else:
        capability, multiprocessors, clock, operations = SHEETS[model]
        peak = multiprocessors * clock * operations / 1e6
    assert gpu.tflops == pytest.approx(peak, rel=0.005)
    assert gpu.bfloat16 == (capability >= 8.0)
