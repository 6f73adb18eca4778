#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.23.0: `modules_to_save=["norm"]`, meant for a model's last norm, makes a trained copy
# of every module whose name ENDS WITH THESE LETTERS: q_norm, k_norm, input_layernorm, post_attention_layernorm.
# In target_modules of the same configuration a name means whole parts of a module's path.
# Seen: 9 copies in a Qwen3 of two layers, where one was named.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 transformers==5.23.0 peft==0.21.2 accelerate==1.15.0 numpy==2.4.6
"$place/venv/bin/python" - <<'PY'
from peft import LoraConfig, get_peft_model
from peft.utils import ModulesToSaveWrapper
from transformers import Qwen3Config, Qwen3ForCausalLM

sizes = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, head_dim=16)
model = Qwen3ForCausalLM(Qwen3Config(vocab_size=64, num_key_value_heads=2, **sizes))
model = get_peft_model(model, LoraConfig(target_modules=["q_proj"], modules_to_save=["norm"]))
copies = [n for n, m in model.named_modules() if isinstance(m, ModulesToSaveWrapper)]
print("\n".join(copies))
ends = {name.rpartition(".")[2] for name in copies}
assert ends == {"norm", "q_norm", "k_norm", "input_layernorm", "post_attention_layernorm"}, ends
assert len(copies) == 9, len(copies)
print("As seen: one name, nine trained copies.")
PY
