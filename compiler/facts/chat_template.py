"""The chat template that a spec means: the model's own, one that ftc ships, or a file."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes

from ..catalog.presets import ModelPreset, chat_templates, shipped_templates
from ..diagnostics.diagnostic import Diagnostic
from ..diagnostics.guess import guess
from ..diagnostics.tree import is_array, is_table
from ..document.at import at
from ..document.load import Document
from ..spec.spec import Spec
from .chat_clock import MARKS, parse
from .near_templates import near_template

LARGEST = 1_000_000  # bytes of a chat template
UNFIT = "the chat template nests more deeply, or has a larger number, than Jinja takes"
OWN = {"auto", "base", "default", "own", "tokenizer"}  # other words for "model"
BASE, TEMPLATE = ("model", "base"), ("model", "chat_template")


class Unknown(Exception):
    """Something that the spec names can't be used; carries the diagnostic."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic


def chat_template(
    spec: Spec, document: Document, preset: ModelPreset | None, folder: Path | None
) -> tuple[str, str]:
    """The chat template's name and text. `folder`: of a local model. Raises Unknown."""
    wanted, shipped = spec.model.chat_template, chat_templates()
    if wanted == "model" and preset and preset.chat_template:
        wanted = preset.chat_template
    elif wanted == "model":
        own = _own_template(folder, document) if folder else None
        if own is not None:
            return "model", own
        raise Unknown(_no_template(spec.model.base, document))
    if wanted in shipped:
        return wanted, shipped[wanted].read_text("utf-8")
    file = Path(document.path).parent / wanted
    with suppress(OSError):  # a name that is too long
        if file.is_file():
            return wanted, _read(file, document)
    raise Unknown(
        at(
            document,
            TEMPLATE,
            "unknown-chat-template",
            f'ftc ships no chat template "{wanted}", and there is no such file',
            on="value",
            hints=_like(wanted, spec.model.base, preset)
            or ["name one that ftc ships, or a .jinja file", *shipped_templates()],
        )
    )


def _like(wanted: str, base: str, preset: ModelPreset | None) -> list[str]:
    """Hints at the templates that a name may mean: the base's own, XTuner's name of it, another spelling."""
    if wanted in OWN or wanted.startswith("tokenizer_default"):  # as Axolotl has it
        return ['write "model", the default: the template of the base itself']
    near = preset.chat_template if preset else None
    if near is None and (found := near_template(base)):
        near = found.template
    if near and near.startswith(wanted):  # a family's name, as LLaMA-Factory has it
        return [f'that of {base} is "{near}"']
    if f"xtuner/{wanted}" in chat_templates():
        return [f'XTuner\'s template of this name is "xtuner/{wanted}"']
    return guess(wanted, chat_templates())


def _no_template(base: str, document: Document) -> Diagnostic:
    set_here = document.key(TEMPLATE) is not None
    near = near_template(base)
    likely = [f'set model.chat_template = "{near.template}", {near.why}'] if near else []
    return at(
        document,
        TEMPLATE if set_here else BASE,
        "no-chat-template",
        f"ftc does not know the chat template of {base}",
        on="value",
        why="the run carries it: training, chat and server all use the same",
        hints=[
            *likely,
            f"{'or ' if near else ''}set model.chat_template to one that ftc ships, or to the path of a .jinja file",
            *shipped_templates(),
        ],
    )


def _own_template(folder: Path, document: Document) -> str | None:
    """The chat template in a model folder, as transformers finds it: chat_template.jinja, with those of
    additional_chat_templates/, or in tokenizer_config.json, by itself or in a list of several by name."""
    if (folder / "chat_template.jinja").is_file():
        more = folder / "additional_chat_templates" / "tool_use.jinja"
        text = _read(folder / "chat_template.jinja", document)
        return _with_tools(text, _read(more, document)) if more.is_file() else text
    with suppress(OSError, ValueError, RecursionError):
        config: Any = json.loads((folder / "tokenizer_config.json").read_bytes())
        found = config.get("chat_template") if is_table(config) else None
        if not is_array(found):
            return _of_settings(found, folder, document) if isinstance(found, str) else None
        named = {item.get("name"): item.get("template") for item in filter(is_table, found)}
        texts = {name: text for name, text in named.items() if isinstance(text, str)}
        if "default" in texts:
            tools = texts.get("tool_use")
            text = texts["default"]
            text = text if tools is None else _with_tools(text, tools)
            return _of_settings(text, folder, document)
        if texts:
            raise Unknown(_unnamed(folder, [str(name) for name in texts], document))
    return None


def _with_tools(default: str, tools: str) -> str:
    """One template that chooses as transformers does: `tool_use` where there are tools."""
    if default == tools:
        return default
    default, tools = (text.removesuffix("\n") for text in (default, tools))
    return f"{{% if tools is defined and tools is not none +%}}{tools}{{%+ else +%}}{default}{{%+ endif %}}"


def _unnamed(folder: Path, names: list[str], document: Document) -> Diagnostic:
    """Several templates, and none that is taken unless another is asked for."""
    return at(
        document,
        TEMPLATE if document.key(TEMPLATE) is not None else BASE,
        "no-chat-template",
        f"{folder / 'tokenizer_config.json'} has several chat templates ({', '.join(names)}), and none "
        "is called `default`",
        on="value",
        hints=[
            "copy the one that you mean into a .jinja file, and name that in model.chat_template"
        ],
    )


class _Refused(Exception):
    """A template called `raise_exception`."""


def refusal(template: str, system: str) -> str | None:
    """What a template that ftc ships says against a system message before a question; None if it takes it."""

    def refuse(message: str) -> None:
        raise _Refused(message)

    env = Environment(extensions=["jinja2.ext.loopcontrols"], trim_blocks=True, lstrip_blocks=True)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": "Hi"}]
    known = {"messages": messages, "bos_token": "", "eos_token": "", "add_generation_prompt": True}
    try:
        env.from_string(MARKS.sub("", template)).render(
            **known, raise_exception=refuse, strftime_now=str
        )
    except _Refused as error:
        return str(error)
    return None


def _check(text: str) -> None:
    """Raises TemplateSyntaxError, RecursionError or ValueError for what Jinja can't take."""
    for _ in parse(text).find_all(nodes.Name):
        pass  # so far down the tree as other readers of it go


def _of_settings(text: str, folder: Path, document: Document) -> str:
    """A chat template in tokenizer_config.json, which must be Jinja."""
    message = f"the chat template has more than {LARGEST:,} bytes"
    try:
        if len(text) <= LARGEST:
            _check(text)
            return text
    except TemplateSyntaxError as error:
        message = f"the chat template is not Jinja: {error.message} (line {error.lineno})"
    except (RecursionError, ValueError):
        message = UNFIT
    message = f"{folder / 'tokenizer_config.json'}: {message}"
    hints = ["use one that ftc ships: set model.chat_template", *shipped_templates()]
    raise Unknown(at(document, BASE, "bad-chat-template", message, on="value", hints=hints))


def _read(file: Path, document: Document) -> str:
    """The text of a chat template, which must be Jinja."""
    line, message, text = 1, "the chat template is not UTF-8", ""
    hints = ["save the file as UTF-8"]
    mend = ["mend it, or use one that ftc ships", *shipped_templates()]
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
        if len(content) <= LARGEST:
            text = content.decode().replace("\r\n", "\n").replace("\r", "\n")
            _check(text)
            return text
        message, hints = f"the chat template has more than {LARGEST:,} bytes", mend
    except UnicodeDecodeError:
        pass
    except OSError as error:
        message, hints = f"the chat template can't be read: {error.strerror}", []
    except TemplateSyntaxError as error:
        line, message = error.lineno, f"the chat template is not Jinja: {error.message}"
        hints = mend
    except (RecursionError, ValueError):
        message, hints = UNFIT, mend
    lines = text.splitlines()
    source = lines[line - 1] if line <= len(lines) else None
    named = document.locate(TEMPLATE)
    where = f"{document.where(named)} names this file"
    end = len(source) + 1 if source else 2
    raise Unknown(
        Diagnostic(
            "bad-chat-template",
            message,
            str(file),
            line,
            1,
            end,
            source=source,
            notes=(where,),
            hints=tuple(hints),
        )
    )
