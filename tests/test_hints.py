"""A hint never leads into the next error: what it proposes is put into the spec, and checked again.

The inputs are habits from Axolotl, LLaMA-Factory, TRL, XTuner, ms-swift, and from YAML, JSON and Python.
"""

import re
import shutil
from pathlib import Path

import pytest
from ftc.compiler import CompileError, Diagnostic, compile_document, load

from .conftest import ROOT

TABLES = {
    "": ['name = "case"'],
    "model": ['base = "smollm2-135m-instruct"'],
    "method": ['kind = "lora"'],
    "data": [],
    "[data.train]": ['source = "rows.jsonl"', 'format = "messages"'],
    "optim": [],
    "train": [],
    "hardware": ['device = "cpu"'],
    "parallel": [],
    "tracking": ['trackers = ["wandb"]'],
    "deploy": [],
}

WRONG = """
data            packing = yes
data            packing = No
data            packing = on
data            packing = True
data            packing = "true"
data            packing: true
data            packing: yes
data            packing = 1
data            sample_packing = yes
data            sample_packing: true
data            train_on_inputs: false
data            train_on_inputs = False
data            mask_history = true
data            assistant_only_loss = True
data            loss_on = "completion"
data            loss_on = last
data            val_set_size = 5%
data            val_set_size: 0.05
data            on_overlong = "Truncate"
data            truncation = true
model           max_seq_length = 4k
model           max_seq_length = "4k"
model           max_seq_length = 2K
model           max_seq_length = 1.024e3
model           max_seq_length = 1,024
model           max_seq_length = "1,024"
model           max_seq_length = 1024 tokens
model           max_seq_length = 1024.0
model           max_seq_length: 1024
model           max_seq_length: 1k
model           sequence_len = 1k
model           sequence_len: 1024
model           cutoff_len = "1k"
model           dtype = fp32
model           dtype = float
model           dtype = "fp32"
model           dtype = torch.float32
model           torch_dtype: fp32
model           torch_dtype = "fp32"
model           bf16: auto
model           revision = ~
model           revision = null
model           revision = None
model           revision: ~
model           attention = segment-sdpa
model           attn_implementation: eager
model           sdp_attention = true
model           gradient_checkpointing = "yes"
model           gradient_checkpointing = True
model           gradient_checkpointing: "unsloth"
model           trust_remote_code = False
model           trust_remote_code: false
model           chat_template = chatml
model           template = "chatml"
model           template: chatml
model           use_liger_kernel = False
method          r = 8
method          lora_r = "8"
method          lora_r: 8
method          lora_rank = 8.0
method          rank = "8"
method          rank = eight
method          rank = 016
method          alpha = 16.0
method          lora_alpha: 16
method          dropout = 5%
method          dropout = .05
method          lora_dropout = "0.05"
method          target_modules = all
method          target_modules = "q_proj,v_proj"
method          target_modules = q_proj
method          target_modules = [q_proj]
method          target_modules = ("q_proj", "v_proj")
method          lora_target = "q_proj,v_proj"
method          lora_target_linear = true
method          use_dora = "no"
method          use_rslora = TRUE
method          bias = "lora-only"
optim           lr = 2e-4
optim           lr = "2e-4"
optim           lr: 2e-4
optim           learning_rate = 2e-4f
optim           learning_rate = "2e-4"
optim           learning_rate = 2.e-4
optim           learning_rate: 2.0e-4,
optim           learning_rate = 0,0002
optim           betas = (0.9, 0.95)
optim           betas = 0.9, 0.95
optim           adam_betas = (0.9, 0.95)
optim           optimizer = adamw_torch
optim           optimizer = "AdamW"
optim           optim = "adamw_torch_fused"
optim           lr_scheduler_type: cosine
optim           lr_scheduler = "Cosine"
optim           lr_scheduler = linear
optim           warmup_ratio = 3%
optim           warmup_ratio = "3%"
optim           warmup_ratio: .03
optim           weight_decay = .1
optim           max_grad_norm = "1.0"
optim           eps = 1e-08,
train           num_epochs = 3.0
train           num_epochs = "3"
train           num_epochs = 3 epochs
train           num_train_epochs = 3.0
train           num_train_epochs: 3.0
train           epochs = "3"
train           max_steps = 1e3
train           max_steps = 1_000.0
train           max_steps = 1k
train           logging_steps = 10.0
train           save_steps = "500"
train           per_device_train_batch_size = "2"
train           global_batch_size = 16;
train           global_batch_size: 16
hardware        nodes = "1"
hardware        device = CPU
hardware        num_gpus: 1
parallel        zero_stage = "1"
parallel        zero_stage = zero1
parallel        deepspeed = "zero1"
[data.train]    max_samples = 1k
[data.train]    max_samples = "1k"
[data.train]    weight = 50%
[data.train]    type: messages
deploy          port = "8000"
deploy          port: 8000
                seed: 42
                seed = "42"
                random_seed = 42.0
tracking        project = my-project
tracking        run_name = ~
tracking        report_to = "wandb"
"""
CASES = [(line[:16].strip(), line[16:]) for line in WRONG.strip("\n").split("\n")]


class Spec:
    """A spec as tables of lines, so that a line can be changed, moved or taken out."""

    def __init__(self, table: str, line: str) -> None:
        self.tables = {name: list(lines) for name, lines in TABLES.items()}
        self.put(table, line)

    def put(self, table: str, line: str) -> None:
        """The line, in place of one with the same key."""
        key = line.partition("=")[0].strip()
        kept = [each for each in self.tables[table] if each.partition("=")[0].strip() != key]
        self.tables[table] = [*kept, line]

    def text(self) -> str:
        return "\n".join(
            "\n".join([*([f"[{name}]"] if name else []), *lines])
            for name, lines in self.tables.items()
        )

    def errors(self, path: Path) -> list[Diagnostic]:
        path.write_text(self.text() + "\n")
        try:
            compile_document(load(path))
        except CompileError as error:
            return [d for d in error.diagnostics if d.severity == "error"]
        return []


def followed(spec: Spec, table: str, error: Diagnostic, hint: str) -> bool:
    """Does what the hint says word for word; whether it said anything of the kind."""
    line = spec.tables[table].pop()
    assert line == error.source
    key = re.split(r"[=:]", line)[0].strip()
    value = line.partition("=")[2].strip() or line.partition(":")[2].strip()
    moved = re.search(r"in (\[?\[([a-z.]+)\]\]?)", hint)
    home = moved[1][1:-1] if moved else table
    home = table if home not in spec.tables else home
    written = re.findall(r"write `([^`]+)`|square brackets: `([^`]+)`", hint)
    texts = [one or other for one, other in written] or re.findall(r'did you mean ("[^"]+")', hint)
    if re.search("^remove it|leave the key out|leave it out", hint):
        return True
    if texts and " = " in texts[0]:
        new = texts[0]
    elif texts and "YAML" in error.message:
        new = f"{key} = {texts[0]}"
    elif texts:
        new = line[: error.column - 1] + texts[0] + line[error.end_column - 1 :]
    elif named := re.findall(r"(?:called|did you mean) `(\w+)`|^`(\w+)` belongs", hint):
        new = f"{named[0][0] or key} = {value}"
    else:
        return False
    spec.put(home, new)
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests" / "diff" / "rows.jsonl", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("table", "line"), CASES)
def test_what_a_hint_proposes_is_right(table: str, line: str, folder: Path) -> None:
    spec = Spec(table, line)
    found = spec.errors(folder / "spec.toml")
    assert found and found[0].hints, line
    assert followed(spec, table, found[0], found[0].hints[0]), str(found[0])
    later = spec.errors(folder / "spec.toml")
    assert not later, f"{found[0]}\n\nThen:\n{spec.text()}\n{later[0]}"


NOT_HERE = ("not here yet", "preference learning (DPO, ORPO, KTO)")


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("method", 'kind = "dpo"'),
        ("method", 'kind = "GRPO"'),
        ("method", "kind = orpo"),
        ("method", "beta = 0.1"),
        ("method", 'rl = "dpo"'),
        ("train", 'stage = "dpo"'),
        ("train", "stage: dpo"),
        ("", "stage: rm"),
        ("", "rl: dpo"),
        ("train", "simpo_gamma = 1.0"),
        ("", "objective = { kind = 'dpo' }"),
    ],
)
def test_preference_learning_is_told_as_what_is_not_there(
    table: str, line: str, folder: Path
) -> None:
    (error,) = Spec(table, line).errors(folder / "spec.toml")
    told = " ".join(error.hints)
    assert all(words in told for words in NOT_HERE), str(error)
    assert '= "lora"' not in told


def test_every_syntax_error_that_can_be_told_apart_is_told(folder: Path) -> None:
    spec = Spec("data", "packing = yes")
    for table, line in (
        ("model", "max_seq_length = 4k"),
        ("model", "dtype: fp32"),
        ("method", "target_modules = [\n  q_proj,\n  v_proj,\n]"),
        ("method", "rank = 8\nrank = 16"),
        ("[data.train]", "format = messages"),
        ("optim", "learning_rate = 2e-4;"),
        ("deploy", 'host = "0.0.0.0'),
        ("deploy", "port = 80_"),
    ):
        spec.put(table, line)
    found = spec.errors(folder / "spec.toml")
    assert [(error.code, error.source.split()[0]) for error in found if error.source] == [
        ("syntax", "max_seq_length"),
        ("syntax", "dtype:"),
        ("syntax", "q_proj,"),
        ("duplicate-key", "rank"),
        ("syntax", "packing"),
        ("syntax", "format"),
        ("syntax", "learning_rate"),
        ("syntax", "host"),
        ("syntax", "port"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        'a = """\nrank = eight\nb = yes\n',  # who knows where the text ends
        "a = {\n  b = yes,\n  c = no\n}\n",  # an inline table stands on one line
        "model:\n  base: x\nmethod:\n  kind: lora\n  r: 8\n",  # YAML, which is said once
        '{"a": 1,\n "b": yes}\n',
        "x = dict(\n    type=Y,\n    z=None)\nb = yes\n",
    ],
)
def test_what_can_not_be_told_apart_is_one_error(text: str, folder: Path) -> None:
    (folder / "spec.toml").write_text(text)
    with pytest.raises(CompileError) as caught:
        load(folder / "spec.toml")
    assert len(caught.value.diagnostics) == 1, str(caught.value)


@pytest.mark.parametrize(
    ("tables", "hint"),
    [
        ('[[data]]\nsource = "rows.jsonl"', "write [[data.train]] in its place"),
        ('[data]\ntrain = "rows.jsonl"', 'and below it `source = "rows.jsonl"`'),
        ('data = "rows.jsonl"', 'write [[data.train]], and below it `source = "rows.jsonl"`'),
        ('tracking = "wandb"', 'write [tracking], and below it `trackers = ["wandb"]`'),
        ('[train]\ntracking = "wandb"', 'write [tracking], and below it `trackers = ["wandb"]`'),
        ('samples = "Hi"', 'write [samples], and below it `prompts = ["Hi"]`'),
        ("[model]\nbase = ${BASE}", "TOML has no variables: write the value itself"),
        ('[model]\nbase = "${BASE}"', "a spec has no variables: write the base itself"),
    ],
)
def test_a_table_that_is_set_to_a_value_is_written_out(
    tables: str, hint: str, folder: Path
) -> None:
    (folder / "spec.toml").write_text(f'name = "case"\n{tables}\n')
    with pytest.raises(CompileError) as caught:
        compile_document(load(folder / "spec.toml"))
    found = caught.value.diagnostics
    assert any(hint in one for error in found for one in error.hints), str(caught.value)
