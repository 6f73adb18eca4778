"""How the compiler finds a source's format: from columns, from rows, from a function of the user's."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ftc.compiler import compile_file, load
from ftc.compiler.diff.sides import of_compiled, of_run
from ftc.compiler.rows.formats import FORMATS, told
from ftc.compiler.rows.parquet import footer
from ftc.compiler.run_dir.write import write
from ftc.runtime.data.reading import Source
from ftc.runtime.errors import RunError
from ftc.runtime.formats import function
from ftc.runtime.process import lock
from ftc.runtime.rows import Conversation, Dropped
from hypothesis import given, settings
from hypothesis import strategies as st

from .specs import BASE, merged, toml
from .tiny import read

ASK, ANSWER = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}


def spec(folder: Path, source: str, format: str | None = None) -> Path:
    table = {"source": source} | ({"format": format} if format else {})
    path = folder / "spec.toml"
    path.write_text(toml(merged(BASE, {"data": {"train": [table]}})))
    return path


# Rows, and the formats that they may be in; one: `auto` takes it.
TOLD = [
    ([{"messages": [], "id": 1}], ["messages"]),
    ([{"conversations": [{"from": "human", "value": "Q"}]}], ["sharegpt"]),
    ([{"conversations": "[{'from': 'user', 'value': 'Q'}]"}], ["msagent"]),
    ([{"conversations": [{"from": "assistant", "value": "<|startofthink|>"}]}], ["msagent"]),
    ([{"conversations": [], "image": "a.jpg"}], []),
    ([{"conversation": []}], ["conversation"]),
    ([{"instruction": "", "input": "", "output": ""}], ["alpaca"]),
    ([{"instruction": "", "input": "", "output": "", "text": ""}], ["alpaca"]),  # tatsu-lab/alpaca
    ([{"instruction": "", "output": ""}], ["alpaca"]),
    ([{"instruction_zh": "", "input_zh": "", "output_zh": ""}], ["alpaca_zh"]),
    ([{"prompt": "", "completion": ""}], ["prompt_completion"]),
    ([{"input": "", "output": ""}], ["input_output"]),
    ([{"text": "Once"}, {"text": "### Human: no"}], []),
    ([{"text": "Once ### Human: no"}], ["pretrain"]),
    ([{"text": "\n### Human: Q### Assistant: A"}], ["oasst1"]),
    ([{"tokens": [1]}], ["pretokenized"]),
    ([{"prompt": "", "chosen": "", "rejected": ""}], ["preference"]),
    ([{"instruction": "", "input": "", "chosen": "", "rejected": ""}], ["preference"]),
    ([{"system_prompt": "", "question": "", "response": ""}], ["openorca"]),
    ([{"question": "", "response": ""}], ["stack_exchange"]),
    ([{"question": "", "context": "create TABLE a", "answer": ""}], ["sql"]),
    ([{"question": "", "context": "Rome is", "answer": ""}], []),
    ([{"abstract": "", "title": ""}], ["arxiv"]),
    ([{"description": "a: b", "color": "#000000"}], ["colors"]),
    ([{"description": "a car", "color": "red"}], []),
    ([{"prompt": "", "response": ""}], []),  # tiny_codes would bring a system prompt
    ([{"question": "", "answer": ""}], []),  # law_reference would
    ([{"meta_instruction": "", "chat": {}}], ["moss_sft"]),
    ([{"a": 1}], []),
]


@pytest.mark.parametrize(("rows", "names"), TOLD)
def test_columns_and_first_rows_tell_a_format(rows, names):
    assert told(rows[0], rows) == names


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_of_an_example_is_told_or_must_be_named(name):
    row = FORMATS[name].example
    found = told(row, [row])
    assert found != [name] if FORMATS[name].by_name else found in ([name], ["sharegpt"], [])


def test_auto_is_written_down_with_what_told_it(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    compiled = compile_file(spec(tmp_path, "rows.jsonl"), tmp_path / "out")
    found = compiled.plan.data.train[0].format
    assert (found.value, str(found.origin)) == (
        "alpaca",
        "= columns instruction, output of rows.jsonl",
    )
    assert b'format="alpaca"' in compiled.files["train.py"].content
    named = compile_file(spec(tmp_path, "rows.jsonl", "alpaca"), tmp_path / "out")
    assert str(named.plan.data.train[0].format.origin) == "spec"


def test_a_large_file_is_told_by_its_first_row(tmp_path, monkeypatch):
    monkeypatch.setattr("ftc.compiler.facts.data.COPY_LIMIT", 100)
    row = {"instruction": "a" * 50, "output": "b"}
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(row)}\n" * 2)
    (tmp_path / "rows.json").write_text(json.dumps([row, row]))
    for name in ("rows.jsonl", "rows.json"):
        compiled = compile_file(spec(tmp_path, name), tmp_path / "out")
        assert compiled.plan.data.train[0].format.value == "alpaca"
        assert compiled.facts.files["train", 0].rows is None


FUNCTION = '''\
"""Two formats."""

from dataclasses import dataclass


@dataclass
class Turn:
    asked: "str"


def convert(row, side="user"):
    if row["id"] == 2:
        return None
    if row["id"] == 4:
        return row["question"]
    turn = Turn(row["question"])
    return [{"role": side, "content": turn.asked}, {"role": "assistant", "content": "A"}]
'''


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A run directory with a format of the user's own, as the working directory."""
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"id": n, "question": "Q"}) + "\n" for n in (1, 2, 4))
    )
    (tmp_path / "my_formats.py").write_text(FUNCTION)
    out = tmp_path / "out"
    write(compile_file(spec(tmp_path, "rows.jsonl", "my_formats.py:convert"), out).files, out)
    monkeypatch.chdir(out)
    return out


def test_a_function_is_carried_by_the_run_and_called(own):
    assert 'format="data/my_formats.py:convert"' in Path("train.py").read_text()
    assert Path("data/my_formats.py").read_text() == FUNCTION
    source = Source(file="data/rows.jsonl", format="data/my_formats.py:convert")
    assert list(read(source)) == [
        ("data/rows.jsonl:1", Conversation([ASK, ANSWER])),
        ("data/rows.jsonl:3", "Q"),
    ]
    assert not list(own.rglob("__pycache__"))


def test_another_function_is_drift_and_other_content(own):
    assert lock.drift(own) == []
    old = of_run(own)
    (own.parent / "my_formats.py").write_text(FUNCTION + "\n")
    document = load(own.parent / "spec.toml")
    new = of_compiled(document, compile_file(own.parent / "spec.toml", own))
    changed = {k for k in old.contents if old.contents[k] != new.contents[k]}
    assert changed == {"data.train[0].format"}
    (own / "data/my_formats.py").write_text(FUNCTION + "\n")
    assert lock.drift(own) == ["data/my_formats.py changed since the run was compiled"]
    write(compile_file(own.parent / "spec.toml", own.parent / "other").files, own.parent / "other")
    assert lock.differences(own, own.parent / "other") == [
        "the training data is read by another function"
    ]


BODIES = [
    ("return row['nothing']", "`f` raised KeyError: 'nothing' (own.py:2)"),
    (
        "return 3",
        "`f` must return a list of messages, a text, or None; what it returned is a number",
    ),
    ("return [{'role': 'user'}]", "what `f` returned: message 1: `content` must be a text"),
    (
        "from ftc.runtime.rows import Tokens; return Tokens([1, 2], [True])",
        "`f` must return Tokens with a list of whole numbers, and one as long of true or false",
    ),
    ("return {'messages': 'x'}", "what `f` returned: `messages` must be a list"),
]


@pytest.mark.parametrize(("body", "words"), BODIES)
def test_what_a_function_does_wrong_is_told_with_the_row(tmp_path, monkeypatch, body, words):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(f"def f(row):\n    {body}\n")
    Path("rows.jsonl").write_text("{}\n")
    with pytest.raises(RunError) as error:
        list(read(Source(file="rows.jsonl", format="own.py:f")))
    assert str(error.value).startswith("rows.jsonl:1: error[bad-row]:")
    assert words in str(error.value)


def test_a_function_may_return_what_formats_return(tmp_path):
    body = "import ftc.runtime.rows as r\ndef f(row): return eval(row['as'], {'r': r})\n"
    (tmp_path / "own.py").write_text(body)
    f = function(f"{tmp_path}/own.py:f")
    tools = [{"type": "function", "function": {"name": "g"}}]
    wanted = Conversation([ASK, ANSWER], tools)
    assert f({"as": f"{{'messages': {[ASK, ANSWER]}, 'tools': '[{{\"name\": \"g\"}}]'}}"}) == wanted
    assert f({"as": f"r.Conversation({[ASK, ANSWER]}, {tools})"}) == wanted
    more = {"chat_template_kwargs": {"enable_thinking": False}, "unread": ("a greeting",)}
    wanted = replace(wanted, **more)
    assert f({"as": f"r.Conversation({[ASK, ANSWER]}, {tools}, **{more})"}) == wanted
    assert f({"as": "{'conversation': [{'input': 'Q', 'output': 'A'}]}"}).messages == [ASK, ANSWER]
    assert f({"as": "r.Tokens([1], [True])"}).ids == [1]
    with pytest.raises(Dropped, match="left out by `f`"):
        f({"as": "None"})


@pytest.mark.parametrize("body", ["import nothing_of_this_name", "def f(:", "1 / 0"])
def test_a_file_that_can_not_be_run_is_told(tmp_path, body):
    (tmp_path / "own.py").write_text(body)
    with pytest.raises(RunError, match=r"error\[bad-format\]"):
        function(f"{tmp_path}/own.py:f")
    with pytest.raises(RunError, match=r"error\[missing-file\]"):
        function(f"{tmp_path}/none.py:f")


TYPES = st.recursive(
    st.sampled_from([pa.string(), pa.int64(), pa.float32(), pa.bool_(), pa.binary(), pa.date32()]),
    lambda inner: (
        st.builds(pa.list_, inner)
        | st.builds(lambda a, b: pa.struct([("a", a), ("b", b)]), inner, inner)
        | st.builds(lambda a: pa.map_(pa.string(), a), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(
    columns=st.dictionaries(st.text(min_size=1, max_size=6), TYPES, min_size=1, max_size=20),
    rows=st.integers(0, 5),
    plain=st.booleans(),
)
def test_a_footer_is_read_as_pyarrow_reads_it(tmp_path_factory, columns, rows, plain):
    file = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    table = pa.table({n: pa.nulls(rows, kind) for n, kind in columns.items()})
    pq.write_table(table, file, store_schema=plain, write_statistics=plain, row_group_size=2)
    assert footer(file) == (tuple(columns), rows)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_footer_is_refused_or_read(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    pq.write_table(pa.table({"text": ["a"], "b": [[1]]}), file)
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(len(content) // 3, len(content) - 9))
        content[place] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2]))])
    try:
        columns, rows = footer(file)
        assert all(isinstance(column, str) for column in columns) and isinstance(rows, int)
    except ValueError:
        pass


def test_a_data_set_of_modelscope_is_downloaded_and_read(tmp_path, monkeypatch):
    """Through a stand-in for the package's one function: there is no network here."""
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/train.jsonl").write_text('{"input": "Q", "output": "A"}\n')
    asked = []

    def dataset_snapshot_download(dataset_id, revision=None):
        asked.append((dataset_id, revision))
        return str(tmp_path / "hub")

    module = ModuleType("modelscope.hub.snapshot_download")
    module.dataset_snapshot_download = dataset_snapshot_download
    for name in ("modelscope", "modelscope.hub"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    source = Source(modelscope="acme/rows", revision="v1", format="input_output")
    assert list(read(source)) == [("acme/rows: row 1", Conversation([ASK, ANSWER]))]
    assert asked == [("acme/rows", "v1")]


def test_a_source_on_modelscope_is_compiled(tmp_path):
    files = compile_file(spec(tmp_path, "modelscope:acme/rows", "alpaca"), tmp_path / "out").files
    assert b'data.Source(modelscope="acme/rows", format="alpaca"),' in files["train.py"].content
    assert b"\nmodelscope==" in files["requirements.txt"].content


def test_a_pattern_is_its_files_in_the_order_of_their_names(tmp_path, monkeypatch):
    for name in ("b", "a", "sub/c"):
        (tmp_path / "rows" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rows" / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
    out = tmp_path / "out"
    path = spec(tmp_path, "rows/**/*.jsonl")
    compiled = compile_file(path, out)
    write(compiled.files, out)
    line = 'files=["data/a.jsonl", "data/b.jsonl", "data/c.jsonl"]'
    assert line in (out / "train.py").read_text()
    assert "on 3 rows" in compiled.plan.summary.value
    monkeypatch.chdir(out)
    files = ("data/a.jsonl", "data/b.jsonl", "data/c.jsonl")
    assert [text for _, text in read(Source(files=files, format="pretrain"))] == ["a", "b", "sub/c"]
    assert len(list(read(Source(files=files, format="pretrain", max_samples=2)))) == 2
    lock.check([])
    assert of_run(out).contents == of_compiled(load(path), compiled).contents

    (tmp_path / "rows/d.jsonl").write_text('{"text": "d"}\n')  # one more file is another run
    assert of_run(out).contents != of_compiled(load(path), compile_file(path, out)).contents
    (out / "data/b.jsonl").write_text('{"text": "other"}\n')
    with pytest.raises(RunError, match=r"data/b.jsonl changed"):
        lock.check([])


def test_large_files_of_a_pattern_are_referred_to(tmp_path, monkeypatch):
    from ftc.compiler.facts import data

    monkeypatch.setattr(data, "COPY_LIMIT", 20)
    (tmp_path / "specs").mkdir()
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.jsonl").write_text('{"text": "short"}\n')
    (tmp_path / "rows/b.jsonl").write_text('{"text": "short"}\n' * 2)
    for source in ("../rows/*.jsonl", f"{tmp_path}/rows/*.jsonl"):
        out = tmp_path / "runs" / "one"
        path = spec(tmp_path / "specs", source)
        (place,) = compile_file(path, out).plan.data.train
        monkeypatch.chdir(tmp_path)
        out.mkdir(parents=True, exist_ok=True)
        assert place.files.value[0] == "data/a.jsonl"
        assert (out / place.files.value[1]).resolve() == tmp_path / "rows/b.jsonl"
