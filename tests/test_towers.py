"""A base with towers for pictures or sounds, tuned on text: loaded as servers load it, and they stay as they are."""

import json
import shutil

import pytest
import torch
from ftc.compiler.catalog.architectures import traits
from ftc.compiler.catalog.model_types import CAUSAL, WHOLE
from ftc.runtime import data
from ftc.runtime.model import towers
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
)

from .test_architectures import logits, packed, plain, samples

TEXT = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "pad_token_id": 0,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
STATES = {
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}  # fmt: skip
SEEN = {
    "depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32,
    "num_position_embeddings": 16,
}  # fmt: skip
IDS = {
    "image_token_id": 60,
    "video_token_id": 61,
    "vision_start_token_id": 62,
    "vision_end_token_id": 63,
}
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
TINY = {
    "qwen3_5": ({**TEXT, **STATES}, SEEN, IDS),
    "qwen3_5_moe": ({**TEXT, **STATES, **EXPERTS}, SEEN, IDS),
    "gemma3": ({**TEXT, "sliding_window": 16}, VISION, {"mm_tokens_per_image": 4, "image_token_index": 63}),
    "llama4": (
        {**TEXT, "intermediate_size_mlp": 48, "num_local_experts": 2, "attention_chunk_size": 64},
        {**VISION, "vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32,
         "pixel_shuffle_ratio": 1.0},
        {"image_token_index": 63},
    ),
    "mllama": (
        {**TEXT, "cross_attention_layers": [1], "vocab_size": 64},
        {**VISION, "num_global_layers": 1, "attention_heads": 2, "vision_output_dim": 64, "max_num_tiles": 1,
         "intermediate_layers_indices": [0], "supported_aspect_ratios": [[1, 1]]},
        {"image_token_index": 63},
    ),
}  # fmt: skip


def make(kind, **settings):
    """The whole model, tiny, as it would lie in a folder; `settings` of its text model."""
    torch.manual_seed(0)
    text, vision, more = TINY[kind]
    configs = {"text_config": {**text, **settings}, "vision_config": dict(vision)}
    config = AutoConfig.for_model(kind, **configs, **more)
    whole = AutoModelForImageTextToText.from_config(config, attn_implementation="eager")
    model = whole.float().eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def left_out(kind):
    return [*traits(kind).towers, *(["layers.1"] if kind == "mllama" else [])]


def inside(names, kind):
    return towers.inside(names, left_out(kind))


@pytest.mark.parametrize("kind", TINY)
def test_text_reaches_all_but_the_towers(kind):
    model = make(kind)
    learnt = {name for name, gradient in plain(model, samples()[:1])[1].items() if gradient.any()}
    never = {name for name, _ in model.named_parameters()} - learnt
    of_towers = {*inside((name for name, _ in model.named_parameters()), kind)}
    assert of_towers and of_towers <= never
    assert not [name for name in never - of_towers if "experts" not in name]


@pytest.mark.parametrize("kind", [kind for kind in TINY if kind in WHOLE])
def test_the_whole_says_what_its_text_model_says(kind, tmp_path):
    whole = make(kind)
    whole.save_pretrained(tmp_path)
    text = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert type(text).__name__ == CAUSAL[kind] != type(whole).__name__ == WHOLE[kind]
    rows = samples()[:1]
    assert plain(whole, rows)[0] == pytest.approx(plain(text, rows)[0], abs=1e-6)
    assert packed(whole, rows)[0] == pytest.approx(plain(text, rows)[0], abs=1e-6)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "o_proj", "fc1", "proj"]])
@pytest.mark.parametrize("kind", TINY)
def test_adapters_are_put_where_text_comes_by_and_fit_the_class_that_servers_load(
    kind, targets, tmp_path
):
    config = LoraConfig(
        r=2,
        target_modules=targets,
        exclude_modules=["k_proj", *traits(kind).unadapted],
        task_type="CAUSAL_LM",
        init_lora_weights=False,
    )
    model = make(kind)
    towers.leave_out(model, config, left_out(kind))
    adapted = get_peft_model(model, config).eval()
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert any("q_proj.lora_A" in name for name in trained)
    assert not inside(trained, kind) and not [name for name in trained if "k_proj" in name]
    adapted.save_pretrained(tmp_path)
    served = PeftModel.from_pretrained(make(kind), tmp_path).eval()
    batch = data.batch(samples()[:1])
    torch.testing.assert_close(logits(served, batch), logits(adapted, batch))
    assert not torch.allclose(logits(served, batch), logits(make(kind), batch), atol=1e-3)


def test_biases_of_towers_are_not_trained_either():
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", bias="all")
    model = make("gemma3")
    towers.leave_out(model, config, left_out("gemma3"))
    adapted = get_peft_model(model, config)
    names = [name for name, _ in adapted.named_parameters() if name.endswith("bias")]
    biases = inside(names, "gemma3")
    assert any(adapted.get_parameter(name).requires_grad for name in biases)
    towers.freeze(adapted, left_out("gemma3"))
    assert not any(adapted.get_parameter(name).requires_grad for name in biases)


def test_every_type_with_towers_is_known():
    for kind in CAUSAL:
        parts = " ".join(CONFIG_MAPPING[kind].sub_configs)
        has = any(word in parts for word in ("vision", "audio", "vq"))
        assert not has or traits(kind).towers or traits(kind).of_media, kind


def test_files_of_the_processor_are_copied(tmp_path):
    base, folder = tmp_path / "base", tmp_path / "merged"
    base.mkdir()
    folder.mkdir()
    (base / "preprocessor_config.json").write_text(json.dumps({"size": 28}))
    (base / "chat_template.jinja").write_text("not this one")
    towers.copy_processor(str(base), None, folder)
    assert [path.name for path in folder.iterdir()] == ["preprocessor_config.json"]


def stored(folder, tiny_model, kind):
    """A base with towers in `folder`, with the tokenizer of the tiny model and a processor's file."""
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").unlink()
    model = make(kind, vocab_size=320)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text("{}")
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.slow
@pytest.mark.executed
@pytest.mark.parametrize(
    ("kind", "method"),
    [("qwen3_5", "lora"), ("qwen3_5", "full"), ("gemma3", "lora"), ("llama4", "qlora")],
)
def test_a_run_gives_what_servers_load(kind, method, compiled, tmp_path, tiny_model):
    """The adapter works on the class in config.json, and the merged model is of that class, with its towers."""
    weights = stored(tmp_path / "seeing", tiny_model, kind)
    changes = {
        "model.base": '"seeing"',
        "method.kind": f'"{method}"',
        "method.dropout": None,
        "method.rank": None if method == "full" else "4",
        "train.max_steps": "2",
        "data.packing": "false",
        "train.micro_batch_size": "1",
        "optim.learning_rate": "2e-2",
    }
    run = compiled(**changes)
    run.launch()
    run.bash("convert.sh")
    export, rows = run.folder / "export", samples()[:1]
    merged = AutoModelForImageTextToText.from_pretrained(export / "merged").eval()
    assert (
        type(merged).__name__
        == json.loads((tmp_path / "seeing/config.json").read_text())["architectures"][0]
    )
    assert (export / "merged/preprocessor_config.json").is_file()
    for name in inside(weights, kind):
        torch.testing.assert_close(merged.get_parameter(name), weights[name], msg=name)
    base = AutoModelForImageTextToText.from_pretrained(tmp_path / "seeing").eval()
    tuned = plain(merged, rows)[0]
    assert abs(tuned - plain(base, rows)[0]) > 1e-2
    text = AutoModelForCausalLM.from_pretrained(export / "merged").eval()
    assert plain(text, rows)[0] == pytest.approx(tuned, abs=1e-4)
    if method == "lora":
        served = PeftModel.from_pretrained(base, export / "adapter", is_trainable=True).eval()
        assert plain(served, rows)[0] == pytest.approx(tuned, abs=1e-4)
        assert run.python("chat.py", "--adapter", "--prompt", "Hi").returncode == 0
