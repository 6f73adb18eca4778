"""The spec language as JSON Schema (draft 7), for the completion and the checks of editors.

pydantic makes it from the models of `spec.py`; here it is brought into the form that the TOML
editors taplo and tombi read best: no references (draft 7 ignores what stands beside a `$ref`), no
null (TOML has none), patterns that every dialect of regular expressions knows, and our own words
about a key (`x-unit`, `x-changes`) in its description as well, which editors show.

It knows one key at a time: what keys mean together, and whether a file exists, is for `ftc check`.
"""

from __future__ import annotations

from typing import Any

from ..diagnostics.tree import is_array, is_table
from ..document.write_toml import toml
from .describe import CHANGES, CONSEQUENCES
from .keys import LINE, RUN, ResumeClass
from .spec import Spec

DRAFT = "http://json-schema.org/draft-07/schema#"
# These name Unicode's categories, which not every dialect knows; what stands here asks for a little less.
SIGNS = "\\u003a-\\u0040\\u005b-\\u005e\\u0060\\u007b-\\u00a9\\u2000-\\u206f\\ufeff"
PORTABLE = {
    LINE: "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]+$",
    RUN: f"^[^\\u0000-\\u002f\\u005f{SIGNS}][^\\u0000-\\u002c\\u002f{SIGNS}]*$",
}


def schema() -> dict[str, Any]:
    """The JSON Schema of a spec."""
    made = Spec.model_json_schema()
    body = _tidy(made, made["$defs"])
    return {
        "$schema": DRAFT,
        "title": "ftc spec",
        "x-tombi-toml-version": "v1.0.0",
        "x-tombi-table-keys-order": "schema",
        **{key: value for key, value in body.items() if key not in ("$defs", "title")},
    }


def _tidy(node: Any, definitions: dict[str, Any], bound: ResumeClass = "new run") -> Any:
    """A part of the schema in our form, with everything that it refers to put in its place.

    `bound`: the greatest consequence that a change in it may have (see `language.changes`).
    """
    if is_array(node):
        return [_tidy(item, definitions, bound) for item in node]
    if not is_table(node):
        return node
    node = _without_null(dict(node))
    if "$ref" in node:  # what stands beside it comes first
        named = definitions[node.pop("$ref").rpartition("/")[2]]
        node = {**named, **node}
    node.pop("title", None)
    node.pop("discriminator", None)  # of OpenAPI; each member's constant `kind` says the same
    if "changes" in node:
        bound = next(c for c in CONSEQUENCES if c in (bound, node["changes"]))
        node["changes"] = bound
    if "properties" in node:
        keys = node["properties"]
        node["properties"] = {name: _key(_tidy(keys[name], definitions, bound)) for name in keys}
    rest = {k: v if k == "properties" else _tidy(v, definitions, bound) for k, v in node.items()}
    return _portable(rest)


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    """`X | None = None` is X: a key without a value is not written."""
    members = [member for member in node.get("anyOf", ()) if member != {"type": "null"}]
    if "anyOf" in node:
        node.pop("anyOf")
        node = {**node, **members[0]} if len(members) == 1 else {**node, "anyOf": members}
    if node.get("default", ...) is None:
        node.pop("default")
    return node


def _portable(node: dict[str, Any]) -> dict[str, Any]:
    if "pattern" in node:
        node["pattern"] = PORTABLE.get(node["pattern"], node["pattern"])
    if "prefixItems" in node:  # a list of so many items of one kind
        node["items"] = node.pop("prefixItems")[0]
    return node


def _key(node: dict[str, Any]) -> dict[str, Any]:
    """A key with its own words under `x-`, and what they say at the end of its description."""
    node.pop("affects", None)
    words = {name: node.pop(name) for name in ("unit", "changes") if name in node}
    if not words:  # a table
        return node
    remarks = [f"In {words['unit']}."] if words["unit"] else []
    remarks += [f"Default: {toml(node['default'])}."] if "default" in node else []
    remarks += [CHANGES[words["changes"]]]
    node["description"] = f"{node['description']}\n\n{' '.join(remarks)}"
    return {**node, **{f"x-{name}": word for name, word in words.items() if word}}
