#!/usr/bin/env bash
# transformers 5.23.0 writes the number of experts of a Qwen3-MoE as `num_local_experts`; transformers 4.57.6 reads
# `num_experts`, and takes its default, 128, without a word. A model of another number that is saved by the one is
# built with 128 experts by the other.
# Seen: 4 experts written, 128 read.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
for version in 5.23.0 4.57.6; do
    python3 -m venv "$place/$version"
    "$place/$version/bin/pip" install --quiet --disable-pip-version-check transformers==$version numpy==2.4.6
done
export TRANSFORMERS_VERBOSITY=error
"$place/5.23.0/bin/python" - "$place/model" <<'PY'
import sys
from transformers import Qwen3MoeConfig

Qwen3MoeConfig(num_experts=4).save_pretrained(sys.argv[1])
assert Qwen3MoeConfig.from_pretrained(sys.argv[1]).num_experts == 4
PY
grep experts "$place/model/config.json"
"$place/4.57.6/bin/python" - "$place/model" <<'PY'
import sys
from transformers import Qwen3MoeConfig

found = Qwen3MoeConfig.from_pretrained(sys.argv[1])
print(f"transformers 4.57.6: {found.num_experts} experts; num_local_experts is {found.num_local_experts}, and not read")
assert found.num_experts == 128 and found.num_local_experts == 4
print("As seen: 4 experts written, 128 read.")
PY
