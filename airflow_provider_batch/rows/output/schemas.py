"""Walks through a JSON Schema, and reads the API's own spelling of one as JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Schema = dict[str, Any]
"""A JSON Schema, or one inside another. What a keyword holds is looked at where it is read."""


def resolved(root: Schema, reference: str) -> Schema | bool | None:
    """What a reference such as ``#/$defs/Item`` names inside the schema, None if nothing."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    target: object = root
    for step in reference[2:].split("/") if len(reference) > 1 else []:
        name = step.replace("~1", "/").replace("~0", "~")
        target = target.get(name) if isinstance(target, dict) else None
    return target if isinstance(target, dict | bool) else None


_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLES = (
    "items",
    "additionalProperties",
    "additionalItems",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
)


def nodes_of(schema: object) -> Iterator[Schema]:
    """Every schema in a schema, itself included. Examples and defaults are none."""
    if not isinstance(schema, dict):
        return
    yield schema
    for name in _MAPS:
        for part in schema.get(name, {}).values():
            yield from nodes_of(part)
    for name in (*_LISTS, *_SINGLES):
        part = schema.get(name)
        for one in part if isinstance(part, list) else [part]:
            yield from nodes_of(one)


_TYPES = frozenset({"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"})
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")


def usual(schema: Schema) -> Schema:
    """A schema in the API's spelling as JSON Schema has it: small letters, and counts that are no text."""

    def change(node: Schema) -> Schema:
        if isinstance(node.get("type"), str) and node["type"] in _TYPES:
            node["type"] = node["type"].lower()
        for name in _COUNTS:
            if isinstance(node.get(name), str) and node[name].isdecimal() and len(node[name]) < 20:
                node[name] = int(node[name])
        return node

    made: Schema = _changed(schema, change)
    return made


def with_null(schema: Schema) -> Schema:
    """The same schema, with OpenAPI's ``nullable`` said as JSON Schema says it."""

    def change(node: Schema) -> Schema:
        if node.pop("nullable", False) is not True:
            return node
        kinds = node.get("type")
        if isinstance(kinds, str) and not {"const", "anyOf", "oneOf", "allOf", "$ref"} & node.keys():
            node["type"] = [kinds, "null"]
            if "enum" in node:
                node["enum"] = [*node["enum"], None]
            return node
        return {"anyOf": [node, {"type": "null"}]}

    made: Schema = _changed(schema, change)
    return made


def _changed(schema: object, change: Callable[[Schema], Schema]) -> Any:
    """A copy of a schema, with each schema in it changed."""
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for name in _MAPS:
        if isinstance(made.get(name), dict):
            made[name] = {key: _changed(one, change) for key, one in made[name].items()}
    for name in (*_LISTS, *_SINGLES):
        part = made.get(name)
        if isinstance(part, list):
            made[name] = [_changed(one, change) for one in part]
        elif isinstance(part, dict):
            made[name] = _changed(part, change)
    return change(made)
