"""The numbers that must hold (design, section 6), on a tiny model: masks, isolation, packing, order."""

import json
import random

import numpy as np
import pytest
import torch
from ftc.runtime import data
from ftc.runtime.data import packing, tokens
from ftc.runtime.errors import RunError
from ftc.runtime.model import attention
from ftc.runtime.rows import Conversation

from . import tiny


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def model(tiny_model):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        tiny_model, attn_implementation=attention.SEGMENT_SDPA, dtype=torch.float32
    ).eval()


GOLDEN = [
    [{"role": "user", "content": "read"}, {"role": "assistant", "content": "a run"}],
    [
        {"role": "system", "content": "be brief 你好"},
        {"role": "user", "content": "  spaces \n\n and lines\n"},
        {"role": "assistant", "content": " é ü 🙂 \n"},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "the end"},
    ],
    [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}],
    [{"role": "user", "content": "a run"}, {"role": "assistant", "content": "a run"}],
    *[row["messages"] for row in tiny.rows(20, seed=3)],
]
# Without marks the spans come from the renders of prompts; both ways must agree.
UNMARKED = (
    tiny.TEMPLATE.read_text("utf-8")
    .replace("{% generation %}", "")
    .replace("{% endgeneration %}", "")
)


@pytest.mark.parametrize(
    "template", [tiny.TEMPLATE.read_text("utf-8"), UNMARKED], ids=["marks", "prefix"]
)
@pytest.mark.parametrize("conversation", GOLDEN)
def test_masks_come_from_one_render(tokenizer, template, conversation):
    tokenizer.chat_template = template
    (sample,) = tokens.chat_samples(tokenizer, [Conversation(conversation)], ["row"], "assistant")
    whole = tokenizer.apply_chat_template(conversation, return_dict=False)
    assert sample.ids.tolist() == whole
    learnt = tokenizer.decode(sample.ids[sample.loss])
    answers = [m["content"] for m in conversation if m["role"] == "assistant"]
    assert learnt == "".join(answer + "<|im_end|>" for answer in answers)
    expected = np.zeros(len(whole), bool)
    for number, message in enumerate(conversation):
        if message["role"] == "assistant":
            turns = conversation[: number + 1]
            start, stop = (
                len(tokenizer.apply_chat_template(some, add_generation_prompt=p, return_dict=False))
                for some, p in ((turns[:-1], True), (turns, False))
            )
            expected[start : stop - 1] = True  # without the line's end
    assert sample.loss.tolist() == expected.tolist(), "the answer, and no text that is equal to it"
    if conversation[-1]["role"] == "assistant":
        assert tokenizer.decode(sample.ids[sample.loss][-1:]) == "<|im_end|>"
        prompt = tokenizer.apply_chat_template(
            conversation[:-1], add_generation_prompt=True, return_dict=False
        )
        assert sample.ids[: len(prompt)].tolist() == prompt, "what is trained is not what is served"


# Nothing keeps turns apart here, so that a token may begin in one and end in the next.
GLUED = (
    "{% for m in messages %}{{ m['role'] }}: {% if m['role'] == 'assistant' %}{% generation %}"
    "{{ m['content'] }}<|im_end|>{% endgeneration %}{% else %}{{ m['content'] }} {% endif %}{% endfor %}"
)


@pytest.mark.parametrize("conversation", GOLDEN)
def test_turns_are_tokenized_together(tokenizer, conversation):
    tokenizer.chat_template = GLUED
    (sample,) = tokens.chat_samples(tokenizer, [Conversation(conversation)], ["row"], "assistant")
    whole = tokenizer.apply_chat_template(conversation, return_dict=False)
    assert sample.ids.tolist() == whole
    if conversation is GOLDEN[0]:
        one, two = (
            tokenizer(t)["input_ids"] for t in ("user: read assistant: ", "a run<|im_end|>")
        )
        assert one + two != whole, "turn by turn the tokens are others"


def test_loss_on(tokenizer):
    tokenizer.chat_template = tiny.TEMPLATE.read_text("utf-8")
    conversation = GOLDEN[1]
    (last,) = tokens.chat_samples(
        tokenizer, [Conversation(conversation)], ["row"], "last_assistant"
    )
    (everything,) = tokens.chat_samples(tokenizer, [Conversation(conversation)], ["row"], "all")
    assert tokenizer.decode(last.ids[last.loss]) == "the end<|im_end|>"
    assert everything.loss.all()


def test_a_template_that_rewrites_history_is_refused(tokenizer):
    tokenizer.chat_template = (
        "{% for m in messages %}{{ loop.length }}{{ m['content'] }}<|im_end|>{% endfor %}"
    )
    with pytest.raises(RunError, match="template-not-a-prefix"):
        tokens.chat_samples(tokenizer, [Conversation(GOLDEN[0])], ["rows.jsonl:1"], "assistant")


def test_texts_end_and_nothing_of_them_is_lost(tokenizer):
    text = "the model reads a spec " * 50
    samples = tokens.text_samples(tokenizer, [text, "short"], ["a:1", "a:2"], 64)
    ids = np.concatenate([s.ids for s in samples if s.row == "a:1"])
    assert ids[:-1].tolist() == tokenizer(text)["input_ids"]
    assert ids[-1] == samples[-1].ids[-1] == tokenizer.eos_token_id
    assert all(len(s.ids) <= 64 and s.loss.all() for s in samples)
    for words in range(1, 30):  # the last sample predicts its end, however little is left for it
        samples = tokens.text_samples(tokenizer, ["the " * words], ["a:1"], 8)
        ids = [number for sample in samples for number in sample.ids.tolist()]
        assert ids == [*tokenizer("the " * words)["input_ids"], tokenizer.eos_token_id]
        assert all(2 <= len(sample.ids) <= 8 for sample in samples)


def sample_of(ids) -> tokens.Sample:
    ids = np.asarray(ids, np.int32)
    return tokens.Sample(ids, np.ones(len(ids), bool), "")


def run(model, batch, **kwargs):
    with torch.no_grad():
        return model(
            input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, **kwargs
        ).logits[0]


@pytest.mark.parametrize("name", ["segment_sdpa", "sdpa", "eager"])
def test_a_packed_sample_has_its_logits_alone(tiny_model, name):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation=name).eval()
    chance = np.random.default_rng(0)
    samples = [sample_of(chance.integers(3, 320, n)) for n in (7, 1, 30, 12)]
    more = {"lengths": [7, 1, 30, 12]} if name == "segment_sdpa" else {}
    packed = run(model, data.batch(samples), **more).split([7, 1, 30, 12])
    for sample, ours in zip(samples, packed, strict=True):
        alone = run(model, data.batch([sample]))
        torch.testing.assert_close(ours, alone, rtol=0, atol=1e-5)


def test_segments_with_a_sliding_window(tiny_model):
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=5,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    sample = sample_of(np.random.default_rng(0).integers(3, 64, 20))
    model.set_attn_implementation("sdpa")
    expected = run(model, data.batch([sample]))
    model.set_attn_implementation(attention.SEGMENT_SDPA)
    torch.testing.assert_close(run(model, data.batch([sample])), expected, rtol=0, atol=1e-5)


def test_generation_through_segments_is_plain_generation(model, tokenizer):
    ids = torch.tensor([tokenizer("the model reads")["input_ids"]])
    answers = []
    for name in ("sdpa", attention.SEGMENT_SDPA):
        model.set_attn_implementation(name)
        answers.append(model.generate(ids, max_new_tokens=8, do_sample=False).tolist())
    assert answers[0] == answers[1]


def test_loss_is_that_of_transformers(model):
    """The head at supervised positions alone gives the loss and gradients of the whole sequence."""
    chance = np.random.default_rng(1)
    ids, loss = chance.integers(3, 320, 40).astype(np.int32), chance.random(40) < 0.4
    batch = data.batch([tokens.Sample(ids, loss, "")])
    labels = torch.tensor(np.where(loss, ids, -100).astype(np.int64))[None]
    labels[0, 0] = -100
    ours = torch.nn.functional.cross_entropy(
        model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            logits_to_keep=batch.predict_at,
            use_cache=False,
            lengths=batch.lengths,
        ).logits[0],
        batch.targets,
    )
    model.set_attn_implementation("sdpa")
    theirs = model(input_ids=batch.input_ids, labels=labels, use_cache=False).loss
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    weight = model.model.layers[0].self_attn.q_proj.weight
    ours_gradient = torch.autograd.grad(ours, weight)[0]
    torch.testing.assert_close(
        ours_gradient, torch.autograd.grad(theirs, weight)[0], rtol=0, atol=1e-6
    )
    model.set_attn_implementation(attention.SEGMENT_SDPA)


def test_no_label_crosses_a_border_and_an_empty_batch_is_no_nan(model):
    batch = data.batch([sample_of([5, 6, 7]), sample_of([8, 9])])
    assert batch.predict_at.tolist() == [0, 1, 3] and batch.targets.tolist() == [6, 7, 9]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1]]
    assert batch.cu_seq_lens.tolist() == [0, 3, 5]
    empty = data.batch([])
    logits = model(
        input_ids=empty.input_ids, logits_to_keep=empty.predict_at, use_cache=False
    ).logits[0]
    loss = torch.nn.functional.cross_entropy(logits, empty.targets, reduction="sum")
    loss.backward()
    assert loss.item() == 0


def test_packing_keeps_every_sample_whole():
    chance = random.Random(0)
    lengths = [chance.randint(1, 100) for _ in range(2000)]
    packs = [pack.tolist() for pack in packing.pack(lengths, 128)]
    assert sorted(sample for pack in packs for sample in pack) == list(range(2000))
    assert all(sum(lengths[s] for s in pack) <= 128 for pack in packs)
    assert sum(lengths) / (128 * len(packs)) > 0.98
    assert [pack.tolist() for pack in packing.pack(lengths, 128)] == packs
    with pytest.raises(ValueError, match="129"):
        packing.pack([129], 128)


@pytest.mark.parametrize("world_size, micro", [(1, 1), (1, 4), (2, 2), (4, 1)])
def test_order_is_a_function_of_seed_and_step(world_size, micro):
    """Whatever the ranks and micro-batches, a step holds the same sequences; an epoch holds each once."""
    samples = tiny.in_memory([sample_of([30 + n, 4]) for n in range(10)])
    streams = [
        data.Stream(
            samples,
            data.one_by_one(samples),
            42,
            rank,
            world_size,
            micro,
            4 // (world_size * micro),
            end=30,
        )
        for rank in range(world_size)
    ]
    seen = []
    for step in range(8):
        batches = [batch for stream in streams for batch in stream.step(step).micro_batches]
        ids = sorted(i for batch in batches for i in batch.input_ids[0].tolist() if i not in (0, 4))
        seen.append(ids)
    reference = data.Stream(samples, data.one_by_one(samples), 42, 0, 1, 4, 1, end=30)
    expected = [
        sorted(
            samples[int(reference.sequence(c)[0])].ids[0] for c in range(4 * s, min(4 * s + 4, 30))
        )
        for s in range(8)
    ]
    assert seen == expected
    assert sorted(i for ids in seen for i in ids) == sorted([30 + n for n in range(10)] * 3)


def test_a_held_out_share_has_no_double_in_training():
    samples = tiny.in_memory([sample_of([n % 7 + 3, 5, 6]) for n in range(70)])
    train, held_out = data.split(samples, 0.2, seed=1)
    assert len(train) + len(held_out) == 70 and len(held_out) >= 14
    assert not {s.ids.tobytes() for s in train} & {s.ids.tobytes() for s in held_out}


def test_rows_without_loss_and_long_rows_are_counted(tokenizer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tokenizer.chat_template = tiny.TEMPLATE.read_text("utf-8")
    rows = [*tiny.rows(10), {"messages": [{"role": "assistant", "content": "the " * 200}]}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text(lines)
    source = data.Source(file="rows.jsonl")
    kept = data.load([source], tokenizer, 96, "assistant", "drop", "data.json")
    (ledger,) = json.loads((tmp_path / "data.json").read_text())
    assert ledger["rows"] == 11 and ledger["samples"] == len(kept) == 10
    assert ledger["dropped"] == {"longer than 96 tokens": {"rows": 1, "first": ["rows.jsonl:11"]}}
    cut = data.load([source], tokenizer, 96, "assistant", "truncate", "data.json")
    assert len(cut) == 11 and max(len(s.ids) for s in cut) == 96


@pytest.mark.parametrize(
    "line, where, what",
    [
        ('{"messages": [}', "rows.jsonl:2:15", "not JSON"),
        ('{"messages": "hi"}', "rows.jsonl:2", "must be a list"),
        ('{"messages": [{"role": "robot", "content": ""}]}', "rows.jsonl:2", "it is 'robot'"),
        ("[]", "rows.jsonl:2", "not a JSON object"),
    ],
)
def test_a_bad_row_says_where_and_what(tmp_path, monkeypatch, line, where, what):

    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(json.dumps(tiny.rows(1)[0]) + "\n" + line + "\n")
    with pytest.raises(RunError) as error:
        list(tiny.read(data.Source(file="rows.jsonl")))
    assert str(error.value).startswith(where + ":") and what in str(error.value)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_files_of_each_kind_give_the_same_rows(tmp_path, monkeypatch, suffix):
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.chdir(tmp_path)
    rows = tiny.rows(5)
    if suffix == "json":
        (tmp_path / "rows.json").write_text(json.dumps(rows), "utf-8-sig")
    elif suffix == "jsonl":
        (tmp_path / "rows.jsonl").write_text(
            "".join(json.dumps(r) + "\r\n" for r in rows), "utf-8-sig"
        )
    else:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    found = [content for _, content in tiny.read(data.Source(file=f"rows.{suffix}", max_samples=4))]
    assert found == [Conversation(row["messages"]) for row in rows[:4]]


def test_a_data_set_of_the_hub_is_read_through_datasets(tmp_path, monkeypatch):
    """datasets takes a folder of this name for the Hub's data set, so the same call is made."""

    monkeypatch.chdir(tmp_path)
    tiny.write_rows(tmp_path / "some" / "rows" / "train.jsonl", 6)
    source = data.Source(hub="some/rows", format="messages", split="train", max_samples=4)
    found = list(tiny.read(source))
    assert [content for _, content in found] == [
        Conversation(row["messages"]) for row in tiny.rows(6)[:4]
    ]
    assert found[1][0] == "some/rows: row 2"
