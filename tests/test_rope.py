"""Stretched rotary positions: what transformers makes of the same config."""

import pytest
import torch
from ftc.runtime.errors import RunError
from ftc.runtime.model import rope

SCALINGS = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512},
    "llama3": {
        "rope_type": "llama3",
        "factor": 4.0,
        "original_max_position_embeddings": 512,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    },
}


@pytest.mark.parametrize("kind", SCALINGS)
def test_the_logits_are_those_of_transformers_with_that_config(tiny_model, kind):
    from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    longest = 512 if kind == "dynamic" else 2048
    config = rope.scaled(str(tiny_model), SCALINGS[kind], longest)
    ours = AutoModelForCausalLM.from_pretrained(tiny_model, config=config, dtype=torch.float32)
    base = AutoConfig.from_pretrained(tiny_model).to_dict()
    base |= {
        "rope_parameters": {"rope_theta": 10_000.0, **SCALINGS[kind]},
        "max_position_embeddings": longest,
    }
    theirs = LlamaForCausalLM(LlamaConfig(**base)).eval()
    theirs.load_state_dict(ours.state_dict())
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    ids = torch.randint(3, 320, (1, 700), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected, unscaled = (model(ids).logits for model in (ours, theirs, plain))
    assert torch.equal(found, expected)
    assert not torch.allclose(found, unscaled, atol=1e-4)


def test_what_is_stretched_already_is_refused(tiny_model, tmp_path):
    rope.scaled(str(tiny_model), SCALINGS["yarn"], 2048).save_pretrained(tmp_path)
    with pytest.raises(RunError, match="has yarn"):
        rope.scaled(str(tmp_path), SCALINGS["linear"], 2048)
