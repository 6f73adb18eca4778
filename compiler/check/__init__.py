"""The stage that judges a document: pydantic's errors in the language's words, suggestions, broken specs."""
