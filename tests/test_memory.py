"""What can't fit into a GPU is told; what is known to fit is not. Sizes are worked out by hand."""

import pytest
from ftc.compiler import Compiled, compile_document
from ftc.compiler.catalog.presets import find_model
from ftc.compiler.document.load import parse
from ftc.compiler.estimate.memory import GIB, load_of

from .specs import BASE, merged, toml


def compiled(folder, base, kind, accelerator, devices=1, **more) -> Compiled:
    preset = find_model(base)
    model = {"base": base} if preset.chat_template else {"base": base, "chat_template": "chatml"}
    hardware = {"device": "cuda", "accelerator": accelerator, "devices_per_node": devices}
    tables = {"model": model, "method": {"kind": kind}, "hardware": hardware}
    return judged(merged(BASE, tables, more), folder)


def judged(data, folder) -> Compiled:
    return compile_document(parse(toml(data), str(folder / "spec.toml")))


def warned(result: Compiled) -> bool:
    return any(warning.code == "will-not-fit" for warning in result.warnings)


SEVEN = 7_615_616_512  # parameters of Qwen2.5-7B
ONE = SEVEN * (2 + 2 + 4 + 8)


@pytest.mark.parametrize(
    "kind, devices, more, expected",
    [
        ("full", 1, {}, ONE),
        ("full", 1, {"model": {"dtype": "float32"}}, SEVEN * (4 + 4 + 8)),
        ("full", 4, {"parallel": {"zero_stage": 0}}, ONE),
        ("full", 4, {"parallel": {"zero_stage": 1}}, SEVEN * (2 + 2 + 12 / 4)),
        ("full", 4, {"parallel": {"zero_stage": 2}}, SEVEN * (2 + 14 / 4)),
        ("full", 4, {"parallel": {"zero_stage": 3}}, ONE / 4),
        ("full", 4, {"parallel": {"zero_stage": 2, "offload_optimizer": True}}, SEVEN * 2),
        (
            "full",
            4,
            {"parallel": {"zero_stage": 3, "offload_optimizer": True, "offload_params": True}},
            0,
        ),
        ("full", 1, {"optim": {"optimizer": "adamw_8bit"}}, SEVEN * (2 + 2 + 4 + 2)),
        ("full", 1, {"optim": {"optimizer": "paged_adamw"}}, SEVEN * (2 + 2 + 4)),
        ("full", 1, {"optim": {"optimizer": "lion"}}, SEVEN * (2 + 2 + 4 + 4)),
        (
            "full",
            1,
            {"optim": {"optimizer": "adafactor"}, "model": {"dtype": "float32"}},
            SEVEN * (4 + 4),
        ),
        # Which of them are trained is not known: the weights alone are certain.
        ("full", 1, {"method": {"freeze": ["lm_head"]}}, SEVEN * 2),
        # 28 blocks with 1,441,792 at rank 16: (2 (3584 + 3584) + 2 (3584 + 512) + 3 (3584 + 18944)) 16. Their
        # gradients are summed in float32.
        ("lora", 1, {}, SEVEN * 2 + 28 * 1_441_792 * (2 + 4 + 4 + 8)),
        ("lora", 1, {"train": {"grad_accum_dtype": "model"}}, SEVEN * 2 + 28 * 1_441_792 * 16),
        ("full", 4, {"train": {"grad_accum_dtype": "float32"}}, SEVEN * (2 + 16 / 4)),
        # Its layers, but not embedding, head, norms and biases, have 4 bits: 28 x 233,046,016.
        (
            "qlora",
            1,
            {},
            28 * 233_046_016 / 2 + (SEVEN - 28 * 233_046_016) * 2 + 28 * 1_441_792 * 18,
        ),
    ],
)
def test_what_lies_on_a_device_for_certain(folder, kind, devices, more, expected) -> None:
    result = compiled(folder, "qwen2.5-7b-instruct", kind, "A100-80G", devices, **more)
    load = load_of(result.plan, result.facts.architecture)
    assert load.total() == expected
    assert warned(result) == (expected > 80 * GIB)


@pytest.mark.parametrize(
    "base, kind, accelerator, devices, more",
    [
        ("llama-2-7b", "qlora", "RTX2080Ti-11G", 1, {}),
        ("llama-3.1-8b-instruct", "lora", "RTX4090-24G", 1, {}),
        ("llama-3.1-70b-instruct", "qlora", "A100-80G", 1, {}),
        ("mixtral-8x7b-instruct-v0.1", "qlora", "H200-141G", 1, {}),
        ("mixtral-8x7b-instruct-v0.1", "qlora", "A100-40G", 4, {"parallel": {"zero_stage": 3}}),
        ("qwen2.5-32b-instruct", "qlora", "RTX4090-24G", 1, {}),
        ("qwen2.5-7b-instruct", "full", "A100-80G", 4, {"parallel": {"zero_stage": 3}}),
        ("qwen2.5-72b-instruct", "full", "H100-80G", 16, {"parallel": {"zero_stage": 3}}),
        ("llama-3.2-1b-instruct", "full", "A10-24G", 1, {}),
    ],
)
def test_no_false_alarm_about_what_people_run(
    folder, base, kind, accelerator, devices, more
) -> None:
    assert not warned(compiled(folder, base, kind, accelerator, devices, **more))


@pytest.mark.parametrize(
    "base, kind, accelerator, devices",
    [
        ("qwen2.5-72b-instruct", "full", "T4-16G", 1),
        ("qwen2.5-7b-instruct", "full", "A100-80G", 1),
        ("llama-3.1-70b-instruct", "lora", "A100-80G", 8),  # stage 2 leaves the weights whole
        ("qwen2.5-32b-instruct", "full", "ada-48G", 2),
    ],
)
def test_what_can_not_fit_is_told(folder, base, kind, accelerator, devices) -> None:
    result = compiled(folder, base, kind, accelerator, devices)
    assert warned(result)
    (warning,) = (w for w in result.warnings if w.code == "will-not-fit")
    assert "zero_stage = 3" in "".join(warning.hints)


@pytest.mark.parametrize("base", ["mixtral-8x7b-instruct-v0.1", "deepseek-v2-lite-chat"])
def test_experts_stay_in_16_bits(folder, base) -> None:
    """bitsandbytes quantizes linear layers, and transformers 5 has the experts of a layer as one weight."""
    result = compiled(folder, base, "qlora", "RTX4090-24G")
    (warning,) = (w for w in result.warnings if w.code == "will-not-fit")
    experts = find_model(base).architecture.experts
    assert load_of(result.plan, result.facts.architecture).total() > 2 * experts
    assert f"the experts are none: {2 * experts / GIB:.1f} GiB" in str(warning)
    result = compiled(folder, base, "lora", "RTX4090-24G")
    (warning,) = (w for w in result.warnings if w.code == "will-not-fit")
    assert "qlora" not in "".join(warning.hints)


@pytest.mark.parametrize(
    "base, devices, way",
    [
        ("llama-3.2-3b-instruct", 1, 'set optimizer = "adamw_8bit" in [optim]: 29.9 GiB'),
        (
            "qwen2.5-7b-instruct",
            2,
            'set zero_stage = 3 in [parallel] and optimizer = "adamw_8bit" in [optim]: 35.5 GiB',
        ),
    ],
)
def test_an_optimizer_in_8_bits_is_offered_where_it_helps(folder, base, devices, way) -> None:
    result = compiled(folder, base, "full", "A100-40G", devices)
    (warning,) = (w for w in result.warnings if w.code == "will-not-fit")
    assert any(way in hint for hint in warning.hints), warning.hints


def test_where_the_parameters_are_not_known_nothing_is_said(folder) -> None:
    model = {"base": "acme/huge", "chat_template": "chatml"}
    hardware = {"device": "cuda", "accelerator": "T4-16G"}
    data = merged(BASE, {"model": model, "hardware": hardware, "method": {"kind": "full"}})
    result = judged(data, folder)
    assert load_of(result.plan, result.facts.architecture) is None and not warned(result)
