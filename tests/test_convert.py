"""What convert.sh makes of a checkpoint: nothing is lost, and what it writes is read alike by others."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ftc.runtime.errors import RunError
from ftc.runtime.export import convert, portable, rebuilt
from ftc.runtime.model import quantized
from ftc.runtime.model.on_disk import Weights
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
)

from . import architectures, tiny
from .specs import BASE, GPU, HUB, merged, render

IDS = torch.tensor([[5, 9, 11, 7, 33, 21, 8, 40, 3, 17]])


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS, use_cache=False).logits


def adapted(model, **settings):
    """The model with an adapter that has something to say."""
    torch.manual_seed(1)
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **settings})
    model = get_peft_model(model, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize(
    "flags, unset",
    [
        ({"temperature": 0.6, "top_p": 0.9}, {"temperature", "top_p"}),
        ({"min_p": 0.1, "top_k": 20, "typical_p": 0.5}, {"min_p", "top_k", "typical_p"}),
        ({"length_penalty": 2.0, "early_stopping": True}, {"length_penalty", "early_stopping"}),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, set()),
        ({"pad_token_id": -1}, {"pad_token_id"}),
        ({"output_scores": True}, {"output_scores"}),
    ],
)
def test_flags_without_effect_are_unset_and_the_others_kept(flags, unset, tmp_path):
    generation = GenerationConfig(**flags)
    generation.eos_token_id = [2, 3]
    assert set(portable.settle(generation)) == unset
    generation.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "generation_config.json").read_text())
    assert saved["eos_token_id"] == [2, 3]
    assert {name: saved.get(name) for name in flags} == {
        name: None if name in unset else value for name, value in flags.items()
    }


def test_what_can_not_be_saved_is_told_before_training(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    portable.check(model, tokenizer)
    portable.check(adapted(model), tokenizer)
    model.generation_config.num_return_sequences = 3
    with pytest.raises(RunError, match="num_return_sequences"):
        portable.check(model, tokenizer)


@pytest.mark.parametrize(
    "patterns",
    [
        {},
        {"rank_pattern": {"q_proj": 2, "layers.0.mlp.up_proj": 16}},
        {
            "rank_pattern": {"layers.0.self_attn.q_proj": 2, "q_proj": 9},
            "alpha_pattern": {"q_proj": 3},
        },
        {"alpha_pattern": {"down_proj": 64}},
    ],
)
def test_an_rslora_adapter_is_saved_at_its_strength_as_a_plain_one(patterns, tiny_model, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    model = adapted(base, use_rslora=True, **patterns)
    expected = logits(model)
    portable.plain_scale(model.peft_config["default"])
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["use_rslora"], config["lora_alpha"]) == (False, 8 * math.sqrt(4))
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), tmp_path)
    assert torch.allclose(logits(again), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(
        logits(base), logits(AutoModelForCausalLM.from_pretrained(tiny_model))
    )


ROPES = {
    "llama": {"rope_type": "llama3", "rope_theta": 5e4, "factor": 4.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
    "qwen3_moe": {"rope_type": "default", "rope_theta": 5e4},
    "glm4": {"rope_type": "default", "rope_theta": 5e4, "partial_rotary_factor": 0.5},
    "gemma3_text": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4}},
    "phi3": {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.1, 1.2, 1.3, 1.4],
        "long_factor": [2.0, 3.0, 4.0, 5.0], "original_max_position_embeddings": 64},
}  # fmt: skip
OLD = {
    "llama": {"rope_theta": 5e4, "rope_scaling": {k: v for k, v in ROPES["llama"].items() if k != "rope_theta"}},
    "qwen3_moe": {"rope_theta": 5e4, "num_experts": 4},
    "glm4": {"rope_theta": 5e4, "partial_rotary_factor": 0.5},
    "gemma3_text": {"rope_theta": 1e6, "rope_local_base_freq": 2e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    "phi3": {"rope_scaling": {"type": "longrope", "short_factor": [1.1, 1.2, 1.3, 1.4],
        "long_factor": [2.0, 3.0, 4.0, 5.0]}, "original_max_position_embeddings": 64},
}  # fmt: skip


def saved(kind: str, folder: Path, tokenizer: Path):
    """A tiny model of this type with positions of its own, as convert.sh leaves it."""
    more = {"original_max_position_embeddings": 64} if kind == "phi3" else {}
    model = architectures.make(kind, rope_parameters=ROPES[kind], **more)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    before = AutoConfig.from_pretrained(folder).rope_parameters
    (said,) = portable.write_old_names(folder)
    assert "transformers 4 reads, too" in said
    assert AutoConfig.from_pretrained(folder).rope_parameters.items() >= before.items()
    return model


@pytest.mark.parametrize("kind", ROPES)
def test_an_export_has_the_names_of_transformers_4(kind, tmp_path, tiny_model):
    model = saved(kind, tmp_path, tiny_model)
    config = json.loads((tmp_path / "config.json").read_text())
    assert {name: config.get(name) for name in OLD[kind]} == OLD[kind]
    assert config["torch_dtype"] == config["dtype"] == "float32"
    again = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    assert torch.equal(logits(again), logits(model))
    tokenizer = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert AutoTokenizer.from_pretrained(tmp_path)("the model é").input_ids == (
        AutoTokenizer.from_pretrained(tiny_model)("the model é").input_ids
    )


def test_a_model_that_transformers_4_reads_otherwise_says_so(tmp_path, tiny_model):
    architectures.make("olmo2", rope_parameters=ROPES["llama"]).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    assert "transformers 5: transformers 4 reads a olmo2" in portable.write_old_names(tmp_path)[0]


FOUR = """
import sys, torch, transformers
assert transformers.__version__.startswith("4.57")
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], attn_implementation="eager").eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
with torch.no_grad():
    found = model(input_ids=torch.tensor(%s), use_cache=False).logits
torch.save((found, tokenizer("the model é").input_ids, str(model.dtype)), sys.argv[2])
"""


@pytest.mark.slow
def test_transformers_4_computes_the_same(tmp_path, tiny_model):
    """In an environment of its own, with this one's torch."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    install = [str(venv / "bin/pip"), "install", "--quiet", "transformers==4.57.6"]
    subprocess.run(install, check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "zz.pth").write_text(str(Path(torch.__file__).parent.parent) + "\n")
    for kind in ROPES:
        model = saved(kind, tmp_path / kind, tiny_model)
        command = [
            str(venv / "bin/python"),
            "-c",
            FOUR % IDS.tolist(),
            tmp_path / kind,
            tmp_path / "x.pt",
        ]
        subprocess.run(command, check=True)
        found, ids, dtype = torch.load(tmp_path / "x.pt")
        assert torch.allclose(found, logits(model), rtol=0, atol=1e-5), kind
        assert ids == AutoTokenizer.from_pretrained(tiny_model)("the model é").input_ids
        assert dtype == "torch.float32"


MERGES = {
    "plain": {},
    "dora": {"use_dora": True},
    "bias": {"bias": "all"},
    "embeddings": {"target_modules": ["embed_tokens", "q_proj"]},
    "saved": {"modules_to_save": ["lm_head"]},
    "experts": {"target_modules": ["q_proj"], "target_parameters": ["experts.gate_up_proj", "experts.down_proj"]},
}  # fmt: skip


@pytest.mark.parametrize("variant", MERGES)
def test_a_merge_in_files_is_pefts_merge(variant, tmp_path):
    kind = "mixtral" if variant == "experts" else "llama"
    one, other = (adapted(architectures.make(kind), **MERGES[variant]) for _ in range(2))
    expected = logits(one)
    plain, ours = one.merge_and_unload(), rebuilt.merge(other, Weights(tmp_path))
    for (name, a), (again, b) in zip(
        plain.named_parameters(), ours.named_parameters(), strict=True
    ):
        assert name == again and torch.equal(a, b), name
    assert torch.allclose(logits(ours), expected, rtol=0, atol=1e-4)
    assert not list(tmp_path.iterdir()), "a file is gone as soon as its weight is"


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_weights_become_what_transformers_makes_of_them(bits, tmp_path, tiny_model):
    config = BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8)
    settings = {"quantization_config": config, "device_map": {"": "cpu"}, "dtype": torch.float32}
    one, other = (AutoModelForCausalLM.from_pretrained(tiny_model, **settings) for _ in range(2))
    plain, ours = one.dequantize(), quantized.dense(other, Weights(tmp_path))
    for (name, a), (again, b) in zip(
        plain.named_parameters(), ours.named_parameters(), strict=True
    ):
        assert name == again and a.dtype == b.dtype and torch.equal(a, b), name
    assert not hasattr(ours, "hf_quantizer") and not hasattr(ours.config, "quantization_config")


MEMORY = """
import ctypes, gc, re, sys
from pathlib import Path
import torch
from ftc.runtime.export import rebuilt
from ftc.runtime.model.on_disk import Weights
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

def held():  # MB, of files' pages apart, and of what is free but not yet given back
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(re.search(r"RssAnon:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
model(input_ids=torch.arange(50)[None])  # which makes room for itself, once
before = held()
merged = rebuilt.merge(model, Weights(Path(sys.argv[2])))
merged.save_pretrained(Path(sys.argv[2]) / "merged", max_shard_size="20MB")
print(sum(p.nbytes for p in merged.parameters()) // 2**20, held() - before)
"""


def test_a_merge_holds_no_whole_model_in_memory(tmp_path):
    wide = {"hidden_size": 512, "intermediate_size": 4096, "num_hidden_layers": 8}
    tiny.make(tmp_path / "base", **wide)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "base"), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    size, held = map(int, done.stdout.split()[-2:])
    assert size > 200 and held < size / 2


@pytest.mark.executed
def test_what_fails_of_an_export_does_not_withhold_the_rest(compiled, tmp_path, monkeypatch):
    tiny.make(tmp_path / "mine")
    flags = {
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "temperature": 0.6,
        "top_p": 0.9,
    }
    (tmp_path / "mine/generation_config.json").write_text(json.dumps(flags))
    values = {"model.base": '"mine"', "train.max_steps": "1", "method.use_rslora": "true"}
    run = compiled(**values)
    run.launch()
    monkeypatch.chdir(run.folder)
    asked = "--base ../mine --dtype float32 --chat-template chat_template.jinja --merge --tolerance 1e-4"
    monkeypatch.setattr("sys.argv", ["convert.sh", *asked.split()])
    for part, other in (("merged", "adapter"), ("adapter", "merged")):
        with monkeypatch.context() as broken:
            broken.setattr(convert, f"_{part}", lambda *_: (_ for _ in ()).throw(ValueError("no")))
            with pytest.raises(RunError, match="ValueError: no") as failed:
                convert.convert(convert.arguments())
        assert f"export/{other}/ was made, and is proven" in str(failed.value)
        assert (run.folder / "export" / other / "README.md").is_file()
    said = run.bash("convert.sh").stdout
    assert "generation_config.json: without temperature, top_p, which had no effect" in said
    adapter, whole = run.folder / "export/adapter", run.folder / "export/merged"
    assert {path.name for path in (run.folder / "export").iterdir()} == {"adapter", "merged"}
    assert len({path.stat().st_mode for part in (adapter, whole) for path in part.iterdir()}) == 1
    saved = json.loads((whole / "generation_config.json").read_text())
    assert "temperature" not in saved and saved["eos_token_id"] == [2]
    monkeypatch.chdir(tmp_path)  # the base resolves from wherever the adapter is loaded
    loaded = AutoPeftModelForCausalLM.from_pretrained(adapter)
    assert torch.allclose(
        logits(loaded), logits(AutoModelForCausalLM.from_pretrained(whole)), atol=1e-4
    )
    for card in (adapter / "README.md", whole / "README.md"):
        text = card.read_text()
        assert "More Information Needed" not in text and str(tmp_path) not in text
        assert "| data | rows.jsonl |" in text and "| method.lora.rank | 4 |" in text


def test_a_gpu_run_converts_on_the_cpu_and_chats_where_there_is_room(folder):
    qlora = merged(BASE, GPU, HUB, {"method": {"kind": "qlora"}})
    files = render(qlora, folder)
    script, chat = (files[name].content.decode() for name in ("convert.sh", "chat.py"))
    assert "\n    --device" not in script
    assert 'device_map="auto"' in chat and "load_in_4bit=True" in chat
    assert "quantization_config=None if chosen.merged else QUANTIZATION" in chat


def test_the_server_takes_what_the_model_can_unless_it_is_told(folder):
    def session(**deploy) -> list[str]:
        spec = merged(BASE, GPU, {"deploy": deploy} if deploy else {})
        text = render(spec, folder)["deploy.sh"].content.decode()
        return [line.split("#")[0].split() for line in text.splitlines() if "--session-len" in line]

    assert session() == [["--session-len", "8192"]]
    assert session(session_len=2048) == [["--session-len", "2048"]]
    assert session(engine="transformers") == []  # its server asks config.json
    assert session(engine="transformers", session_len=99) == [["--session-len", "99", "\\"]]
