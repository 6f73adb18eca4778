"""Model presets: each is complete, and compiles."""

import json

import pytest
from ftc.compiler.catalog.accelerators import find_accelerator, same_model
from ftc.compiler.catalog.presets import chat_templates, find_model, model_families, model_presets

from .specs import BASE, GPU, merged, render

PRESETS = model_presets()


def test_there_are_many() -> None:
    assert len(PRESETS) >= 128 and len(model_families()) >= 15


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_found_by_its_name_and_by_its_id(name: str) -> None:
    preset = PRESETS[name]
    assert find_model(name) == preset == find_model(preset.hub_id)
    known = preset.architecture
    assert preset.chat_template is None or preset.chat_template in chat_templates()
    assert known.num_layers and known.hidden_size and known.vocab_size and known.parameters
    assert known.max_position, "a length that is too long would pass"
    leaves = {module.rpartition(".")[2] for module in known.modules}
    assert set(known.linears or ()) <= leaves and "embed_tokens" in leaves


def test_heads_are_those_of_the_layers() -> None:
    """Queries and keys have the same width a head."""
    for name, preset in PRESETS.items():
        known = preset.architecture
        assert known.num_heads % known.num_kv_heads == 0, name
        if known.linears and "q_proj" in known.linears:
            queries, keys = (known.linears[layer][1] for layer in ("q_proj", "k_proj"))
            assert queries / known.num_heads == keys / known.num_kv_heads, name


@pytest.mark.parametrize(
    "base, devices, served",
    [
        ("qwen2.5-7b-instruct", 8, 4),  # 28 heads, 4 of keys and values
        ("qwen2.5-7b-instruct", 4, 4),
        ("llama-3.1-8b-instruct", 8, 8),
        ("smollm2-360m", 8, 1),  # 15 heads
        ("qwen2.5-0.5b", 4, 2),  # 14
        ("phi-4", 8, 2),  # 40 heads would do for 8, 10 of keys and values don't
    ],
)
def test_heads_are_shared_out_evenly_when_serving(folder, base, devices, served) -> None:
    model = {"model": {"base": base, "chat_template": "chatml"}}
    spec = merged(BASE, GPU, model, {"hardware": {"devices_per_node": devices}})
    files = render(spec, folder)
    assert (
        f"    --tp {served} # devices that share the model\n".encode() in files["deploy.sh"].content
    )
    assert json.loads(files["ds_config.json"].content)["train_batch_size"] == 16


@pytest.mark.parametrize(
    "name, found",
    [
        ("a100", ["A100-40G", "A100-80G"]),
        ("NVIDIA A100-SXM4-80GB", ["A100-80G"]),
        ("A100-64G", ["A100-40G", "A100-80G"]),
        ("GeForce RTX 4090", ["RTX4090-24G"]),
        ("Tesla V100-SXM2-32GB", ["V100-32G"]),
        ("H100_80", ["H100-80G"]),
        *[
            (other, [])
            for other in ("RTX4080-16G", "RTX3090Ti-24G", "A10G-24G", "L40-48G", "A40", "")
        ],
    ],
)
def test_an_accelerator_is_guessed_within_its_model(name, found) -> None:
    assert same_model(name) == found


@pytest.mark.parametrize("name", ["ada", "ada-16", "Ada-16G", "ada-0G", "pascal-11G", "ada-16G "])
def test_what_names_no_architecture_and_memory_is_no_accelerator(name) -> None:
    assert find_accelerator(name) is None


@pytest.mark.parametrize(
    "name, dtype, attention",
    [
        ("turing-16G", "float16", "segment_sdpa"),
        ("volta-32G", "float16", "segment_sdpa"),
        *[
            (f"{new}-40G", "bfloat16", "segment_sdpa")
            for new in ("ampere", "ada", "hopper", "blackwell")
        ],
    ],
)
def test_a_gpu_is_named_by_architecture_and_memory(folder, name, dtype, attention) -> None:
    """All is decided but the peak, so train.py has no MFU."""
    files = render(merged(BASE, GPU, {"hardware": {"accelerator": name}}), folder)
    train = files["train.py"].content.decode()
    assert f"DTYPE = torch.{dtype}  # auto: what {name} computes fast" in train
    assert ("attention.SEGMENT_SDPA" in train) == (attention == "segment_sdpa")
    assert ("flash_attention_2" in train) == (attention == "flash_attention_2")
    assert "PEAK" not in train and "mfu" not in train.lower()
    assert "hardware.peak_tflops" not in json.loads(files["ftc.lock"].content)["plan"]


def test_parameters_add_up() -> None:
    """Embeddings and linear layers are all but the norms and biases: within 0.2 percent."""
    for name, preset in PRESETS.items():
        known = preset.architecture
        if not known.linears:
            continue
        blocks = sum(inputs * outputs for inputs, outputs in known.linears.values())
        embeddings = known.vocab_size * known.hidden_size * (1 if known.tied else 2)
        total = embeddings + known.num_layers * blocks + (known.experts or 0)
        assert total == pytest.approx(known.parameters, rel=2e-3), name


def test_a_mixture_says_how_much_its_experts_are() -> None:
    for name, preset in PRESETS.items():
        known = preset.architecture
        mixture = any(module.endswith(".experts") for module in known.modules)
        assert mixture == bool(known.experts), name


def test_each_compiles(folder) -> None:
    for name, preset in PRESETS.items():
        template = {} if preset.chat_template else {"chat_template": "chatml"}
        spec = merged(BASE, GPU, {"model": {"base": name, "revision": "main", **template}})
        if preset.package:
            spec = merged(spec, {"model": {"source": "hub"}})
        assert f'"{preset.hub_id}"'.encode() in render(spec, folder)["train.py"].content


@pytest.mark.parametrize("base", ["llama", "qwen2.5", "qwen2.5-7b-instruc", "acme/llama-2-7b", ""])
def test_another_name_is_no_preset(base: str) -> None:
    assert find_model(base) is None
