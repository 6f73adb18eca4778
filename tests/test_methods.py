"""The variants of [method], executed: each trains, goes on from a checkpoint and is exported, proven."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from . import tiny
from .test_executed import FULL, TWO, equal

pytestmark = pytest.mark.executed

# Together they use every key of [method]; a few at a time, as each run takes its seconds.
PATTERN = '[{ module = "layers.0.mlp.up_proj", rank = 6, alpha = 4 }]'
VARIANTS = {
    "dora": {
        "method.use_dora": "true",
        "method.use_rslora": "true",
        "method.init_lora_weights": '"gaussian"',
        "method.loraplus_lr_ratio": "4.0",
        "method.rank_pattern": PATTERN,
        "method.exclude_modules": '["layers.1.self_attn.k_proj"]',
        "method.modules_to_save": '["embed_tokens", "lm_head"]',
        "method.bias": '"lora_only"',
        "method.neftune_noise_alpha": "5.0",
    },
    "pissa": {
        "method.init_lora_weights": '"pissa_niter_4"',
        "method.target_modules": '["q_proj", "up_proj"]',
        "method.layers_to_transform": "[1]",
        "method.rank_pattern": PATTERN,
    },
    "olora": {"method.init_lora_weights": '"olora"', "method.use_rslora": "true"},
    "orthogonal": {"method.init_lora_weights": '"orthogonal"', "method.use_dora": "true"},
    "int8": {"method.kind": '"qlora"', "method.quantization.bits": "8", "method.bias": '"all"'},
    "fp4": {
        "method.kind": '"qlora"',
        "method.use_dora": "true",
        "method.quantization.type": '"fp4"',
        "method.quantization.double_quant": "false",
        "method.modules_to_save": '["lm_head"]',
    },
    "freeze": {
        **FULL,
        "method.freeze": '["model.layers.0", "*.up_proj.weight", "lm_head"]',
        "method.neftune_noise_alpha": "5.0",
    },
}
THREE = {"train.max_steps": "3", "train.save_every": "1", "train.keep_checkpoints": "3"}


@pytest.fixture
def other(compiled, tmp_path):
    """Compiles on a model with biases and a tied head."""

    def make(name="run", **values):
        if not (tmp_path / "other").exists():
            tiny.make(tmp_path / "other", tie_word_embeddings=True, attention_bias=True)
        return compiled(name, **{"model.base": '"other"', **values})

    return make


QUICK = ("dora",)  # it goes most ways; the others take their minutes elsewhere


@pytest.mark.parametrize(
    "variant",
    [pytest.param(v, marks=[] if v in QUICK else [pytest.mark.slow]) for v in VARIANTS],
)
def test_a_variant_trains_goes_on_and_is_exported(other, variant):
    values = {**VARIANTS[variant], **THREE}
    run = other(**values)
    run.launch()
    base = load_file(run.folder.parent / "other/model.safetensors")["model.embed_tokens.weight"]
    saved = [whole for name, whole in run.weights().items() if ".modules_to_save." in name]
    assert len(saved) == ("method.modules_to_save" in values)  # the head is tied: one for both
    assert all(whole.shape == base.shape and not torch.equal(whole, base) for whole in saved)
    said = run.bash("convert.sh").stdout
    assert "in training and rebuilt: largest difference" in said
    assert "trained and re-loaded: largest difference" in said
    again = other("again", **values)
    shutil.copytree(
        run.folder / "checkpoints/step-000001", again.folder / "checkpoints/step-000001"
    )
    again.launch("--resume", "latest")
    assert equal(again.weights(), run.weights())
    assert again.losses() == run.losses()[1:]


@pytest.mark.slow
def test_an_adapter_that_began_with_the_base_is_exported_as_a_plain_one(compiled):
    """PEFT alone, on the base as it was, gives the logits of training (convert.sh proves it)."""
    run = compiled(
        **VARIANTS["olora"], **TWO, **{"train.max_steps": "2", "parallel.zero_stage": "3"}
    )
    run.launch()
    run.bash("convert.sh")
    config = json.loads((run.folder / "export/adapter/adapter_config.json").read_text())
    assert (config["init_lora_weights"], config["r"]) == (True, 8)


def test_loraplus_moves_b_faster(compiled):
    """The first step of AdamW is the learning rate, for each weight that has a gradient."""
    keys = {"train.max_steps": "1", "method.loraplus_lr_ratio": "8.0", "optim.warmup_ratio": "0.0"}
    keys |= {"optim.learning_rate": "1e-3"}
    run = compiled(**keys, **TWO, **{"parallel.zero_stage": "2"})
    run.launch()
    moved = [w.abs().max().item() for name, w in run.weights().items() if "lora_B" in name]
    assert moved == pytest.approx([8e-3] * len(moved), rel=1e-2)


@pytest.mark.slow
def test_whole_modules_under_zero_3(other):
    keys = {"method.modules_to_save": '["embed_tokens"]', "method.dropout": "0.0"}
    keys |= {"train.max_steps": "3"}
    one, two = other("one", **keys), other("two", **keys, **TWO, **{"parallel.zero_stage": "3"})
    for run in (one, two):
        run.launch()
        run.bash("convert.sh")
    assert two.losses() == pytest.approx(one.losses(), rel=1e-5)


def test_what_is_frozen_stays(compiled):
    run = compiled(**VARIANTS["freeze"], **THREE)
    run.launch()
    run.bash("convert.sh")
    before = load_file(run.folder.parent / "tiny/model.safetensors")
    after = load_file(run.folder / "export/merged/model.safetensors")
    stayed = {name for name in before if bool((before[name] == after[name]).all())}
    frozen = {name for name in before if ".layers.0." in name or ".up_proj." in name}
    assert stayed == frozen | {"lm_head.weight"}


@pytest.mark.slow
def test_evaluation_changes_nothing_in_the_training_of_a_4_bit_base(compiled):
    keys = {"method.kind": '"qlora"', "data.validation_fraction": "0.2"}
    plain = compiled("plain", **keys, **{"train.eval_every": "100"})
    watched = compiled("watched", **keys, **{"train.eval_every": "1", "train.save_every": "1"})
    for run in (plain, watched):
        run.launch()
    assert watched.losses() == plain.losses()


def test_a_name_that_matches_nothing_is_refused_at_launch(compiled):
    """The compiler would say so for a model that it knows; a script can be edited."""
    for key, right, wrong, kind in (
        ("target_modules", '["v_proj"]', "v_porj", {}),
        ("freeze", '["model.layers.0"]', "model.layer.0", FULL),
    ):
        run = compiled(key, **{**kind, f"method.{key}": right})
        script = run.folder / "train.py"
        before = script.read_text("utf-8")
        after = before.replace(right[2:-2], wrong)
        assert after != before
        script.write_text(after, "utf-8")
        done = run.launch("--allow-drift", check=False)
        assert done.returncode == 2
        assert "error[unknown-module]: method." in done.stderr and "nearest" in done.stderr


@pytest.mark.slow
def test_a_longer_context_is_trained_exported_and_chatted_with(compiled):
    """512 positions become 2,048; the exported config says so to whoever serves the model."""
    keys = {"model.max_seq_length": "1024", "train.max_steps": "2", "chat.max_new_tokens": "4"}
    run = compiled(**keys, **{"model.rope_scaling": '{ type = "yarn", factor = 4.0 }'})
    run.launch()
    run.bash("convert.sh")
    config = json.loads((run.folder / "export/merged/config.json").read_text())
    assert config["max_position_embeddings"] == 2048
    assert config["rope_parameters"]["rope_type"] == "yarn"
    assert config["rope_parameters"]["original_max_position_embeddings"] == 512
    answers = [
        run.python("chat.py", choice, "--prompt", "read").stdout
        for choice in ("--merged", "--adapter")
    ]
    assert answers[0] == answers[1]
