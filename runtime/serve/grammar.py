"""Answers in JSON: llguidance, where it is installed, leaves only tokens that go on as a schema wants it."""

import json
from typing import Any

from .errors import ApiError


class Grammars:
    """Makes grammars of JSON Schemas and what follows one token by token."""

    def __init__(self, tokenizer: Any, vocabulary: int, stops: list[int]) -> None:
        self.tokenizer, self.vocabulary, self.stops = tokenizer, vocabulary, stops
        self.known: Any = None

    def of(self, schema: dict[str, Any], param: str) -> str:
        """The grammar of a JSON Schema. Raises ApiError for one that llguidance can't follow."""
        matcher, tokenizer = self._library(param)
        try:
            grammar = matcher.grammar_from_json_schema(json.dumps(schema))
            wrong = matcher.validate_grammar(grammar, tokenizer)
        except ValueError as error:
            wrong = str(error)
        if wrong:
            raise ApiError(400, f"{param}: {wrong[:500]}", param, "invalid_value")
        return grammar

    def matcher(self, grammar: str) -> Any:
        """What follows the grammar, from its beginning."""
        matcher, tokenizer = self._library("response_format")
        return matcher(tokenizer, grammar, log_level=0)

    def _library(self, param: str) -> tuple[Any, Any]:
        try:
            from llguidance import LLMatcher, hf
        except ImportError:
            message = f"{param}: JSON needs the package llguidance beside the server: pip install llguidance"
            raise ApiError(400, message, param, "unsupported_parameter") from None
        if self.known is None:
            self.known = hf.from_tokenizer(self.tokenizer, self.vocabulary, self.stops)
        return LLMatcher, self.known
