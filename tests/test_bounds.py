"""Specs that are far too much of something end soon, in a few words."""

import json
import time

import pytest

from .specs import BASE, ftc, toml

DEEP = 20_000
NO_SPEC = {
    "nested lists": "\n[x]\na = " + "[" * DEEP + "]" * DEEP,
    "nested tables": "\n[x]\na = " + "{a = " * 300 + "1" + "}" * 300,
    "a long header": "\n[" + ".".join("a" * 400) + "]\nb = 1",
    "a long key": "\n[x]\n" + "k" * 1_000_000 + " = 1",
    "a number of many digits": "\n[train]\nmax_steps = " + "9" * 5000,
    "a hexadecimal one": "\n[train]\nmax_steps = 0x" + "f" * 5000,
    "more than 64 bits": "\n[train]\nmax_steps = 9223372036854775808",
    "many keys": "\n[train]\n" + "".join(f"key{n} = {n}\n" for n in range(5000)),
    "many tables": "".join(f"[table{n}]\na = {n}\n" for n in range(5000)),
    "many sources": "".join(f"[[data.train]]\nsorce = {n}\n" for n in range(2000)),
}


@pytest.mark.parametrize("form", ["text", "json", "sarif"])
@pytest.mark.parametrize("case", NO_SPEC)
def test_a_spec_beyond_measure(case, form, spec):
    spec.write_text(toml(BASE) + NO_SPEC[case])
    began = time.monotonic()
    done = ftc("check", spec, "--format", form, exit_code=2)
    assert time.monotonic() - began < 20
    assert len(done.output) < 150_000
    if form == "json":
        assert len(json.loads(done.stdout)) <= 101


def test_of_many_problems_the_first_are_explained_and_the_others_counted(spec):
    spec.write_text(toml(BASE) + NO_SPEC["many keys"])
    text = ftc("check", spec, exit_code=2).stderr
    assert text.count("error[unknown-key]") == 100
    assert "`key99`" in text and "`key100`" not in text
    assert text.endswith("4,900 more are not shown.\n\n5,000 errors. Nothing was written.\n")
    found = json.loads(ftc("check", spec, "--format", "json", exit_code=2).stdout)
    assert [len(found), found[-1]["code"], found[-1]["message"][:5]] == [101, "too-many", "4,900"]


SETTINGS = ["train.max_steps=" + "[" * DEEP, "x=" + "{a=" * 300 + "1" + "}" * 300, "seed=0x" + "f" * 5000,
            ".".join("a" * 400) + "=1", "a" + "[0]" * 5000 + "=1", "name=" + "n" * 1_000_000]  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS, ids=range(len(SETTINGS)))
def test_a_setting_beyond_measure(setting, spec):
    done = ftc("check", spec, "--set", setting, exit_code=2)
    assert "error[" in done.stderr
    assert len(done.stderr) < 5000


TEMPLATES = ["{{ " + "(" * 300 + "1" + ")" * 300 + " }}", "{% if 1 %}" * 300 + "{% endif %}" * 300,
             "{{ " + "9" * 5000 + " }}", "{{ " + "2**" * DEEP + "1 }}", "a" * 1_000_001]  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES, ids=range(len(TEMPLATES)))
def test_a_template_beyond_measure(template, folder, tiny_model):
    (folder / "t.jinja").write_text(template)
    data = {**BASE, "model": {"base": "smollm2-135m-instruct", "chat_template": "t.jinja"}}
    (folder / "spec.toml").write_text(toml(data))
    assert "error[bad-chat-template]" in ftc("check", folder / "spec.toml", exit_code=2).stderr
    mine = folder / "mine"
    mine.mkdir()
    (mine / "config.json").write_text((tiny_model / "config.json").read_text())
    (mine / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    data = {**BASE, "model": {"base": "mine", "max_seq_length": 96}}
    (folder / "spec.toml").write_text(toml(data))
    assert "error[bad-chat-template]" in ftc("check", folder / "spec.toml", exit_code=2).stderr


def test_a_pattern_stays_within_its_folder(folder):
    (folder / "rows").mkdir()
    (folder / "elsewhere/below").mkdir(parents=True)
    for place in ("rows/a.jsonl", "elsewhere/b.jsonl", "elsewhere/below/c.jsonl"):
        (folder / place).write_text((folder / "rows.jsonl").read_text())
    source = {"source": "rows/**/*.jsonl", "format": "messages"}
    (folder / "spec.toml").write_text(toml({**BASE, "data": {"train": [source]}}))
    (folder / "rows/d.jsonl").symlink_to("../elsewhere/b.jsonl")  # a file is what it links to
    (folder / "rows/again").symlink_to(".")
    ftc("compile", folder / "spec.toml", "-o", folder / "run")
    assert len(json.loads((folder / "run/ftc.lock").read_text())["facts"]["data"]) == 2
    (folder / "rows/link").symlink_to("../elsewhere/below")
    assert "leads out of" in ftc("check", folder / "spec.toml", exit_code=2).stderr
    source["source"] = "rows/*/../*.jsonl"
    (folder / "spec.toml").write_text(toml({**BASE, "data": {"train": [source]}}))
    assert "`..` behind a wildcard" in ftc("check", folder / "spec.toml", exit_code=2).stderr


def test_a_parquet_footer_of_any_bytes(tmp_path):
    """Each byte of a footer changed in turn, and some at once: columns and rows, or a ValueError."""
    import random

    import pyarrow as pa
    import pyarrow.parquet as pq
    from ftc.compiler.rows.parquet import footer

    file, chance = tmp_path / "rows.parquet", random.Random(0)
    pq.write_table(pa.table({"text": ["a", "b"], "n": [1, 2]}), file)
    content = file.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    for _ in range(3000):
        changed = bytearray(content)
        for _ in range(chance.choice([1, 1, 2, 8])):
            changed[-8 - 1 - chance.randrange(length)] = chance.randrange(256)
        file.write_bytes(changed)
        try:
            columns, rows = footer(file)
        except ValueError:
            continue
        assert all(isinstance(column, str) for column in columns)
        assert 0 <= rows < 2**48


NO_END = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}"


NO_END += "{% endfor %}{{ messages[0].content }}"
GROWS = "{% set n = namespace(t=[0]) %}{% for _ in range(99999) %}{% set n.t = (n.t, [0] * 400) %}{% endfor %}"


@pytest.mark.parametrize("template", [
    NO_END, GROWS + NO_END, "{{ messages[0].content * 1000 }}", "{{ ([1] * 20000)|length }}", "{{ 7 ** 99999 % 2 }}",
    "{% set n = namespace(a=7) %}{% for _ in range(20) %}{% set n.a = n.a * n.a %}{% endfor %}{{ n.a % 2 }}",
    "{{ ('%20000d' % 1)|length }}", "{{ 'a'.center(20000)|length }}",
    "{{ 'a'|center(20000)|length }}", "{{ '%20000d'|format(1)|length }}", "{{ '{:>20000}'.format(1)|length }}",
    "{{ ('%*d' % (20000, 1))|length }}", "{{ '%*d'|format(20000, 1)|length }}", "{{ ('%.*f' % (20000, 1.0))|length }}",
    "{{ ('%(a)s%(a)s' % {'a': 'a' * 6000})|length }}", "{{ '{:{}}'.format(1, 20000)|length }}",
    "{{ ('%(a)20000d' % {'a': 1})|length }}",
    "{{ '{:{a}}'.format(1, a='>20000')|length }}", "{{ '{a:{b}}'.format_map({'a': 1, 'b': 20000})|length }}",
    "{{ '{:5.20000f}'.format(1.0)|length }}", "{{ '{0}{0}'.format('a' * 6000)|length }}",
    "{{ ('a' * 200)|replace('a', 'b' * 100)|length }}", "{{ ('a' * 200).replace('', 'b' * 100)|length }}",
    "{{ (['a' * 2000] * 6)|join|length }}", "{{ range(200)|join('b' * 100)|length }}",
    "{{ ('b' * 100).join(['a'] * 200)|length }}", "{{ [1, 2]|map('string')|join('b' * 9000 ~ 'b' * 9000)|length }}",
    "{{ ('\\t' * 200).expandtabs(100)|length }}", "{{ ('a\\n' * 200)|indent(100)|length }}",
    "{{ [1]|batch(20000, 2)|list|length }}", "{{ 5|round(-200000) }}", "{{ [1, 2]|tojson(indent=20000)|length }}",
    "{{ 'ab'|wordwrap(1, wrapstring='b' * 9000)|length }}", "{{ 'aa'.translate({97: 'b' * 9000})|length }}",
    "{{ (1).to_bytes(20000, 'big')|length }}", "{{ ['a']|map('center', 20000)|list|length }}",
])  # fmt: skip
def test_a_template_without_end(template, tokenizer, monkeypatch):
    from ftc.runtime.data import time_limit
    from ftc.runtime.data.render import Renderer
    from ftc.runtime.errors import RunError
    from ftc.runtime.rows import Conversation

    monkeypatch.setattr(time_limit, "SECONDS", 1.0)
    monkeypatch.setattr(time_limit, "LARGEST", 10_000)
    if template.startswith(GROWS):
        monkeypatch.setattr(time_limit, "MEMORY", 20_000_000)
        monkeypatch.setattr(time_limit, "SECONDS", 20.0)
    tokenizer.chat_template = template
    messages = [{"role": "user", "content": "twelve chars"}, {"role": "assistant", "content": "b"}]
    began = time.monotonic()
    with pytest.raises(RunError, match=r"chat template takes more than .* seconds"):
        Renderer(tokenizer)(Conversation(messages), "rows:1")
    assert time.monotonic() - began < 10


def test_what_stays_within_the_bounds_is_what_jinja_makes(tokenizer):
    from ftc.runtime.data.bounded import Bounded
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    for body in (
        "{{ '%*d|%5.2f|%s' % (7, 1, 2.5, 'x') }}", "{{ '%(a)s %(a)r'|format(a='b') }}",
        "{{ '**%s %d**' % ('x', 1700000000) }}", "{{ '{:{}}|{a!r}'.format(1, 5, a='x') }}",
        "{{ '{a}'.format_map({'a': 2}) }}", "{{ range(3)|map('string')|join(', ') }}", "{{ {'a': 1}|join }}",
        "{{ 'abc'|join('-') }}",
        "{{ [{'n': 1}, {'n': 2}]|join('+', attribute='n') }}", "{{ ', '.join(['a', 'b']) }}",
        "{{ 'aXb'|replace('X', 'yy') }}",
        "{{ 'aXXb'.replace('X', 'yy', 1) }}", "{{ 'a\\tb'.expandtabs(4) }}", "{{ 'a\\nb'|indent(2, first=true) }}",
        "{{ [1, 2, 3]|batch(2, 0)|list }}", "{{ 2.55|round(1, 'floor') }}", "{{ {'a': [1]}|tojson(indent=2) }}",
        "{{ 'a b'|wordwrap(1) }}",
        "{{ 'ab'.translate({97: 'x'}) }}", "{{ 1700000000|tojson }}", "{{ none|join }}{{ nothing|replace('a', 'b') }}",
    ):  # fmt: skip
        texts = []
        for kind in (Bounded, ImmutableSandboxedEnvironment):
            try:
                texts.append(kind().from_string(body).render())
            except Exception as error:
                texts.append(repr(error))
        assert texts[0] == texts[1], body


def test_a_template_that_computes_wrongly_is_refused(tokenizer):
    from ftc.runtime.data.render import Renderer
    from ftc.runtime.errors import RunError
    from ftc.runtime.rows import Conversation

    for wrong in ("1 // 0", "range(10 ** 9)", "2.0 ** 9999"):
        tokenizer.chat_template = "{{ " + wrong + " }}{{ messages[0].content }}"
        with pytest.raises(RunError, match="can't render this conversation"):
            Renderer(tokenizer)(Conversation([{"role": "user", "content": "a"}]), "rows:1")
