"""Each layer that is named gets an adapter and no other, in mixtures, too; by plain transformers and plain PEFT."""

import re
import warnings
from types import SimpleNamespace

import pytest
import torch
from ftc.compiler.catalog.architectures import MODEL_TYPES, traits
from ftc.runtime.errors import RunError
from ftc.runtime.model import adapters
from ftc.runtime.train import guards
from peft import LoraConfig, PeftModel, get_peft_model

from .architectures import make

IDS = torch.arange(3, 23)[None]
# With dense MLPs, shared experts, a router that is a linear layer; each of the others is like one of them.
OFTEN = ("deepseek_v3", "glm4_moe", "afmoe", "mixtral", "qwen3_moe", "llama")
ADAPTED_EXPERTS = {kind for kind, row in MODEL_TYPES.items() if row.experts}
SELDOM = sorted({*ADAPTED_EXPERTS, "qwen2_moe", "granitemoe", "phimoe", "gpt2"} - {*OFTEN})


def layers_of(model):
    """Every linear layer but the head, and the weights that transformers 5 stacks experts in, by full name."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    linear = {
        name
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head
    }
    stacked = {name for name, p in model.named_parameters() if ".experts." in name and p.ndim == 3}
    routers = {
        name
        for name, p in model.named_parameters()
        if name.endswith(".gate.weight") and name.removesuffix(".weight") not in linear
    }
    return linear, stacked | routers


def adapted_by_peft(model):
    """What has an adapter by the names of the parameters alone: layers, and modules that hold weights."""
    names = {n.partition(".lora_")[0] for n, _ in model.named_parameters() if ".lora_" in n}
    return {name.removeprefix("base_model.model.").replace(".base_layer", "") for name in names}


@pytest.mark.parametrize(
    "kind", [*OFTEN, *(pytest.param(kind, marks=pytest.mark.slow) for kind in SELDOM)]
)
def test_all_linear_is_all_of_them_and_plain_peft_loads_it(kind, tmp_path):
    model = make(kind)
    linear, stacked = layers_of(model)
    left_out = traits(kind).unadapted
    expected = {name for name in linear if name.rpartition(".")[2] not in left_out}
    if kind in ADAPTED_EXPERTS:
        expected |= {name.rpartition(".")[0] for name in stacked}
    config = LoraConfig(
        r=4,
        target_modules="all-linear",
        exclude_modules=[*left_out] or None,
        init_lora_weights=False,
    )
    adapted = adapters.add(model, config)
    assert adapted_by_peft(adapted) == expected
    with torch.no_grad():
        before = adapted(IDS).logits
        adapters.for_everybody(adapted)
        adapted.save_pretrained(tmp_path, save_embedding_layers=False)
        again = PeftModel.from_pretrained(make(kind), tmp_path)(IDS).logits
        merged = adapted.merge_and_unload()(IDS).logits
    torch.testing.assert_close(again, before, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(merged, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings, found",
    [
        ({"target_modules": ["q_proj"]}, r"layers\.\d+\.self_attn\.q_proj"),
        (
            {"target_modules": ["shared_experts.gate_proj", "shared_experts.down_proj"]},
            r"layers\.\d+\.mlp\.shared_experts\.(gate|down)_proj",
        ),
        ({"target_modules": ["mlp.up_proj"]}, r"layers\.0\.mlp\.up_proj"),
        (
            {"target_modules": ["experts.gate_proj", "experts.up_proj"]},
            r"layers\.\d+\.mlp\.experts",
        ),
        ({"target_modules": ["experts", "gate"]}, r"layers\.\d+\.mlp\.(experts|gate)"),
        (
            {"target_modules": ["gate_proj", "up_proj"]},
            r"layers\.\d+\.mlp(\.shared_experts)?\.(gate|up)_proj|layers\.\d+\.mlp\.experts",
        ),
        (
            {"target_modules": "all-linear", "exclude_modules": ["experts", "gate", "self_attn"]},
            r"layers\.\d+\.mlp(\.shared_experts)?\.(gate|up|down)_proj",
        ),
        (
            {"target_modules": "all-linear", "exclude_modules": ["mlp", "layers.1"]},
            r"layers\.0\.self_attn\.\w+",
        ),
        (
            {"target_modules": ["down_proj", "o_proj"], "layers_to_transform": [1]},
            r"layers\.1\.(self_attn\.o_proj|mlp\.experts|mlp\.shared_experts\.down_proj)",
        ),
    ],
)
def test_a_name_means_what_ends_with_it(settings, found):
    model = make("glm4_moe")
    modules = [name for name, _ in model.named_modules()]
    expected = {name for name in modules if re.fullmatch(rf"model\.(?:{found})", name)}
    config = LoraConfig(r=4, **settings)
    assert adapted_by_peft(adapters.add(model, config)) == expected


def test_the_adapter_is_rebuilt_from_its_own_description():
    """As convert.sh does it from a checkpoint, ranks of single layers included."""
    ranks = {
        "rank_pattern": {"gate_proj": 2, "up_proj": 6},
        "alpha_pattern": {"gate_proj": 1, "up_proj": 3},
    }
    config = LoraConfig(r=4, lora_alpha=2, target_modules="all-linear", **ranks)
    first = adapters.add(make("glm4_moe"), config)
    described = LoraConfig(**{k: v for k, v in config.to_dict().items() if k in LORA})
    second = adapters.add(make("glm4_moe"), described)
    assert {n: p.shape for n, p in first.named_parameters()} == {
        n: p.shape for n, p in second.named_parameters()
    }
    experts = first.get_submodule("base_model.model.model.layers.1.mlp.experts.base_layer")
    assert (experts.r["default"], experts.lora_alpha["default"]) == (8, 4)


LORA = ["r", "lora_alpha", "target_modules", "target_parameters", "rank_pattern", "alpha_pattern"]


@pytest.mark.parametrize(
    "kind, settings, said",
    [
        ("qwen3_moe", {"target_modules": ["q_proj", "w1"]}, '"w1" matches nothing'),
        ("qwen3_moe", {"target_modules": ["norm"]}, '"norm" is a part of the model, but not a layer'),
        ("qwen3_moe", {"target_modules": ["gate_proj"]}, "are one weight, so both get an adapter"),
        ("mixtral", {"target_modules": "all-linear", "exclude_modules": ["w3"]}, "are one weight"),
        ("mixtral", {"target_modules": "all-linear", "init_lora_weights": "olora"}, "init_lora_weights"),
        ("mixtral", {"target_modules": ["experts"], "lora_dropout": 0.1}, "method.dropout"),
        ("glm4_moe", {"target_modules": ["shared_experts.up_proj"], "use_dora": True}, "use_dora"),
        ("llama", {"target_modules": ["q_proj"], "exclude_modules": ["self_attn"]}, "no layer to adapt"),
        ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["nrom"]}, '"nrom" matches nothing'),
        ("gemma", {"target_modules": ["q_proj", "lm_head"]}, "lm_head shares its weight"),
        ("gpt2", {"target_modules": ["c_attn", "wte"]}, "wte shares its weight"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_refused_before_training(kind, settings, said):
    with pytest.raises(RunError, match=re.escape(said)):
        adapters.add(make(kind), LoraConfig(**{"r": 4, **settings}))


def test_norm_is_norm_and_no_q_norm():
    """PEFT looks for names that end so, "q_norm" and "input_layernorm", too."""
    config = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["norm"])
    adapted = adapters.add(make("qwen3"), config)
    whole = {n for n, p in adapted.named_parameters() if p.requires_grad and ".lora_" not in n}
    assert whole == {"base_model.model.model.norm.modules_to_save.default.weight"}


def test_another_result_of_peft_is_an_error(monkeypatch):
    """Whatever the reason: here PEFT leaves out a layer, there it trains one more."""

    def fewer(model, config):
        config.target_modules = ["q_proj"]
        return get_peft_model(model, config)

    def more(model, config):
        adapted = get_peft_model(model, config)
        adapted.get_input_embeddings().weight.requires_grad_(True)
        return adapted

    for wrong, said in (
        (fewer, r"no adapter: .*k_proj.* \(2 in all\)"),
        (more, "weights .*embed_tokens"),
    ):
        monkeypatch.setattr(adapters, "get_peft_model", wrong)
        with pytest.raises(RunError, match=said):
            adapters.add(make("llama"), LoraConfig(r=4, target_modules=["q_proj", "k_proj"]))


def test_the_number_of_parameters_is_the_plans():
    config = {"r": 4, "target_modules": ["q_proj", "lm_head"]}
    count = 2 * 4 * (32 + 32) + 4 * (32 + 64)
    adapters.add(make("llama"), LoraConfig(**config), parameters=count)
    with pytest.raises(
        RunError, match=f"{count:,} parameters would be trained, and the plan counts 1"
    ):
        adapters.add(make("llama"), LoraConfig(**config), parameters=1)


def test_an_adapter_without_a_gradient_stops_the_run():
    """An indexer chooses what is attended to, which no gradient goes through."""
    model = make("deepseek_v32")
    adapted = adapters.add(model, LoraConfig(r=4, target_modules=["q_a_proj", "indexer.wk"]))
    engine = SimpleNamespace(module=adapted, is_gradient_accumulation_boundary=lambda: True)
    guard = guards.Guard(engine, None, None)
    loss = adapted(IDS).logits.sum()
    loss.backward()
    with pytest.raises(RunError, match=r"error\[no-gradient\]: 2 adapted layers .*indexer\.wk"):
        guard.check(0, loss)
    adapted = adapters.add(make("deepseek_v3"), LoraConfig(r=4, target_modules="all-linear"))
    engine.module = adapted
    guard = guards.Guard(engine, None, None)
    loss = adapted(IDS).logits.sum()
    loss.backward()
    guard.check(0, loss)
    assert not guard.hooks


def test_peft_says_nothing_untrue():
    from ftc.runtime.process import distributed

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        distributed.quiet()
        adapters.add(make("mixtral"), LoraConfig(r=4, target_modules="all-linear"))
        adapters.add(make("gpt2"), LoraConfig(r=4, target_modules="all-linear"))
    assert not [str(w.message) for w in said if w.category is not DeprecationWarning]


def test_the_names_are_pefts():
    from peft.utils import transformers_weight_conversion as conversion

    for kind in ADAPTED_EXPERTS:
        family = conversion._MODEL_TO_CONVERSION_PATTERN[kind]
        assert {*traits(kind).experts} == {*conversion._MOE_TARGET_MODULE_MAPPING[family]}
