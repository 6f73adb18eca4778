"""Outlines of chat templates: what they give is what Jinja gives, however a template treats a text."""

import pytest
from ftc.runtime.data import outline
from transformers.utils.chat_template_utils import render_jinja_template

TEXTS = ["", " ", "x", "?", " two words\n", "<think>r</think> x", "é 🙂", "3", "None", "ab" * 40]
EACH = (
    "{% for m in messages %}[{{ m.role }}]{% set c = m['content'] %}BODY{% endfor %}{{ bos_token }}"
)
# What a template does with a text -> whether it has an outline.
BODIES = {
    "{{ c }}": True,
    "{{ c | trim }} {{ c.strip('<x') }}": True,
    "{{ '<' + c + '>' }}{{ c ~ 1 ~ '!' }}": True,
    "{% if c %}{{ c }}{% else %}nothing{% endif %}": True,
    "{% if '</think>' in c and not c.startswith('3') %}{{ 1 }}{% endif %}{{ c }}": True,
    "{% if c.strip() == 'x' or c != '3' %}y{% endif %}": True,
    "{% if c is string and c is not none %}{{ c }}{% endif %}": True,
    "{% generation %}{{ c }}!{% endgeneration %}": True,
    "{% macro f(t) %}({{ t }}){% endmacro %}{{ f(c) }}{{ messages | length }}": True,
    "{% set d %}<{{ c }}>{% endset %}{{ d }}": True,
    "{{ (messages | selectattr('role', 'equalto', 'user') | list | first).content }}": True,
    "{% set d %}<{{ c }}>{% endset %}{% if '3' in d %}y{% endif %}": False,
    "{% if '3' in c ~ '' %}y{% endif %}": False,
    "{{ c.split('</think>')[-1] }}": False,
    "{{ c[0:1] }}{{ c | upper }}": False,
    "{{ c | replace('x', 'y') }}": False,
    "{{ c | tojson }}": False,
    "{{ c | length }}": False,
    "{{ messages | map(attribute='content') | join('|') }}": False,
    "{{ '{}!'.format(c) }}": False,
    "{{ 'a' if c > 'b' else c }}": False,
    "{{ '%s!' % c }}": False,  # found out by the comparison with Jinja
    "{{ {c: 1}[c] }}": False,
}


@pytest.mark.parametrize("body", BODIES)
def test_an_outline_gives_what_jinja_gives(body):
    template = EACH.replace("BODY", body)
    outlines = outline.Outlines(template, {"bos_token": "<s>"})
    asked = 0
    for first in TEXTS:
        for second in TEXTS:
            messages = [
                {"role": "user", "content": first},
                {"role": "assistant", "content": second},
            ]

            def jinja(messages=messages):
                nonlocal asked
                asked += 1
                marks = "generation" in template
                texts, spans = render_jinja_template(
                    [messages],
                    chat_template=template,
                    bos_token="<s>",
                    return_assistant_tokens_mask=marks,
                )
                return texts[0], spans[0] if marks else []

            assert outlines.render(messages, None, False, jinja) == jinja()
    found = outlines.known[False, "user", "assistant"] is not None
    assert found == BODIES[body]
    assert found == (asked < 2 * len(TEXTS) ** 2)


def test_a_wrong_outline_is_found_out():
    outlines = outline.Outlines("{% for m in messages %}{{ m.content }}{% endfor %}", {})
    messages = [{"role": "user", "content": "x"}]
    for _ in range(outline.EVERY):
        assert outlines.render(messages, None, False, lambda: ("x", [])) == ("x", [])
    with pytest.raises(AssertionError, match="outline is wrong"):
        outlines.render(messages, None, False, lambda: ("y", []))
