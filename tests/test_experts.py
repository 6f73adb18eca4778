"""The experts of a mixture get adapters by the names that their layers had in transformers 4."""

import pytest
import torch
from ftc.compiler.architectures import ADAPTED_EXPERTS, EXPERT_LAYERS
from ftc.runtime import names
from ftc.runtime.errors import RunError

from .architectures import make

SIZES = {"vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
KINDS = {"mixtral": {"num_local_experts": 4}, "qwen3_moe": {"moe_intermediate_size": 64}}


@pytest.mark.parametrize("kind", KINDS)
def test_layers_of_experts_are_adapted_by_name(kind):
    from peft import LoraConfig, get_peft_model

    model = make(kind, **SIZES, **KINDS[kind])
    router, *layers = EXPERT_LAYERS[kind]
    config = LoraConfig(target_modules=["q_proj", *layers], r=4, init_lora_weights=False)
    names.check(model, config)
    ids = torch.arange(20)[None]
    adapted = get_peft_model(model, config)
    adapters = {name for name, _ in adapted.named_parameters() if "lora_" in name}
    assert sum(".experts." in name for name in adapters) == 4 * model.config.num_hidden_layers
    assert not any(f".{router}." in name for name in adapters)
    with torch.no_grad():
        before = adapted(ids).logits
        after = adapted.merge_and_unload()(ids).logits
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)


def test_names_that_the_architecture_lacks_are_still_refused():
    from peft import LoraConfig

    model = make("qwen3_moe", **SIZES, **KINDS["qwen3_moe"])
    with pytest.raises(RunError, match='"w1" matches nothing'):
        names.check(model, LoraConfig(target_modules=["q_proj", "w1"]))


def test_the_names_are_pefts():
    from peft.utils import transformers_weight_conversion as conversion

    for kind in ADAPTED_EXPERTS:
        family = conversion._MODEL_TO_CONVERSION_PATTERN[kind]
        assert {*EXPERT_LAYERS[kind]} == {*conversion._MOE_TARGET_MODULE_MAPPING[family]}
