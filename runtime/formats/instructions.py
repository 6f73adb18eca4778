"""Formats with one question and one answer a row, in columns of their own."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..rows import Conversation, Dropped, Message, Row
from .values import kind, optional_text, text, turn

# The roles that XTuner's data sets are trained in, in our words.
CODER = "You are a professional programmer. Write code that does what the human describes."
COLORIST = "You are a professional colour designer. Name the colour that the human describes."
LAWYER = "你是一名专业的中国律师，请准确回答用户的法律问题，并说明依据。"
DOCTOR = "你是一名医生，请根据患者的描述回答医学问题。"
SQL = "You are an expert in SQL. Given the CREATE TABLE statements, write the query that answers the question."
ARXIV = "You are an expert at writing papers. Give a fitting title to the paper with this abstract."


def pair(row: Row, question: str, answer: str, system: str = "") -> Conversation:
    """Two columns, the question and the answer."""
    return turn(text(row, question), text(row, answer), system)


def columns(question: str, answer: str, system: str = "") -> Callable[[Row], Conversation]:
    return partial(pair, question=question, answer=answer, system=system)


def instruction(row: Row, suffix: str = "", system: str = "") -> Conversation:
    """{"instruction", "input", "output"}, each with `suffix`; an input goes on a line of its own.

    Without an input, the question ends with the instruction (XTuner adds a newline, which nobody who
    chats with the model types).
    """
    asked = [text(row, f"instruction{suffix}"), optional_text(row, f"input{suffix}")]
    return turn("\n".join(filter(None, asked)), text(row, f"output{suffix}"), system)


def alpaca(row: Row) -> Conversation:
    """{"instruction", "input", "output"} (tatsu-lab/alpaca, garage-bAInd/Open-Platypus).

    Alpaca marks instructions that nobody can follow with the output <nooutput>. LLaMA-Factory's rows may
    have "system", and "history": [[question, answer], ...] of turns before.
    """
    turns, system = instruction(row).messages, optional_text(row, "system")
    if row["output"].strip() == "<nooutput>":
        raise Dropped("the output is <nooutput>")
    first: list[Message] = [{"role": "system", "content": system}] if system else []
    return Conversation([*first, *history(row.get("history")), *turns])


def history(value: Any) -> list[Message]:
    found: list[Message] = []
    if not isinstance(value or [], list):
        raise ValueError(f"`history` must be a list of questions with answers; it is {kind(value)}")
    for number, pair in enumerate(value or [], 1):
        if not isinstance(pair, list) or [type(side) for side in pair] != [str, str]:
            raise ValueError(f"item {number} of `history` must be a question and its answer")
        found += turn(*pair).messages
    return found


alpaca_zh = partial(instruction, suffix="_zh")  # silk-road/alpaca-data-gpt4-chinese
medical = partial(instruction, system=DOCTOR)  # shibing624/medical, subset finetune

input_output = columns("input", "output")  # XTuner's `default`
code_alpaca = columns("prompt", "completion", CODER)  # HuggingFaceH4/CodeAlpaca_20K
tiny_codes = columns("prompt", "response", CODER)  # nampdn-ai/tiny-codes
stack_exchange = columns("question", "response")  # ArmelR/stack-exchange-instruction
crime_kg_assistant = columns("input", "output", LAWYER)  # github LiuHC0428/LAW-GPT, 52k rows
law_reference = columns("question", "answer", LAWYER)  # the same, 92k rows
arxiv = columns("abstract", "title", ARXIV)  # texts as arXiv has them, line breaks and all


def openorca(row: Row) -> Conversation:
    """{"system_prompt", "question", "response"} (Open-Orca/OpenOrca); the system prompt may be empty."""
    if "system_prompt" not in row:
        raise ValueError(
            "`system_prompt` is missing: without it, this is the format stack_exchange"
        )
    return pair(row, "question", "response", optional_text(row, "system_prompt"))


def sql(row: Row) -> Conversation:
    """{"context", "question", "answer"} (b-mc2/sql-create-context): the tables, then the question."""
    question = f"{text(row, 'context')}\n{text(row, 'question')}"
    return turn(question, text(row, "answer"), SQL)


def colors(row: Row) -> Conversation:
    """{"description": "NAME: what it looks like", "color": "#0066ee"} (burkelibbey/colors).

    The name is left out: what stands behind the first colon is the question.
    """
    description = text(row, "description")
    if ":" not in description:
        raise Dropped("the description has no `NAME:` in front")
    return turn(description.split(":", 1)[1].strip(), text(row, "color"), COLORIST)
