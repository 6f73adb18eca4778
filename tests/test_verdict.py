"""What `ftc diff` says of checkpoints is what the run itself says when it is to go on from them."""

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ftc.compiler import compile_document
from ftc.compiler.diff.difference import Difference, diff
from ftc.compiler.diff.sides import Side, of_compiled
from ftc.compiler.document.load import Document, parse
from ftc.compiler.plan.names import key_of
from ftc.compiler.run_dir.write import LOCK
from ftc.compiler.spec.describe import CONSEQUENCES, changes, models_in
from ftc.compiler.spec.method import Method
from ftc.compiler.spec.spec import Spec
from ftc.runtime.process import lock

from .changes import CHANGES, FULL8, HUB_ROWS, LONG, QLORA, put
from .specs import BASE, ROOT, SPECS, merged, render, toml


@pytest.mark.parametrize("path", sorted(CHANGES))
def test_a_verdict_is_what_the_run_says(path: str, folder: Path) -> None:
    one, other, data = CHANGES[path]
    difference, refused = judged(put(data, path, one), put(data, path, other), folder)
    assert (difference.resume == "new run") == bool(refused), (refused, str(difference))


def lora(**keys: Any) -> dict[str, Any]:
    return merged(BASE, {"method": keys})


def source(**keys: Any) -> dict[str, Any]:
    return merged(BASE, {"data": {"train": [{**BASE["data"]["train"][0], **keys}]}})


def model(**keys: Any) -> dict[str, Any]:
    return merged(BASE, {"model": keys})


RANKS = [{"module": "q_proj", "rank": 2}, {"module": "k_proj", "rank": 4}]
OVERLAP = [{"module": "q_proj", "rank": 2}, {"module": "layers.0.self_attn.q_proj", "rank": 4}]
FOLDER = merged(BASE, {"model": {"base": "my weights/it's", "chat_template": "chatml"}})

# Two specs that are written differently and train the same.
ALIKE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "weight of one": (BASE, source(weight=1.0)),
    "a dot before the path": (BASE, source(source="./rows.jsonl")),
    "a way round": (BASE, source(source="sub/../rows.jsonl")),
    "another name": (BASE, source(source="same.jsonl")),
    "another folder": (BASE, source(source="sub/rows.jsonl")),
    "a pattern of one": (BASE, source(source="row*.jsonl")),
    "other names in a pattern": (source(source="sub/*.jsonl"), source(source="others/*.jsonl")),
    "format auto": (BASE, source(format="auto")),
    "format unset": (BASE, merged(BASE, {"data": {"train": [{"source": "rows.jsonl"}]}})),
    "another name of a function": (source(format="one.py:read"), source(format="two.py:read")),
    "more than there are": (BASE, source(max_samples=100)),
    "all that there are": (source(max_samples=1), source(max_samples=7)),
    "split written out": (HUB_ROWS, put(HUB_ROWS, "data.train.split", "train")),
    "dtype auto": (BASE, model(dtype="float32")),
    "attention auto": (BASE, model(attention="segment_sdpa")),
    "the preset's template": (BASE, model(chat_template="smollm2")),
    "a template's copy": (model(chat_template="smollm2"), model(chat_template="mine.jinja")),
    "the preset's package": (BASE, model(source="package")),
    "the preset's Hub id": (BASE, model(base="HuggingFaceTB/SmolLM2-135M-Instruct")),
    "the way to a folder": (FOLDER, put(FOLDER, "model.base", "./my weights/sub/../it's/")),
    "rope's own length": (LONG, put(LONG, "model.rope_scaling.original_max_position", 8192)),
    "defaults of lora": (BASE, lora(rank=16, alpha=32, dropout=0.0, bias="none", use_dora=False)),
    "modules in another order": (
        lora(target_modules=["q_proj", "v_proj"]),
        lora(target_modules=["v_proj", "q_proj", "v_proj"]),
    ),
    "frozen in another order": (
        merged(FULL8, {"method": {"freeze": ["lm_head", "*.norm"]}}),
        merged(FULL8, {"method": {"freeze": ["*.norm", "lm_head"]}}),
    ),
    "ranks in another order": (lora(rank_pattern=RANKS), lora(rank_pattern=RANKS[::-1])),
    "alpha of a pattern": (
        lora(rank_pattern=[{"module": "q_proj", "rank": 2}]),
        lora(rank_pattern=[{"module": "q_proj", "rank": 2, "alpha": 32}]),
    ),
    "the rank of all": (BASE, lora(rank_pattern=[{"module": "q_proj", "rank": 16}])),
    "compute dtype auto": (QLORA, put(QLORA, "method.quantization.compute_dtype", "bfloat16")),
    "a table of defaults": (QLORA, merged(QLORA, {"method": {"quantization": {"bits": 4}}})),
    "betas written out": (BASE, put(BASE, "optim.betas", [0.9, 0.999])),
    "a rate written out": (BASE, put(BASE, "optim.learning_rate", 2e-4)),
    "an empty list": (BASE, merged(BASE, {"data": {"validation": []}})),
    "a seed written out": (BASE, put(BASE, "seed", 42)),
}
# Two specs that look alike and train otherwise.
UNLIKE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "other rows": (BASE, source(source="more.jsonl")),
    "other rows in a pattern": (source(source="sub/*.jsonl"), source(source="*.jsonl")),
    "fewer than there are": (
        source(source="more.jsonl"),
        source(source="more.jsonl", max_samples=2),
    ),
    "another function of a file": (source(format="one.py:read"), source(format="one.py:other")),
    "overlapping ranks": (lora(rank_pattern=OVERLAP), lora(rank_pattern=OVERLAP[::-1])),
    "another template": (model(chat_template="mine.jinja"), model(chat_template="chatml")),
    "files shared out otherwise": (
        merged(BASE, {"data": {"train": [{"source": "[ab].jsonl"}, {"source": "c.jsonl"}]}}),
        merged(BASE, {"data": {"train": [{"source": "a.jsonl"}, {"source": "[bc].jsonl"}]}}),
    ),
}


@pytest.mark.parametrize("case", ALIKE)
def test_what_comes_to_the_same_goes_on(case: str, folder: Path) -> None:
    furnish(folder)
    difference, refused = judged(*ALIKE[case], folder)
    assert (difference.resume, refused) == ("same", []), str(difference)


@pytest.mark.parametrize("case", UNLIKE)
def test_what_trains_otherwise_does_not(case: str, folder: Path) -> None:
    furnish(folder)
    difference, refused = judged(*UNLIKE[case], folder)
    assert difference.resume == "new run" and refused, str(difference)


def furnish(folder: Path) -> None:
    """Copies under other names: of the rows, of a chat template, of a function."""
    for name in ("same.jsonl", "sub/rows.jsonl", "others/x.jsonl"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "rows.jsonl", folder / name)
    shutil.copy(folder / "more.jsonl", folder / "sub" / "z.jsonl")
    shutil.copy(folder / "more.jsonl", folder / "others" / "y.jsonl")
    shutil.copy(ROOT / "templates" / "chat" / "smollm2.jinja", folder / "mine.jinja")
    for name in ("one.py", "two.py"):
        (folder / name).write_text(
            "def read(row):\n    return row\n\n\ndef other(row):\n    return row\n"
        )
    for name in "abc":
        row = {"messages": [{"role": r, "content": name} for r in ("user", "assistant")]}
        (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "my weights" / "sub").mkdir()


@pytest.mark.parametrize(
    "what", ["mine.jinja", "rows.jsonl", "one.py", "my weights/it's/config.json"]
)
def test_what_changed_under_its_name_is_another_run(what: str, folder: Path) -> None:
    furnish(folder)
    data = {
        "mine.jinja": model(chat_template="mine.jinja"),
        "rows.jsonl": BASE,
        "one.py": source(format="one.py:read"),
    }.get(what, FOLDER)
    before = compiled(data, folder / "then", folder)
    text = (folder / what).read_text()
    other = text.replace("2048", "4096") if "config" in what else text.replace("Hey", "Hi") + "\n"
    (folder / what).write_text(other)
    after = compiled(data, folder / "now", folder)
    assert diff(before, after).resume == "new run"
    assert lock.differences(folder / "then", folder / "now")


def test_a_lock_of_an_earlier_version_is_judged_by_its_values(folder: Path) -> None:
    """It has no identities: what was compiled before is resumed after."""
    for name in ("then", "now"):
        compiled(BASE, folder / name, folder)
    old = json.loads((folder / "then" / LOCK).read_text())
    for entry in old["plan"].values():
        entry.pop("identity", None)
    (folder / "then" / LOCK).write_text(json.dumps(old))
    assert lock.differences(folder / "then", folder / "now") == []
    compiled(lora(rank=4), folder / "now", folder)
    assert lock.differences(folder / "then", folder / "now") == ["method.lora.rank was 16 and is 4"]


def declarations(model: Any = Spec, at: str = "", above: str = "new run") -> Iterator[list[str]]:
    """Each key of each kind of each table, with the class that it is declared with there, or its table is."""
    for name, field in model.model_fields.items():
        extra: Any = field.json_schema_extra or {}
        own = min(above, extra.get("changes", above), key=CONSEQUENCES.index)
        tables = list(models_in(field.annotation))
        for table in tables:
            yield from declarations(table, f"{at}{name}.", own)
        if not tables:
            yield [f"{at}{name}", own]


DECLARED: dict[str, set[str]] = defaultdict(set)  # by the key: what all kinds that have it say
for key, own in declarations():
    DECLARED[key].add(own)


def declared(path: str) -> str:
    (found,) = DECLARED[path]  # one answer: the lock of a run knows keys, not kinds
    return found


def test_no_kind_stands_for_all() -> None:
    of_one = [f"method.{key}" for model in models_in(Method) for key in model.model_fields]
    assert len(set(of_one)) < len(of_one) < 60 < len(DECLARED)
    for path in DECLARED:
        assert changes(tuple(path.split("."))) == declared(path), path


@pytest.mark.parametrize("name", SPECS)
def test_each_value_of_a_lock_has_the_class_of_its_key(name: str, folder: Path) -> None:
    entries = json.loads(render(SPECS[name], folder)[LOCK].content)["plan"]
    found = {
        where: key
        for where in entries
        if (key := re.sub(r"\[\d+\]", "", key_of(where))) in DECLARED
    }
    assert len(found) > 40
    for where, key in found.items():
        if not where.endswith((".hub_id", ".folder", ".modelscope")):
            assert entries[where]["changes"] == declared(key), where


@pytest.mark.parametrize("path", sorted(CHANGES))
def test_the_lock_has_the_class_that_a_key_is_declared_with(path: str, folder: Path) -> None:
    one, other, data = CHANGES[path]
    difference, _ = judged(put(data, path, one), put(data, path, other), folder)
    said = [c.effect for c in difference.keys if re.sub(r"\[\d+\]", "", c.path).startswith(path)]
    assert set(said) == {declared(path)}, str(difference)
    for name in ("then", "now"):
        entries = json.loads((folder / name / LOCK).read_text())["plan"]
        for where, entry in entries.items():
            key = re.sub(r"\[\d+\]", "", key_of(where))
            if key == path and not where.endswith((".file", ".files", ".hub_id", ".folder")):
                assert entry["changes"] == declared(path), where


def judged(old: dict[str, Any], new: dict[str, Any], folder: Path) -> tuple[Difference, list[str]]:
    """What `ftc diff` says, and what the run does."""
    sides = [compiled(data, folder / name, folder) for name, data in (("then", old), ("now", new))]
    return diff(*sides), lock.differences(folder / "then", folder / "now")


def compiled(data: dict[str, Any], place: Path, folder: Path) -> Side:
    """The spec, compiled; its lock is written to `place`."""
    document = parsed(data, folder)
    result = compile_document(document)
    place.mkdir(exist_ok=True)
    (place / LOCK).write_bytes(result.files[LOCK].content)
    return of_compiled(document, result)


def parsed(data: dict[str, Any], folder: Path) -> Document:
    return parse(toml(data), str(folder / "spec.toml"))
