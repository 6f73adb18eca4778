"""What is swapped inside a model changes no number beyond rounding, on each architecture that it is swapped for."""

import copy

import pytest
import torch
from ftc.compiler.catalog.architectures import MODEL_TYPES
from ftc.runtime.model import attention, fused
from ftc.runtime.model.fused import rotary
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from torch.nn.functional import cross_entropy

from .architectures import make
from .specs import ROOT
from .test_architectures import OFTEN

IDS = torch.arange(40)[None] * 7 % 64
PREDICT_AT = torch.arange(3, 39)


def allowing(swap):
    """The model types that allow it."""
    return sorted(kind for kind, row in MODEL_TYPES.items() if swap in row.swaps)


def step(model, targets=None, **told):
    """The losses, and the gradient of each weight, with dropout of the same seed each time."""
    torch.manual_seed(0)
    model.zero_grad()
    ids = IDS[0, PREDICT_AT + 1]
    if targets is None:
        output = model(input_ids=IDS, logits_to_keep=PREDICT_AT, use_cache=False, **told).logits[0]
        losses = cross_entropy(output.float(), ids, reduction="none")
    else:
        with fused.targets(ids):
            losses = model(
                input_ids=IDS, logits_to_keep=PREDICT_AT, use_cache=False, **told
            ).logits[0]
    (losses.sum() / 7).backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return losses.detach().clone(), gradients


def same(one, other, tolerance):
    torch.testing.assert_close(one[0], other[0], rtol=tolerance, atol=tolerance)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        difference = (other[1][name] - gradient).norm() / gradient.norm().clamp(min=1e-6)
        assert difference < tolerance, name


def adapted(model, **settings):
    settings = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    torch.manual_seed(0)
    model = get_peft_model(model, LoraConfig(init_lora_weights="gaussian", **settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.train()


@pytest.mark.parametrize("kind", allowing("linear_cross_entropy"))
def test_the_fused_head_gives_the_plain_loss(kind, monkeypatch):
    """Trained whole, and frozen under adapters; a part at a time."""
    monkeypatch.setattr(fused, "LOGITS_AT_ONCE", 64 * 5)
    for model, linear in ((make(kind), functional.linear), (adapted(make(kind)), fused.onednn)):
        plain = step(model.train())
        fused.linear_cross_entropy(model, linear)
        same(plain, step(model, targets=True), 1e-5)
        same(plain, step(model), 1e-5)  # asked for logits, it still gives them


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("linear", [functional.linear, fused.onednn])
def test_fused_adapters_are_peft_s(kind, dropout, linear):
    """qwen2 has biases; gpt2 has no linear layers, and keeps what it has."""
    model = adapted(make(kind), lora_dropout=dropout)
    plain = step(model)
    fused.lora(model, linear)
    swapped = [m for m in model.modules() if "forward" in vars(m)]
    assert bool(swapped) == (kind != "gpt2")
    same(plain, step(model), 1e-5)
    model.eval()
    with model.disable_adapter(), torch.no_grad():
        bare = model(input_ids=IDS).logits
    torch.testing.assert_close(bare, make(kind)(input_ids=IDS).logits)


@pytest.mark.parametrize("kind", allowing("lora_mlp"))
@pytest.mark.parametrize("linear", [functional.linear, fused.onednn])
def test_fused_mlps_are_peft_s(kind, linear):
    model = adapted(make(kind))
    plain = step(model)
    fused.lora(model, linear)
    fused.lora_mlp(model, linear)
    assert (
        sum("forward" in vars(m) for m in model.modules()) == 2 * 8
    )  # 7 linear layers and an MLP a block
    same(plain, step(model), 1e-5)
    model.eval()
    with model.disable_adapter(), torch.no_grad():
        bare = model(input_ids=IDS).logits
    torch.testing.assert_close(bare, make(kind)(input_ids=IDS).logits)


@pytest.mark.parametrize("kind", allowing("lora_mlp"))
def test_mlps_with_another_activation_are_left(kind):
    model = adapted(make(kind, hidden_act="gelu"))
    plain = step(model)
    fused.lora(model)
    fused.lora_mlp(model)
    assert sum("forward" in vars(m) for m in model.modules()) == 2 * 7
    same(plain, step(model), 1e-5)


@pytest.mark.parametrize("kind", allowing("rms_norm"))
def test_frozen_norms_are_the_model_s(kind):
    """Frozen ones are swapped, one that is trained is left."""
    model = adapted(make(kind))
    norms = [m for m in model.modules() if type(m).__name__.endswith("RMSNorm")]
    norms[-1].weight.requires_grad_()
    plain = step(model)
    fused.rms_norm(model)
    assert [("forward" in vars(m)) for m in norms] == [True] * (len(norms) - 1) + [False]
    same(plain, step(model), 1e-5)


@pytest.mark.parametrize("kind", allowing("attention"))
@pytest.mark.parametrize("lengths", [[40], [1, 19, 20]])
def test_fused_attention_is_the_segments(kind, lengths, monkeypatch):
    """In the rows of packed samples; with a cache, as in generation, the layer is what it was."""
    model = adapted(make(kind, attention.SEGMENT_SDPA))
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    told = {"lengths": lengths, "position_ids": positions}
    plain = step(model, **told)
    fused.attention(model)
    runs = []
    blocks = rotary._blocks
    monkeypatch.setattr(rotary, "QUERIES_AT_ONCE", 8)
    monkeypatch.setattr(rotary, "_blocks", lambda x: runs.append(x) or blocks(x))
    swapped = [m for m in model.modules() if "forward" in vars(m)]
    assert len(swapped) == model.config.num_hidden_layers
    same(plain, step(model, **told), 1e-5)
    assert runs == [lengths] * 2 * len(swapped)  # forwards and backwards
    model.eval()
    cached = model.generate(IDS, max_new_tokens=5, do_sample=False, eos_token_id=None)
    for module in swapped:
        del module.forward
    assert torch.equal(
        cached, model.generate(IDS, max_new_tokens=5, do_sample=False, eos_token_id=None)
    )


@pytest.mark.parametrize("linear", [fused.onednn, torch.nn.functional.linear])
def test_a_micro_batch_may_be_empty(linear):
    """The last step of a run has some where its rows don't fill it; then the head, too, is called without rows."""
    model = make("llama")
    model = get_peft_model(model, LoraConfig(target_modules=["q_proj", "lm_head"], r=4))
    fused.lora(model, linear)
    nothing = torch.empty(0, dtype=torch.long)
    logits = model(input_ids=torch.arange(3, 9)[None], logits_to_keep=nothing).logits
    assert logits.shape == (1, 0, 64)
    logits.sum().backward()
    assert all(not p.grad.any() for p in model.parameters() if p.requires_grad)


def test_in_bfloat16_the_difference_is_rounding():
    """As near to what float64 gives as the plain model is, over some models."""
    errors = torch.zeros(2)
    for seed in range(8):
        model = adapted(make("llama"))
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        model = model.bfloat16()
        exact, plain = step(copy.deepcopy(model).double())[1], step(model)[1]
        fused.lora(model)
        fused.lora_mlp(model)
        fused.linear_cross_entropy(model)
        for number, found in enumerate((plain, step(model, targets=True)[1])):
            parts = [
                (found[n].double() - truth).norm() / truth.norm() for n, truth in exact.items()
            ]
            errors[number] += torch.stack(parts).mean()
    assert errors[1] < 1.2 * errors[0] < 8 * 0.05


def test_no_token_no_loss():
    """A rank that ran out of rows goes on with a batch in which nothing carries loss."""
    for model in (make("llama"), adapted(make("llama"))):
        fused.linear_cross_entropy(model)
        none = torch.empty(0, dtype=torch.long)
        with fused.targets(none):
            losses = model(input_ids=IDS, logits_to_keep=none, use_cache=False).logits[0]
        losses.sum().backward()
        assert losses.shape == (0,)
        assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)


def test_every_plain_head_is_compared():
    assert {*OFTEN} >= {*allowing("linear_cross_entropy")}


def test_the_page_about_it_is_true():
    page = (ROOT / "docs/fused.md").read_text("utf-8")
    assert all(
        ", ".join(allowing(name)) in page
        for name in ("linear_cross_entropy", "lora_mlp", "rms_norm", "attention")
    )
    shown = page.split("```python\n")[1].split("```")[0]
    assert shown in (ROOT / "tests/golden/quickstart/run/train.py").read_text("utf-8")
