"""NEFTune: how strong the noise is, and when there is none."""

import pytest
import torch
from ftc.runtime.model import neftune

ALPHA = 5.0
LENGTHS = [3, 9, 4]  # of the samples of one row


@pytest.fixture
def model(tiny_model):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    neftune.add_noise(model, ALPHA)
    return model


def embedded(model, seed: int) -> torch.Tensor:
    """What the first block gets, (tokens, width)."""
    seen = []
    hook = model.model.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    torch.manual_seed(seed)
    ids = torch.arange(sum(LENGTHS))[None]
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    model(input_ids=ids, position_ids=positions, use_cache=False)
    hook.remove()
    return seen[0][0].detach()


def test_noise_is_as_strong_as_a_sample_is_short(model):
    clean = embedded(model.eval(), seed=0)
    noise = (embedded(model.train(), seed=0) - clean).split(LENGTHS)
    for part, length in zip(noise, LENGTHS, strict=True):
        limit = ALPHA / (length * part.shape[1]) ** 0.5
        assert 0.9 * limit < part.abs().max() <= limit * (1 + 1e-5)
        assert part.abs().mean() == pytest.approx(limit / 2, rel=0.2)


def test_noise_is_a_function_of_the_seed_and_there_is_none_in_evaluation(model):
    assert torch.equal(embedded(model.train(), seed=1), embedded(model, seed=1))
    assert not torch.equal(embedded(model, seed=1), embedded(model, seed=2))
    ids = torch.arange(16)[None]
    with torch.no_grad():
        generated = model.eval().generate(ids, max_new_tokens=2, do_sample=False)
    assert generated.shape == (1, 18)
    assert torch.equal(embedded(model, seed=1), embedded(model, seed=2))
