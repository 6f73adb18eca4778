"""Row formats: each a pure function from a row of a data set to its content.

A function raises ValueError with a sentence about the row if it can't be read, and Dropped if the row
is left out on purpose; it never changes the row. `formats.json` has each format's columns, and an
example row; the compiler reads it, too.

Other tools append consecutive messages of one side without anything between them, and fail on or
train on flags that Arrow filled with None. Here a newline stands between, and None is the default.
"""

from collections.abc import Callable

from ..rows import Content, Row
from .agents import moss_sft, msagent
from .conversations import (
    conversation,
    llava,
    messages,
    oasst1,
    prompt_completion,
    sharegpt,
    wizardlm,
)
from .custom import custom
from .instructions import (
    alpaca,
    alpaca_zh,
    arxiv,
    code_alpaca,
    colors,
    crime_kg_assistant,
    input_output,
    law_reference,
    medical,
    openorca,
    sql,
    stack_exchange,
    tiny_codes,
)
from .plain import pretokenized, pretrain
from .preferences import preference

FORMATS: dict[str, Callable[[Row], Content]] = {
    "messages": messages,
    "sharegpt": sharegpt,
    "conversation": conversation,
    "alpaca": alpaca,
    "alpaca_zh": alpaca_zh,
    "prompt_completion": prompt_completion,
    "input_output": input_output,
    "pretrain": pretrain,
    "pretokenized": pretokenized,
    "preference": preference,
    "openorca": openorca,
    "stack_exchange": stack_exchange,
    "sql": sql,
    "arxiv": arxiv,
    "colors": colors,
    "code_alpaca": code_alpaca,
    "tiny_codes": tiny_codes,
    "medical": medical,
    "crime_kg_assistant": crime_kg_assistant,
    "law_reference": law_reference,
    "oasst1": oasst1,
    "llava": llava,
    "wizardlm": wizardlm,
    "msagent": msagent,
    "moss_sft": moss_sft,
}


def function(name: str) -> Callable[[Row], Content]:
    """The format called `name`: one of FORMATS, or `FILE.py:FUNCTION`.

    Raises RunError if the file can't be run, or has no such function.
    """
    return FORMATS[name] if name in FORMATS else custom(name)
