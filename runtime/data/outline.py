"""What a chat template writes around the texts of a conversation: found once for each shape of conversation.

Jinja is slow, and for conversations of the same roles most templates write the same around the contents. So
a template is run with stand-ins for the contents, which can be printed, joined and stripped, and note each
question that it asks of them ("is it empty?", "is </think> in it?"). Texts that answer these as the
stand-in did come out as the outline says: the template saw nothing else of them. Where a template looks
deeper, or a text answers otherwise, there is no outline, and Jinja runs. The first texts of each outline, and
every 64th, are compared with what Jinja makes of them.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache, wraps
from itertools import groupby
from typing import Any, ClassVar, NamedTuple

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension

from .bounded import Bounded
from .jinja import REFUSED

TYPICAL = "some text"  # the stand-in answers as this text would
PROOFS, EVERY = 3, 64


class _Looked(Exception):
    """The template looked into a text."""


class _Slot(NamedTuple):
    """Where the text of message `number` goes, after `calls` of str's methods: (name, arguments)."""

    number: int
    calls: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def of(self, contents: Sequence[str]) -> str:
        text = contents[self.number]
        for name, arguments in self.calls:
            text = getattr(text, name)(*arguments)
        return text


START, END = object(), object()  # of what the model learns
PROMPT, NO_PROMPT = (
    object(),
    object(),
)  # where the prompt ends that the next answer has; it has none


class _Text(str):
    """A text whose content is not known yet. `parts`: str, _Slot, START and END; `asked`: the questions."""

    parts: tuple[Any, ...]
    asked: list[tuple[_Slot, Callable[[str], Any], Any]]

    def __new__(cls, parts: Iterable[Any], asked: list) -> "_Text":
        text = super().__new__(cls, "?")
        text.parts, text.asked = tuple(parts), asked
        return text

    def __str__(self) -> str:
        return self

    def __add__(self, other: Any) -> Any:
        return _joined((self, other))

    def __radd__(self, other: Any) -> Any:
        return _joined((other, self))

    def slot(self) -> _Slot:
        if len(self.parts) == 1 and isinstance(self.parts[0], _Slot):
            return self.parts[0]
        raise _Looked


def _refuses(self: _Text, *_: Any, **__: Any) -> Any:
    raise _Looked


def _changes(name: str) -> Callable[..., Any]:
    def change(self: _Text, *arguments: Any) -> _Text:
        slot = self.slot()
        if any(isinstance(argument, _Text) for argument in arguments):
            raise _Looked
        return _Text([slot._replace(calls=(*slot.calls, (name, arguments)))], self.asked)

    return change


@lru_cache(maxsize=1024)
def _question(ask: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[str], Any]:
    """One function for one question: it is asked once of a text."""
    return lambda text: ask(text, *arguments)


def _asks(ask: Callable[..., Any]) -> Callable[..., Any]:
    def question(self: _Text, *arguments: Any) -> Any:
        slot = self.slot()
        if any(isinstance(argument, _Text) for argument in arguments):
            raise _Looked
        answer = ask(slot._replace(number=0).of([TYPICAL]), *arguments)
        self.asked.append((slot, _question(ask, arguments), answer))
        return answer

    return question


QUESTIONS: dict[str, Callable[..., Any]] = {
    "__bool__": bool,
    "__contains__": str.__contains__,
    "__eq__": lambda text, other: text == other,
    "__ne__": lambda text, other: text != other,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
KEPT = {"__new__", "__init__", "__init_subclass__", "__class__", "__doc__", "__str__", "__add__"}
KEPT |= {"__getattribute__", "__setattr__"}
METHODS: dict[str, Callable[..., Any]] = dict.fromkeys(set(dir(str)) - KEPT, _refuses)
METHODS |= {name: _changes(name) for name in ("strip", "lstrip", "rstrip")}
METHODS |= {name: _asks(ask) for name, ask in QUESTIONS.items()}
for _name, _method in METHODS.items():
    setattr(_Text, _name, _method)


def _joined(pieces: Iterable[Any]) -> str:
    """The pieces as one text: `"".join`, for Jinja."""
    texts = [str(piece) for piece in pieces]
    unknown = [text for text in texts if isinstance(text, _Text)]
    if not unknown:
        return "".join(texts)
    parts = (text.parts if isinstance(text, _Text) else (text,) for text in texts)
    return _Text((part for each in parts for part in each), unknown[0].asked)


class _Generation(Extension):
    """{% generation %}, which marks what is learnt."""

    tags: ClassVar[set[str]] = {"generation"}

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller: Callable[[], str]) -> str:
        inside = caller()
        known = not isinstance(inside, _Text)
        parts, asked = ((inside,), []) if known else (inside.parts, inside.asked)
        return _Text((START, *parts, END), asked)


# What these do with a text is print it, change it as above, or ask as above; others may read it.
FILTERS = {
    "trim",
    "length",
    "list",
    "first",
    "last",
    "default",
    "string",
    "selectattr",
    "rejectattr",
}


def _holds_text(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_text, value.values()))
    return isinstance(value, _Text) or (
        isinstance(value, list | tuple) and any(map(_holds_text, value))
    )


def _blind(call: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, kept from texts."""

    @wraps(call)
    def guarded(*arguments: Any, **more: Any) -> Any:
        if _holds_text(arguments) or _holds_text(more):
            raise _Looked
        return call(*arguments, **more)

    return guarded


def _raise(message: str) -> Any:
    raise TemplateError(message)


@lru_cache(maxsize=16)
def _compiled(template: str) -> Any:
    env = Bounded(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    env.filters.update({k: _blind(v) for k, v in env.filters.items() if k not in FILTERS})
    env.globals["raise_exception"] = _raise
    env.concat = _joined
    found = env.from_string(template)
    found.root_render_func.__globals__["str_join"] = _joined  # what `~` calls
    return found


def _merged(parts: Iterable[Any]) -> list[Any]:
    """The parts, with no two texts beside each other."""
    kinds = groupby(parts, key=lambda part: isinstance(part, str))
    joined = [["".join(group)] if literal else list(group) for literal, group in kinds]
    return [part for group in joined for part in group]


def _with_prompt(whole: list[Any], prompt: Iterable[Any]) -> list[Any]:
    """The parts of a conversation, with PROMPT where those of a prompt end; NO_PROMPT if it has others."""
    left = _merged(part for part in prompt if part is not START and part is not END)
    for place, part in enumerate(whole):
        if not left:
            return [*whole[:place], PROMPT, *whole[place:]]
        wanted = left[0]
        if part in (START, END, PROMPT, NO_PROMPT):
            continue
        if part == wanted:
            left.pop(0)
        elif not (isinstance(part, str) and isinstance(wanted, str)):
            break
        elif wanted.startswith(part):
            left[0] = wanted[len(part) :]
        elif part.startswith(wanted) and len(left) == 1:
            split = [wanted, PROMPT, part[len(wanted) :]]
            return [*whole[:place], *split, *whole[place + 1 :]]
        else:
            break
    return [*whole, NO_PROMPT if left else PROMPT]


class _Outline:
    def __init__(self, parts: list[Any], asked: list[Any], borders: bool) -> None:
        self.parts, self.asked, self.borders, self.used = parts, asked, borders, 0

    def fill(self, contents: Sequence[str]) -> Any:
        for slot, ask, answer in self.asked:
            if ask(slot.of(contents)) != answer:
                return None
        pieces, spans, borders, at, start = [], [], [], 0, 0
        for part in self.parts:
            if part.__class__ is str:
                pieces.append(part)
                at += len(part)
            elif part is START:
                start = at
            elif part is END:
                spans.append((start, at))
            elif part is PROMPT:
                borders.append(at)
            elif part is NO_PROMPT:
                borders.append(None)
            else:
                piece = part.of(contents)
                pieces.append(piece)
                at += len(piece)
        text = "".join(pieces)
        return (text, spans, borders) if self.borders else (text, spans)


class Outlines:
    """The outlines of one template; `variables`: what else it sees, as bos_token."""

    def __init__(self, template: str, variables: dict[str, Any]) -> None:
        self.template, self.variables = template, variables
        self.known: dict[tuple[Any, ...], Any] = {}  # shape -> its _Outline, or None

    def render(
        self,
        messages: list[dict[str, Any]],
        tools: Any,
        prompt: bool | None,
        jinja: Callable[[], Any],
    ) -> Any:
        """What `jinja()` returns, (text, stretches that are marked as learnt), mostly without calling it.

        `prompt`: whether the text ends with what begins an answer. None: it does not, and a third value
        says where the prompt of each answer ends; None for one whose prompt is no beginning of the text.
        """
        shape, contents = [prompt], []
        for message in messages:
            if len(message) != 2 or tools:
                return jinja()
            shape.append(message["role"])
            contents.append(message["content"])
        outline = self.known.get(key := tuple(shape), self)
        if outline is self:
            outline = self.known[key] = self._outline(key)
        found = outline.fill(contents) if outline else None
        if outline is None or found is None:
            return jinja()
        if outline.used < PROOFS or not outline.used % EVERY:
            real = jinja()
            if found != real:
                assert outline.used < PROOFS, f"an outline is wrong for {key}"
                self.known[key] = None
                return real
        outline.used += 1
        return found

    def _outline(self, shape: tuple[Any, ...]) -> _Outline | None:
        prompt, *roles = shape
        asked: list[Any] = []
        with suppress(*REFUSED, _Looked):
            parts = self._parts(roles, bool(prompt), asked)
            for number, role in enumerate(roles):
                if prompt is None and role == "assistant":
                    parts = _with_prompt(parts, self._prompt_parts(roles[:number], asked))
            return _Outline(parts, list(dict.fromkeys(asked)), prompt is None)
        return None

    def _parts(self, roles: Sequence[str], prompt: bool, asked: list[Any]) -> list[Any]:
        messages = [
            {"role": role, "content": _Text([_Slot(number)], asked)}
            for number, role in enumerate(roles)
        ]
        given = {"messages": messages, "tools": None, "documents": None, **self.variables}
        template = _compiled(self.template)
        context = template.new_context({**given, "add_generation_prompt": prompt})
        text = _joined(template.root_render_func(context))
        return _merged(text.parts if isinstance(text, _Text) else (text,))

    def _prompt_parts(self, roles: Sequence[str], asked: list[Any]) -> list[Any]:
        """Of a prompt that the template refuses: what no text begins with."""
        try:
            return self._parts(roles, True, asked)
        except REFUSED:
            return [object()]


@lru_cache(maxsize=16)
def outlines(template: str, variables: tuple[tuple[str, Any], ...]) -> Outlines:
    return Outlines(template, dict(variables))
