"""JSON Schema to the API's ``Schema``, the part of OpenAPI 3.0 that ``responseSchema`` takes.

Three kinds of words in a schema:

- Structure that the API can express is converted; references are written out.
- Structure that it cannot express (recursion, free-form maps, tuples, anything goes) is refused, with its
  place.
- Limits that it has no word for (``exclusiveMinimum``, ``multipleOf``, ``uniqueItems``, most formats, patterns
  that look around, values of a numeric enum) are not sent. Every answer is checked against the whole schema.

Titles, defaults and examples are not sent either: the schema is repeated in every row.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.structured import CODE, resolved

_FORMATS = {
    "STRING": {"date-time"},
    "NUMBER": {"float", "double"},
    "INTEGER": {"int32", "int64"},
}

_LIMITS: dict[str, tuple[str, ...]] = {
    "STRING": ("minLength", "maxLength"),
    "NUMBER": ("minimum", "maximum"),
    "INTEGER": ("minimum", "maximum"),
    "ARRAY": ("minItems", "maxItems"),
    "OBJECT": ("minProperties", "maxProperties"),
}

_NO_WORD = {
    "prefixItems": "is a tuple; write an object with a field for each part",
    "patternProperties": "has patternProperties; write a list of objects with a name and a value",
    "not": 'has "not"; write what is allowed',
    "if": 'has "if"; write the cases as a union',
    "dependentSchemas": "has dependentSchemas; write the cases as a union",
    "$dynamicRef": "has $dynamicRef; write the type out",
}

_NOTES = frozenset(
    {"title", "description", "default", "examples", "example", "deprecated", "$comment", "readOnly"}
)
"""Keywords that say nothing about the value."""

_LOOKS_AROUND = re.compile(r"\(\?<?[=!]|\\[1-9]|\(\?P=")
"""RE2, the usual engine of Google's services, has no such patterns."""

_Schema = dict[str, Any]


def response_schema(json_schema: dict[str, Any]) -> dict[str, Any]:
    """Convert a JSON Schema, as of :attr:`OutputType.json_schema`.

    :raises ConfigError: The API cannot express it; names the place.
    """
    return _Conversion(json_schema).convert(json_schema, str(json_schema.get("title") or "schema"), frozenset())


class _Conversion:
    """One schema on its way.

    Places read like ``Label.items[].tags``. ``above`` are the references that led to a place.
    """

    def __init__(self, root: _Schema) -> None:
        self._root = root

    def convert(self, node: Any, place: str, above: frozenset[str]) -> _Schema:
        """Convert the schema at a place."""
        node, above = self._written_out(node, place, above)
        for word, why in _NO_WORD.items():
            if word in node:
                raise _refused(place, why)
        if "anyOf" in node or "oneOf" in node:
            made = self._union(node, place, above)
        elif "enum" in node or "const" in node:
            made = _enum(node, place)
        else:
            made = self._typed(node, place, above)
        if node.get("description"):
            # What was noted about the enum comes after the user's words.
            note = made.get("description", "")
            made["description"] = f"{node['description']} {note}".strip()
        return made

    def _written_out(self, node: Any, place: str, above: frozenset[str]) -> tuple[_Schema, frozenset[str]]:
        """The schema with its references and single allOf merged."""
        while isinstance(node, dict) and ("$ref" in node or "allOf" in node):
            rest = {name: value for name, value in node.items() if name not in ("$ref", "allOf")}
            if "$ref" in node and "allOf" in node:
                raise _refused(place, "has $ref and allOf; write one type")
            if "$ref" in node:
                reference = node["$ref"]
                if reference in above or reference == "#":
                    raise _refused(place, "is recursive; write as many levels as you need as types of their own")
                above = above | {reference}
                part = resolved(self._root, reference)
            else:
                if len(node["allOf"]) != 1:
                    raise _refused(place, "has several allOf; write one type with all fields")
                part = node["allOf"][0]
            node = _merged(part, rest, place)
        if not isinstance(node, dict):
            raise _refused(place, "says nothing about the value; give it a type")
        return node, above

    def _union(self, node: _Schema, place: str, above: frozenset[str]) -> _Schema:
        if "anyOf" in node and "oneOf" in node:
            raise _refused(place, "has anyOf and oneOf; write one union")
        beside = {"properties", "items", "enum", "const"} & node.keys()
        if beside:
            raise _refused(place, f"has {min(beside)} beside a union; put it into each case")
        shared = {} if "type" not in node else {"type": node["type"]}
        branches = [self._written_out(one, place, above) for one in node.get("anyOf") or node["oneOf"]]
        return self._any_of([({**shared, **one}, known) for one, known in branches], place)

    def _any_of(self, branches: list[tuple[_Schema, frozenset[str]]], place: str) -> _Schema:
        real = [pair for pair in branches if pair[0].get("type") != "null"]
        if not real:
            return {"type": "NULL"}
        if len(real) == 1:
            made = self.convert(real[0][0], place, real[0][1])
        else:
            cases = [
                self.convert(one, f"{place}<{one.get('title') or number}>", known)
                for number, (one, known) in enumerate(real, 1)
            ]
            made = {"anyOf": cases}
        return made if len(real) == len(branches) else {**made, "nullable": True}

    def _typed(self, node: _Schema, place: str, above: frozenset[str]) -> _Schema:
        kind = _type_of(node)
        if isinstance(kind, list):
            return self._any_of([({**node, "type": one, "description": ""}, above) for one in kind], place)
        if kind == "null":
            return {"type": "NULL"}
        if kind is None:
            raise _refused(place, "says nothing about the value; give it a type")
        made: _Schema = {"type": kind.upper()}
        if node.get("format") in _FORMATS.get(made["type"], ()):
            made["format"] = node["format"]
        if kind == "array":
            made |= self._items(node, place, above)
        elif kind == "object":
            made |= self._properties(node, place, above)
        elif kind == "string" and "pattern" in node and not _LOOKS_AROUND.search(node["pattern"]):
            made["pattern"] = node["pattern"]
        return made | {name: node[name] for name in _LIMITS.get(made["type"], ()) if name in node}

    def _items(self, node: _Schema, place: str, above: frozenset[str]) -> _Schema:
        items = node.get("items")
        if isinstance(items, list):
            raise _refused(place, _NO_WORD["prefixItems"])
        return {"items": self.convert(items, f"{place}[]", above)}

    def _properties(self, node: _Schema, place: str, above: frozenset[str]) -> _Schema:
        properties = node.get("properties")
        if not properties:
            what = "is a map with free keys" if node.get("additionalProperties", True) else "has no fields"
            raise _refused(place, f"{what}; write an object with named fields, or a list of key and value")
        if unknown := [name for name in node.get("required", ()) if name not in properties]:
            raise _refused(f"{place}.{unknown[0]}", "is required and not described; add it to the properties")
        made: _Schema = {
            "properties": {name: self.convert(one, f"{place}.{name}", above) for name, one in properties.items()}
        }
        if node.get("required"):
            made["required"] = node["required"]
        return made | {"propertyOrdering": list(properties)}


def _type_of(node: _Schema) -> str | list[str] | None:
    kind = node.get("type")
    if kind is None:
        guess = "object" if "properties" in node else "array" if "items" in node else None
        return guess
    if isinstance(kind, list) and len(kind) == 1:
        return str(kind[0])
    return kind  # type: ignore[no-any-return]


def _merged(part: Any, rest: _Schema, place: str) -> Any:
    """A schema and what is written beside the reference to it."""
    if not isinstance(part, dict):
        return part
    if clash := [n for n in rest if n in part and n not in _NOTES and part[n] != rest[n] and n[:1] != "$"]:
        raise _refused(place, f"has {clash[0]} here and in the type that it refers to; write one type")
    return {**part, **rest}


def _enum(node: _Schema, place: str) -> _Schema:
    """The API's enums are of strings. Of others the type is sent, and the values as words in the description."""
    values = [node["const"]] if "const" in node else node["enum"]
    real = [value for value in values if value is not None]
    if not real:
        return {"type": "NULL"}
    kinds = {_json_type(value) for value in real}
    if kinds == {"INTEGER", "NUMBER"}:
        kinds = {"NUMBER"}
    if len(kinds) > 1 or not kinds <= {"STRING", "INTEGER", "NUMBER", "BOOLEAN"}:
        raise _refused(place, "has an enum of several types, or of objects; write the values as strings")
    made: _Schema = {"type": kinds.pop()}
    if made["type"] == "STRING" and all(real):
        made |= {"format": "enum", "enum": real}
    else:
        made["description"] = f"One of: {', '.join(msgspec.json.encode(value).decode() for value in real)}."
    return made if len(real) == len(values) else {**made, "nullable": True}


def _json_type(value: Any) -> str:
    names = {str: "STRING", bool: "BOOLEAN", int: "INTEGER", float: "NUMBER"}
    return names.get(type(value), "OBJECT")


def _refused(place: str, why: str) -> ConfigError:
    what, _, instead = why.partition("; ")
    return ConfigError(
        f"output_type cannot be sent as a response schema: {place} {what}.",
        code=CODE,
        remedy=f"Nothing was sent or cancelled. {instead[:1].upper()}{instead[1:]}.",
    )


_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_OWN = ("responseSchema", "responseJsonSchema", "response_schema", "response_json_schema", "_responseJsonSchema")
_JSON = msgspec.Raw(b'"application/json"')


def ensure_only_schema(params: Mapping[str, Any]) -> None:
    """Make sure that the fields of every row have no schema beside an output type: answers cannot be of two.

    :raises ConfigError: They have one.
    """
    config = params.get("generationConfig", params.get("generation_config"))
    own = [name for name in _OWN if isinstance(config, Mapping) and config.get(name) is not None]
    if own:
        raise ConfigError(
            f"output_type and the {own[0]} of every row's generationConfig exclude each other: the API would be "
            "asked for the one, and each answer checked for the other.",
            code=CODE,
            remedy="Nothing was sent or cancelled. Leave one of them out.",
        )


def asking_for(json_schema: dict[str, Any]) -> Callable[[bytes], bytes]:
    """What makes a checked request line ask for answers of a JSON Schema.

    :raises ConfigError: The API cannot express it; names the place.
    """
    return functools.partial(with_output, schema=msgspec.Raw(_encode(response_schema(json_schema))))


def with_output(line: bytes, schema: msgspec.Raw) -> bytes:
    """A checked request line that asks for answers of a schema. One that has a schema of its own stays as it is.

    :param schema: What :func:`response_schema` gave, as JSON.
    :raises BadRowError: ``generationConfig`` is not an object.
    """
    fields = _fields_of(line)
    request = _fields_of(fields["request"])
    name = "generation_config" if "generation_config" in request else "generationConfig"
    config = _config(request.get(name), fields)
    if any(own in config for own in _OWN):
        return line
    config.pop("response_mime_type", None)
    config |= {"responseMimeType": _JSON, "responseSchema": schema}
    request[name] = msgspec.Raw(_encode(config))
    fields["request"] = msgspec.Raw(_encode(request))
    return _encode(fields)


def _config(raw: msgspec.Raw | None, fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    if raw is None or bytes(raw) == b"null":
        return {}
    try:
        return _fields_of(raw)
    except msgspec.ValidationError:
        key = msgspec.json.decode(fields["key"], type=str)
        raise BadRowError("AGB-I15", "request.generationConfig must be an object", key) from None
