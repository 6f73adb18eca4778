"""The base in memory is compared with its files: weights, tables that are computed, and the logits."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from ftc.runtime.errors import RunError
from ftc.runtime.model import loaded
from ftc.runtime.train import evaluate
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from . import tiny
from .architectures import make
from .test_architectures import logits, samples


def load(folder: Path, auto=AutoModelForCausalLM, **settings):
    return auto.from_pretrained(folder, output_loading_info=True, **settings)


@pytest.fixture
def base(tiny_model, tmp_path) -> Path:
    """A copy of the tiny model, to be spoilt."""
    return Path(shutil.copytree(tiny_model, tmp_path / "base"))


def old(base: Path, what: str) -> Path:
    """The base with code of its own, which goes wrong at `what`."""
    shutil.copy(Path(__file__).parent / "own_code.py", base / "modeling_old.py")
    config = json.loads((base / "config.json").read_text())
    names = {"AutoConfig": "OldConfig", "AutoModelForCausalLM": "OldForCausalLM"}
    config["auto_map"] = {auto: f"modeling_old.{name}" for auto, name in names.items()}
    config |= {"model_type": "old", "architectures": ["OldForCausalLM"], "old": what}
    (base / "config.json").write_text(json.dumps(config))
    return base


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_model_as_it_is_on_disk(base, dtype):
    loaded.prove(*load(base, dtype=dtype), str(base))


def test_one_number_in_each_weight_is_enough(base):
    model, loading = load(base)
    for name, parameter in model.named_parameters():
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.view(-1)[-1] += 1
        with pytest.raises(RunError, match=rf"1 weights of the loaded model .* {name} first"):
            loaded.prove(model, loading, str(base))
        with torch.no_grad():
            parameter.copy_(before)
    loaded.prove(model, loading, str(base))


def test_a_weight_that_no_file_holds(base):
    weights = load_file(base / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(RunError, match=r"drawn at random, .*up_proj.weight first"):
        loaded.prove(*load(base), str(base))


def test_weights_in_several_files_and_in_pickles(base):
    model, _ = load(base)
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="100KB")
    assert len(list(base.glob("*.safetensors"))) > 2
    loaded.prove(*load(base), str(base))
    for file in base.glob("model*"):
        file.unlink()
    torch.save(model.state_dict(), base / "pytorch_model.bin")
    loaded.prove(*load(base), str(base))
    with torch.no_grad():
        model.lm_head.weight[0] = 0
    with pytest.raises(RunError, match="lm_head"):
        loaded.prove(model, {"missing_keys": set()}, str(base))


def test_weights_that_are_no_numbers_in_the_file_or_the_dtype(base):
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][3] = 1e6
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    loaded.prove(*load(base, dtype=torch.bfloat16), str(base))
    with pytest.raises(RunError, match=r"no finite numbers in torch.float16, model.norm"):
        loaded.prove(*load(base, dtype=torch.float16), str(base))
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(RunError, match=r"no finite numbers in torch.float32"):
        loaded.prove(*load(base), str(base))


def test_own_code_whose_weights_transformers_5_draws_anew(base):
    model, loading = load(old(base, "head"), trust_remote_code=True)
    assert not loading["missing_keys"]  # transformers says nothing
    with pytest.raises(RunError, match=r"not-the-base.*lm_head.weight first"):
        loaded.prove(model, loading, str(base))


def test_own_code_whose_rotary_frequencies_are_whatever_lay_in_memory(base):
    model, loading = load(old(base, "rotary"), trust_remote_code=True)
    with torch.no_grad():
        model.model.rotary_emb.inv_freq.fill_(0.5)  # what lies there is another at each start
    with pytest.raises(
        RunError, match=r"tables that the model computes .* model.rotary_emb.inv_freq"
    ):
        loaded.prove(model, loading, str(base))


def test_own_code_that_is_right(base):
    loaded.prove(*load(old(base, "nothing"), trust_remote_code=True), str(base))


def test_logits_that_are_no_numbers_are_told_as_that():
    model = make("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[3] = float("inf")
    with pytest.raises(RunError, match=r"(?s)logits-not-finite.*up_proj") as told:
        evaluate.prove_isolation(model, logits, tiny.in_memory(samples()), "cpu")
    assert "not-isolated" not in str(told.value)


def test_numbers_that_are_too_large_for_the_dtype():
    model = make("llama").half()
    with torch.no_grad():
        model.lm_head.weight *= 6e5
        model.model.norm.weight *= 1e4
    with pytest.raises(RunError, match=r"(?s)logits-not-finite.*float16") as told:
        evaluate.prove_isolation(model, logits, tiny.in_memory(samples()), "cpu")
    assert "bfloat16" in str(told.value)


@pytest.mark.slow
@pytest.mark.executed
def test_a_run_with_own_code_that_goes_wrong_ends_before_it_trains(compiled, tmp_path, tiny_model):
    old(Path(shutil.copytree(tiny_model, tmp_path / "mine")), "head")
    run = compiled(**{"model.base": '"mine"', "model.trust_remote_code": "true"})
    done = run.launch(check=False)
    assert done.returncode == 2 and "error[not-the-base]: 1 weights" in done.stderr
    assert not (run.folder / "logs/metrics.jsonl").exists()
