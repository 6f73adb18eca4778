"""Document -> Spec, or every problem that it has.

pydantic checks tables, keys and types, `rules` what keys mean together. A document with
structural problems is judged by the rules as well: what was refused is left out, and a rule that
asks for it says nothing. So one run shows all. Nothing here fills in or changes a value of a spec
that is handed on.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from pydantic import ValidationError

from ..diagnostics.diagnostic import CompileError, Diagnostic, sort
from ..document.load import Document
from ..facts.checked import Checked
from ..facts.gather import gather
from ..rules.rules import RULES
from ..spec.keys import Refused
from ..spec.spec import Spec


def validate(document: Document, but: Collection[str] = ()) -> Checked:
    """The spec of the document and its facts. Raises CompileError with every diagnostic.

    `but`: codes of errors that are none here.
    """
    if not document.data:
        raise CompileError([_empty(document)])
    found: list[Diagnostic] = []
    try:
        spec = Spec.model_validate(document.data)
    except ValidationError:
        from .partial import judge  # the words for what is wrong take a while to load

        spec, found, document = judge(document)
    facts = gather(spec, document)
    found += facts.problems
    for rule in RULES:
        with suppress(Refused):  # raised only in a spec of which something was refused
            for diagnostic in rule(spec, facts, document):
                found.append(diagnostic)  # what came before a Refused stays
    found = [diagnostic for diagnostic in found if diagnostic.code not in but]
    if any(diagnostic.severity == "error" for diagnostic in found):
        raise CompileError(found)
    return Checked(spec, facts, sort(found))


def _empty(document: Document) -> Diagnostic:
    return Diagnostic(
        "empty-spec",
        "there is nothing in this spec",
        document.path,
        notes=("a run needs a name and the tables [model], [method], [data] and [hardware]",),
        hints=("`ftc new` writes a first spec",),
    )
