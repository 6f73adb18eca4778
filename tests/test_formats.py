"""Row formats: a typical, an odd and a broken row of each, and what holds for all of them.

format_cases.jsonl holds rows and what each must become, written by hand from the data sets'
descriptions; `note` says where XTuner does something else. CODER and the like stand for our prompts.
"""

import copy
import json
from pathlib import Path

import pytest
from ftc.compiler import CompileError, compile_file
from ftc.runtime.errors import RunError
from ftc.runtime.formats import FORMATS, conversations, convert, instructions
from ftc.runtime.rows import Content, Conversation, Dropped, Preference, Tokens
from hypothesis import given, settings
from hypothesis import strategies as st

from .specs import BASE, merged, toml

HERE = Path(__file__).parent
TABLE = json.loads((HERE.parent / "runtime/formats/formats.json").read_text("utf-8"))
CASES = [json.loads(line) for line in (HERE / "format_cases.jsonl").read_text("utf-8").splitlines()]


def content(case: dict) -> Content:
    """What the case's row must become."""
    if "text" in case:
        return case["text"]
    if "tokens" in case:
        return Tokens(case["tokens"], case["loss"])
    messages = [
        {**item, "content": getattr(instructions, item["content"], item["content"])}
        for item in case["messages"]
    ]
    return Conversation(messages, case.get("tools"), unread=tuple(case.get("unread", ())))


def pick(*keys: str) -> list:
    found = [case for case in CASES if any(key in case for key in keys)]
    return [pytest.param(case, id=f"{case['format']}-{n}") for n, case in enumerate(found)]


READ = pick("messages", "text", "tokens")


def test_every_format_has_cases_of_each_kind():
    assert list(FORMATS) == list(TABLE)
    read = [param.values[0]["format"] for param in READ] + ["msagent", "preference"] * 2  # below
    assert {name for name in FORMATS if read.count(name) < 2} == set()
    assert set(FORMATS) == {param.values[0]["format"] for param in pick("error")}


def test_the_compiler_knows_who_may_speak():
    roles = {name: tuple(entry["roles"]) for name, entry in TABLE.items() if "roles" in entry}
    assert roles.pop("messages") == (*conversations.ROLES, "function")
    assert roles.pop("sharegpt") == tuple(conversations.SHAREGPT)
    assert roles == {"wizardlm": ("human", "gpt"), "llava": ("human", "gpt")}


@pytest.mark.parametrize("case", READ)
def test_a_row_becomes_what_its_format_says(case: dict):
    assert FORMATS[case["format"]](case["row"]) == content(case)


def test_the_compiler_reads_rows_as_the_run_does(tmp_path: Path) -> None:
    """It refuses the same, at the line, in the same words, and takes the rest."""
    columns = {name: entry["columns"] for name, entry in TABLE.items()}
    for number, case in enumerate(CASES):
        if not set(columns[case["format"]]) <= case["row"].keys():
            continue  # another fault for the compiler: the format does not fit the file
        rows = tmp_path / f"{number}.jsonl"
        rows.write_text(json.dumps(case["row"]) + "\n")
        source = {"source": rows.name, "format": case["format"]}
        spec = tmp_path / "spec.toml"
        spec.write_text(toml(merged(BASE, {"data": {"train": [source]}})))
        try:
            compile_file(spec, tmp_path / "out")
            said = ""
        except CompileError as error:
            said = "\n".join(map(str, error.diagnostics))
        if "error" in case:
            start = f"{rows}:1:1: error[bad-row]: not a row of the format {case['format']}: "
            assert said.startswith(start) and case["error"] in said, case
        else:
            assert "bad-row" not in said, said


def test_a_row_that_json_takes_and_python_does_not() -> None:
    for depth in (300, 700, 900):
        deep = "[" * depth + "]" * depth
        turns = '[{"role": "user", "content": "Q", "name": null}, {"role": "assistant", "content": "A"}]'
        raw = f'{{"messages": {turns}, "meta": {deep}}}'.encode()
        try:
            convert(FORMATS["messages"], "messages", "a.jsonl:1", raw)
        except RunError as error:
            assert str(error).startswith("a.jsonl:1: error[bad-json]: ") and "deeply" in str(error)
        else:
            assert depth < 700


@pytest.mark.parametrize("case", pick("error"))
def test_a_broken_row_is_told(case: dict):
    with pytest.raises(ValueError) as error:
        FORMATS[case["format"]](case["row"])
    assert case["error"] in str(error.value)


@pytest.mark.parametrize("case", pick("dropped"))
def test_a_row_that_is_left_out_has_a_reason(case: dict):
    with pytest.raises(Dropped) as dropped:
        FORMATS[case["format"]](case["row"])
    assert str(dropped.value) == case["dropped"]


def system(text: str) -> dict:
    return {"role": "system", "content": text}


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict:
    return {"role": "assistant", "content": text}


def said(side: str, value: str) -> dict:
    return {"from": side, "value": value}


PARAMETERS = '[{"parameters": [{"name": "q", "description": "words"}]}]'
SEARCH = f'{{"name": "search", "description": "finds", "paths": {PARAMETERS}}}'
CALL = '{"api_name": "search", "parameters": {"q": "Rome"}}'
THOUGHT = f"I search.<|startofthink|>```JSON\n{CALL}```<|endofthink|>"
RESULT = '<|startofexec|>```JSON\n{"found": 3}```<|endofexec|>'


def test_msagent_becomes_react_text():
    conversation = [
        said("system", f"You have {SEARCH} and {{nothing else}}"),
        said("user", "Rome?"),
        said("assistant", f"{THOUGHT}{RESULT} Three. "),
        said("user", "Thanks"),
        said("assistant", "Welcome"),
    ]
    prompt, *rest = FORMATS["msagent"]({"conversations": str(conversation)}).messages
    assert "{'search': \"finds\\n输入参数: {'q': 'words'}\"}" in prompt["content"]
    assert "[['search']]" in prompt["content"]
    assert rest == [
        user("Rome?\n"),
        assistant("Thought:I search.\nAction:search\nAction Input:{'q': 'Rome'}\n\n"),
        system("Response:{'found': 3}\n"),
        user(""),
        assistant("Final Answer:Three.\n"),
        user("Thanks\n"),
        assistant("Final Answer:Welcome\n"),
    ]


@pytest.mark.parametrize("response", [RESULT, "<|startofexec|>{broken<|endofexec|> Three."])
def test_msagent_goes_on_without_a_response_that_says_nothing(response: str):
    row = {"conversations": [said("user", "Rome?"), said("assistant", THOUGHT + response)]}
    found = FORMATS["msagent"](row)
    assert [item["role"] for item in found.messages] == ["user", "assistant"]
    assert [name[:13] for name in found.unread] == ["a tool's resu"], "and says that it does"


ASKED = [system("S"), user("Q")]
BETTER, WORSE = [*ASKED, assistant("A")], [*ASKED, assistant("B")]
PAIRS = [
    {"system": "S", "question": "Q", "chosen": "A", "rejected": "B"},
    {"prompt": ASKED, "chosen": [assistant("A")], "rejected": [assistant("B")]},
    {"prompt": ASKED, "chosen": "A", "rejected": "B"},
    {"chosen": BETTER, "rejected": WORSE},
    {"prompt": "Q", "chosen": BETTER, "rejected": WORSE, "score_chosen": 9.0},
    {"prompt": ASKED, "chosen": BETTER, "rejected": WORSE},
    {"system": "S", "prompt": "Q", "chosen": BETTER[1:], "rejected": WORSE[1:]},
    {
        "system": "S",
        "conversations": [said("human", "Q")],
        "chosen": said("gpt", "A"),
        "rejected": said("gpt", "B"),
    },
    {"system": "S", "instruction": "Q", "input": "", "chosen": "A", "rejected": "B"},
    {"prompt": ASKED, "chosen": assistant("A"), "rejected": {"role": "gpt", "value": "B"}},
]


@pytest.mark.parametrize("row", PAIRS)
def test_pairs_of_any_shape_are_the_same_pair(row: dict):
    assert FORMATS["preference"](row) == Preference(Conversation(BETTER), Conversation(WORSE))


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_of_a_format_has_its_columns_and_needs_each(name: str):
    entry = TABLE[name]
    FORMATS[name](entry["example"])
    assert set(entry["columns"]) <= set(entry["example"])
    for column in set(entry["columns"]) - {"system_prompt"}:  # which may be empty
        with pytest.raises(ValueError):
            FORMATS[name]({k: v for k, v in entry["example"].items() if k != column})


KEYS = sorted(
    {key for entry in TABLE.values() for key in entry["example"]}
    | {"tools", "system", "loss", "weight", "role", "content", "from", "value", "input", "output"}
    | {"tool_calls", "function", "name", "arguments", "output_with_loss", "turn_1", "Human", "MOSS"}
)
SIDES = ("", "user", "assistant", "human", "gpt", "system", "tool", "function_call", "observation")
TEXTS = ("### Human: Q### Assistant: A", THOUGHT, RESULT, SEARCH, "<image>", "None", 'f("a")')
DEEP = ("[" * 300, "{'a':" * 300, '{"a":' * 3000, "f(" * 300, "{", "[{}]", "\x00", "\ud800")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(SIDES + TEXTS + DEEP),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=24,
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(SIDES),
        "from": st.sampled_from(SIDES),
        **dict.fromkeys(("content", "value", "input", "output"), JSON),
        **dict.fromkeys(("loss", "tool_calls", "weight", "output_with_loss", "system"), JSON),
    },
)
PART = st.dictionaries(st.sampled_from(["Human", "Commands", "Tool Responses", "MOSS"]), JSON)
COLUMN = (
    JSON
    | st.lists(MESSAGE, max_size=5)
    | st.dictionaries(st.sampled_from(["turn_1", "turn_x", ""]), PART)
)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_json_is_read_or_refused_and_never_changed(name: str, data: st.DataObject):
    further = data.draw(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4))
    optional = data.draw(
        st.dictionaries(st.sampled_from(TABLE[name].get("optional", [""])), COLUMN, max_size=2)
    )
    row = {**further, **optional}
    row |= {column: data.draw(COLUMN) for column in TABLE[name]["columns"]}
    before = copy.deepcopy(row)
    try:
        found = FORMATS[name](row)
    except (ValueError, Dropped):
        found = None
    assert repr(row) == repr(before)
    if isinstance(found, Conversation):
        assert any(item["role"] == "assistant" for item in found.messages)
        assert all(isinstance(item["content"], str) for item in found.messages)
        assert all(item.get("loss", False) is False for item in found.messages)
    elif isinstance(found, Tokens):
        assert len(found.ids) == len(found.loss) > 0
    else:
        assert found is None or isinstance(found, str | Preference)
