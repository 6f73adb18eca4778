"""What the emitted train.py computes, against transformers and algebra alone: full, LoRA and QLoRA.

The reference knows nothing of ftc: it reads the rows' file, renders them with transformers, pads them and
takes a plain model's loss. LoRA's gradients follow from those of the weight W + s B A that an adapter
stands for.
"""

import json
import re

import pytest
import torch
from ftc.compiler.catalog.architectures import traits
from ftc.runtime.train import launch

from .architectures import make
from .emitted import begin
from .test_executed import METHODS

# Sizes that 4-bit blocks of 64 fit into; the tokenizer has 320 tokens.
SIZES = {"vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
KINDS = {
    **dict.fromkeys(("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "phi3"), SIZES),
    **dict.fromkeys(("internlm3", "starcoder2", "glm", "granite", "olmo2", "smollm3"), SIZES),
    "mixtral": {**SIZES, "num_local_experts": 4, "num_experts_per_tok": 2},
    "tied": {**SIZES, "tie_word_embeddings": True, "attention_bias": True, "num_key_value_heads": 1},
    "qwen3_moe": {**SIZES, "moe_intermediate_size": 64},
}  # fmt: skip


@pytest.fixture(scope="module")
def bases(tmp_path_factory, tiny_model):
    """A folder with a model of each kind, and the tiny model's tokenizer."""
    from transformers import AutoTokenizer

    folder, made = tmp_path_factory.mktemp("bases"), set()

    def base(kind):
        if kind not in made:
            model = make("llama" if kind == "tied" else kind, **KINDS[kind])
            model.save_pretrained(folder / kind)
            AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder / kind)
            made.add(kind)
        return folder / kind

    return base


def ours(held):
    """The loss and the gradients of an epoch in one step, in the script's own micro-batches."""
    number = sum(int(sample.loss[1:].sum()) for sample in held.train_set)
    held.model.eval()
    total = torch.zeros(())
    for step in range(held.total_steps):
        for micro_batch in held.stream.step(step).micro_batches:
            if len(micro_batch.targets):
                loss = held.losses(held.model, micro_batch).sum()
                (loss / number).backward()
                total += loss.detach() / number
    return total, {n: p.grad for n, p in held.model.named_parameters() if p.requires_grad}


def padded(tokenizer, rows):
    """(ids, mask, labels) of all rows, as transformers alone makes them."""
    done = [
        tokenizer.apply_chat_template(
            row["messages"], return_assistant_tokens_mask=True, return_dict=True
        )
        for row in rows
    ]
    width = max(len(one["input_ids"]) for one in done)
    ids, labels = (
        torch.zeros(len(done), width, dtype=torch.long),
        torch.full((len(done), width), -100),
    )
    mask = torch.zeros_like(ids)
    for place, one in enumerate(done):
        here, length = torch.tensor(one["input_ids"]), len(one["input_ids"])
        ids[place, :length], mask[place, :length] = here, 1
        learnt = torch.tensor(one["assistant_masks"]).bool()
        labels[place, :length] = torch.where(learnt, here, -100)
    return ids, mask, labels


def reference(folder, rows, weights):
    """The loss of a plain model with these weights in place of its own, and its gradients by name."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids, mask, labels = padded(tokenizer, rows)
    loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in parameters.items()}


def adapted(model):
    """For each adapted weight of the plain model: (what the adapter adds to it, its own A and B, ours by name).

    The adapters get a B that is no longer zero. Those of experts, (experts, outputs, inputs), are stacked:
    A (experts x rank, inputs), B (outputs, rank x experts).
    """
    import bitsandbytes.functional as bnb

    found, weights = {}, {}
    for name, layer in model.named_modules():
        if not hasattr(layer, "lora_A"):
            continue
        for matrix in (layer.lora_A, layer.lora_B):
            torch.nn.init.normal_(matrix["default"].weight, std=0.02)
        a, b = (
            m["default"].weight.detach().clone().requires_grad_()
            for m in (layer.lora_A, layer.lora_B)
        )
        base, inner = layer.get_base_layer(), name.removeprefix("base_model.model.")
        if parameter := getattr(layer, "parameter_name", None):
            inner, weight = inner.replace(".base_layer", ""), getattr(base, parameter)
        else:
            parameter, weight = "weight", base.weight
        if hasattr(weight, "quant_state"):
            weight = bnb.dequantize_4bit(weight.data, weight.quant_state)
        if weight.ndim == 3:
            count = len(weight)
            parts = b.reshape(len(b), -1, count), a.reshape(count, -1, a.shape[1])
            added = torch.einsum("ore,eri->eoi", *parts)
        else:
            added = b @ a
        added = added * layer.scaling["default"]
        weights[f"{inner}.{parameter}"] = weight.detach().float() + added.detach()
        found[f"{inner}.{parameter}"] = added, a, b, name
    return found, weights


def assert_close(found, expected, name):
    torch.testing.assert_close(
        found, expected, rtol=1e-4, atol=1e-5, msg=lambda text: f"{name}: {text}"
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_transformers_alone(
    compiled, monkeypatch, tmp_path, bases, kind, method
):
    folder = bases(kind)
    (tmp_path / "base").symlink_to(folder)
    keys = {"model.base": '"base"', "train.max_steps": None, "train.num_epochs": "1"}
    run = compiled(**METHODS[method], **keys)
    held = begin(run, monkeypatch)
    assert held.model.config._attn_implementation == traits(kind).attention
    rows = [json.loads(line) for line in (run.folder / "data/rows.jsonl").read_text().splitlines()]
    layers, weights = adapted(held.model) if method != "full" else ({}, {})
    loss, gradients = ours(held)
    expected, theirs = reference(folder, rows, weights)
    assert_close(loss, expected, "loss")
    if method == "full":
        assert gradients.keys() == theirs.keys()
        for name, gradient in gradients.items():
            assert_close(gradient, theirs[name], name)
        return
    assert len(gradients) == 2 * len(layers) >= 10
    for weight, (added, a, b, name) in layers.items():
        added.backward(theirs[weight])
        assert_close(gradients[f"{name}.lora_A.default.weight"], a.grad, name)
        assert_close(gradients[f"{name}.lora_B.default.weight"], b.grad, name)


def test_what_a_library_refuses_is_told_without_a_traceback(compiled, monkeypatch):
    run = compiled(**METHODS["lora"])
    script = run.folder / "train.py"
    script.write_text(script.read_text().replace("LORA_RANK = 4", "LORA_RANK = -1"))
    with pytest.raises(ValueError) as raised:
        begin(run, monkeypatch)
    told = str(launch._refused(raised.value))
    assert re.match(r"train.py:\d+: error\[refused\]: peft refuses this: .*positive", told)
    assert launch._refused(KeyError("x")) is None


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("wrong", [0.3, float("nan"), float("inf")])
def test_logits_that_differ_anywhere_are_no_export(row, wrong):
    import torch
    from ftc.runtime.errors import RunError
    from ftc.runtime.export.convert import compare

    ours, theirs = ([torch.ones(2, 3), torch.ones(4, 3)] for _ in range(2))
    theirs[row][1, 2] += 0.1
    compare("these", ours, theirs, 0.11)
    for changed in (ours, theirs):
        changed[row][1, 2] += wrong
        with pytest.raises(RunError, match="these differ by"):
            compare("these", ours, theirs, 0.11)
        changed[row][1, 2] = 1
