"""A chat template that asks for today's date: it is given one date, wherever it is rendered."""

import datetime

import pytest
from ftc.compiler.catalog.presets import chat_templates
from ftc.compiler.facts import chat_clock

# As they stand in the templates of Llama 3.2, SmolLM3, Granite 3.3, gpt-oss.
ASKING = {
    "llama": "{%- if not date_string is defined %}\n    {%- if strftime_now is defined %}\n"
    "        {%- set date_string = strftime_now(\"%d %b %Y\") %}\n    {%- else %}\n"
    "        {%- set date_string = \"26 Jul 2024\" %}\n    {%- endif %}\n{%- endif %}\n"
    "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}",
    "smollm3": "{%- set today = strftime_now('%d %B %Y') -%}\n {{ today }} it is",
    "granite": "  \nToday's Date: {{ strftime_now('%B %d, %Y') }}.{{ strftime_now('%-d %s') }}\n",
    "gpt-oss": "{% macro build() %}{{- 'Current date: ' + strftime_now(\"%Y-%m-%d\") }}{% endmacro %}{{ build() }}",
    "by name": "{% set how = '%H:%M \"%A\"' %}{% for m in messages %}{{ strftime_now(how) }}{% endfor %}",
    "as a number": "{{ strftime_now('%Y') | int + 1 }}",
}  # fmt: skip


@pytest.mark.parametrize("name", ASKING)
def test_each_render_has_what_it_would_have_on_that_day(name, monkeypatch):
    from transformers.utils import chat_template_utils

    class Then(datetime.datetime):
        @classmethod
        def now(cls):
            return cls(2021, 3, 7, tzinfo=datetime.UTC)

    monkeypatch.setattr(chat_template_utils, "datetime", Then)
    monkeypatch.setenv("TZ", "UTC")
    template, messages = ASKING[name], [{"role": "user", "content": "x"}]
    assert chat_clock.asks(template)
    fixed = chat_clock.fixed(template, "2021-03-07")

    def rendered(text: str) -> str:
        return chat_template_utils.render_jinja_template([messages], chat_template=text)[0][0]

    then = rendered(template)
    monkeypatch.undo()
    assert rendered(fixed) == then != rendered(template)
    assert not chat_clock.asks(fixed), "a run's own template may be named in another spec"
    assert chat_clock.fixed(fixed, "2020-01-01") == fixed


def test_other_templates_stay_as_they_are():
    for path in chat_templates().values():
        text = path.read_text("utf-8")
        assert chat_clock.fixed(text, "2026-03-07") == text
    assert not chat_clock.asks("{# strftime_now #}{{ messages }}")
