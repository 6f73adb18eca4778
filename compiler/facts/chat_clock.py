"""Chat templates that ask for today's date: they are given one that stays, in training and wherever they serve.

transformers gives templates `strftime_now(format)`, which other engines have, too. The run's template begins
with a macro of that name: it holds what each format of the template comes to, so every engine renders it.
"""

from __future__ import annotations

import calendar
import json
import re
from datetime import datetime

from jinja2 import Environment, nodes

CLOCK = "strftime_now"
# transformers knows this tag, Jinja does not.
MARKS = re.compile(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")


def parse(template: str) -> nodes.Template:
    """The template's syntax tree, without its marks. Raises TemplateSyntaxError."""
    return Environment(extensions=["jinja2.ext.loopcontrols"]).parse(MARKS.sub("", template))


def asks(template: str) -> bool:
    """Whether the template asks for the date, beyond the names in its comments."""
    if CLOCK not in template:
        return False
    tree = parse(template)
    own = any(macro.name == CLOCK for macro in tree.find_all(nodes.Macro))
    return not own and any(name.name == CLOCK for name in tree.find_all(nodes.Name))


def fixed(template: str, date: str) -> str:
    """The template with `date` (YYYY-MM-DD, midnight) wherever it asks."""
    if not asks(template):
        return template
    texts = (const.value for const in parse(template).find_all(nodes.Const))
    formats = dict.fromkeys(text for text in texts if isinstance(text, str) and "%" in text)
    cases = "".join(
        f"    {{%- if format == {_quoted(text)} %}}{{{{- {_quoted(_at(date, text))} }}}}{{%- endif %}}\n"
        for text in formats
    )
    known = ", ".join(map(_quoted, formats))
    other = "raise_exception('no date in the format ' ~ format ~ ' was compiled')"
    return (
        f"{{#- The date is {date}, on any day: model.date of the spec. #}}\n"
        f"{{%- macro {CLOCK}(format) %}}\n{cases}"
        f"    {{%- if format not in [{known}] %}}{{{{- {other} }}}}{{%- endif %}}\n"
        "{%- endmacro %}\n"
        f"{template}"
    )


def _at(date: str, format: str) -> str:
    day = datetime.fromisoformat(date)
    seconds = str(calendar.timegm(day.timetuple()))  # %s would ask for the machine's time zone
    return day.strftime(re.sub(r"%%|%s", lambda m: seconds if m[0] == "%s" else m[0], format))


def _quoted(text: str) -> str:
    """A text as Jinja writes one."""
    return json.dumps(text, ensure_ascii=False)
