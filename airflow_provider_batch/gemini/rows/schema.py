"""JSON Schema to the API's ``Schema``, the part of OpenAPI 3.0 that ``responseSchema`` takes.

Each keyword is one of these (``docs/schemas.md`` has all of them):

- Sent as it is, or converted: structure that the API can express, and limits that it has a word for. References
  are written out.
- Put into the description as it stands: limits that the API has no word for. Examples are ``multipleOf``,
  ``uniqueItems``, most formats, and patterns that look around. The model reads them, and every answer is checked
  against the whole schema.
- Not sent: a note that says nothing about the value, such as ``$comment``. The schema is repeated in every row.
- Refused by name, with its place: structure that the API cannot express, and what is no keyword at all. Examples
  are recursion, free-form maps, tuples and schemas that allow anything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.output.schemas import Schema, resolved
from airflow_provider_batch.rows.output.type import CODE

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

_IN_WORDS = frozenset(
    {
        *(
            "minLength",
            "maxLength",
            "pattern",
            "format",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
        ),
        *("multipleOf", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"),
        *("minProperties", "maxProperties", "propertyNames", "dependentRequired", "dependencies"),
        *("contentEncoding", "contentMediaType", "contentSchema", "examples"),
    }
)
"""What goes into the description where the API has no word for it."""

_NO_WORD = {
    "prefixItems": "is a tuple; write an object with a field for each part",
    "patternProperties": "has patternProperties; write a list of objects with a name and a value",
    "not": 'has "not"; write what is allowed',
    "if": 'has "if"; write the cases as a union',
    "dependentSchemas": "has dependentSchemas; write the cases as a union",
    "$dynamicRef": "has $dynamicRef; write the type out",
    "$recursiveRef": "has $recursiveRef; write the type out",
}

_NOTES = frozenset(
    {
        *("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"),
        *("$comment", "$schema", "$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary"),
        *("$defs", "definitions", "discriminator", "xml", "externalDocs", "then", "else"),
    }
)
"""Keywords that say nothing about the value. ``then`` and ``else`` do so only beside ``if``."""

_OPEN = ("additionalProperties", "unevaluatedProperties", "additionalItems", "unevaluatedItems")
"""What an object or a list may have besides. The API's objects and lists have nothing."""

_STRUCTURE = {"OBJECT": ("properties", "required", "propertyOrdering"), "ARRAY": ("items",)}
_ANYWHERE = ("type", "nullable", "enum", "const", "anyOf", "oneOf", *_OPEN)

_LOOKS_AROUND = re.compile(r"\(\?<?[=!]|\\[1-9]|\(\?P=")
"""RE2, the usual engine of Google's services, does not have these patterns."""


def response_schema(json_schema: Schema) -> Schema:
    """Convert a JSON Schema, as of :attr:`OutputType.json_schema`.

    :raises ConfigError: The API cannot express it. Names the place.
    """
    return _Conversion(json_schema).convert(json_schema, str(json_schema.get("title") or "schema"), frozenset())


class _Conversion:
    """One schema on its way.

    Places read like ``Label.items[].tags``. ``above`` are the references that led to a place.
    """

    def __init__(self, root: Schema) -> None:
        self._root = root

    def convert(self, node: Any, path: str, above: frozenset[str]) -> Schema:
        """Convert the schema at a place."""
        node, above = self._written_out(node, path, above)
        _ensure_known(node, path)
        if "anyOf" in node or "oneOf" in node:
            made = self._union(node, path, above)
        elif "enum" in node or "const" in node:
            made = _enum(node, path)
        else:
            made = self._typed(node, path, above)
        if node.get("nullable") is True:
            made["nullable"] = True
        made |= {name: node[name] for name in ("title", "example") if name in node}
        # What was noted about the enum comes after the user's words.
        # Of several types in one word, each says its own limits.
        words = "" if isinstance(_type_of(node), list) and "anyOf" in made else _in_words(node, made, path)
        notes = [node.get("description"), made.get("description"), words]
        if any(notes):
            made["description"] = " ".join(note for note in notes if note)
        return made

    def _written_out(self, node: Any, path: str, above: frozenset[str]) -> tuple[Schema, frozenset[str]]:
        """The schema with its references and single allOf merged."""
        while isinstance(node, dict) and ("$ref" in node or "allOf" in node):
            rest = {name: value for name, value in node.items() if name not in ("$ref", "allOf")}
            if "$ref" in node and "allOf" in node:
                raise _refused(path, "has $ref and allOf; write one type")
            if "$ref" in node:
                reference = node["$ref"]
                if reference in above or reference == "#":
                    raise _refused(path, "is recursive; write as many levels as you need as types of their own")
                above = above | {reference}
                part = resolved(self._root, reference)
                if isinstance(part, dict) and part.get("title") == reference.rpartition("/")[2]:
                    # The name of a class is no title that a person wrote.
                    part = {name: value for name, value in part.items() if name != "title"}
            else:
                if len(node["allOf"]) != 1:
                    raise _refused(path, "has several allOf; write one type with all fields")
                part = node["allOf"][0]
            node = _merged(part, rest, path)
        if not isinstance(node, dict):
            raise _refused(path, "says nothing about the value; give it a type")
        return node, above

    def _union(self, node: Schema, path: str, above: frozenset[str]) -> Schema:
        if "anyOf" in node and "oneOf" in node:
            raise _refused(path, "has anyOf and oneOf; write one union")
        beside = {"properties", "required", "propertyOrdering", "items", "enum", "const"} & node.keys()
        if beside:
            raise _refused(path, f"has {min(beside)} beside a union; put it into each case")
        shared = {} if "type" not in node else {"type": node["type"]}
        branches = [self._written_out(one, path, above) for one in node.get("anyOf") or node["oneOf"]]
        return self._any_of([({**shared, **one}, known) for one, known in branches], path)

    def _any_of(self, branches: list[tuple[Schema, frozenset[str]]], path: str) -> Schema:
        real = [pair for pair in branches if pair[0].get("type") != "null"]
        if not real:
            return {"type": "NULL"}
        if len(real) == 1:
            made = self.convert(real[0][0], path, real[0][1])
        else:
            cases = [
                self.convert(one, f"{path}<{one.get('title') or number}>", known)
                for number, (one, known) in enumerate(real, 1)
            ]
            made = {"anyOf": cases}
        return made if len(real) == len(branches) else {**made, "nullable": True}

    def _typed(self, node: Schema, path: str, above: frozenset[str]) -> Schema:
        kind = _type_of(node)
        if isinstance(kind, list):
            # What is said of all kinds is said once, of the union.
            once = {*_NOTES, "nullable", "type"}
            shared = {name: value for name, value in node.items() if name not in once}
            return self._any_of([({**_apt(shared, one, kind), "type": one}, above) for one in kind], path)
        if kind == "null":
            return {"type": "NULL"}
        if kind is None:
            raise _refused(path, "says nothing about the value; give it a type")
        made: Schema = {"type": kind.upper()}
        if node.get("format") in _FORMATS.get(made["type"], ()):
            made["format"] = node["format"]
        if kind == "array":
            made |= self._items(node, path, above)
        elif kind == "object":
            made |= self._properties(node, path, above)
        elif kind == "string" and "pattern" in node and not _LOOKS_AROUND.search(node["pattern"]):
            made["pattern"] = node["pattern"]
        return made | {name: node[name] for name in _LIMITS.get(made["type"], ()) if name in node}

    def _items(self, node: Schema, path: str, above: frozenset[str]) -> Schema:
        items = node.get("items")
        if isinstance(items, list):
            raise _refused(path, _NO_WORD["prefixItems"])
        return {"items": self.convert(items, f"{path}[]", above)}

    def _properties(self, node: Schema, path: str, above: frozenset[str]) -> Schema:
        properties = node.get("properties")
        if not properties:
            what = "is a map with free keys" if node.get("additionalProperties", True) else "has no fields"
            raise _refused(path, f"{what}; write an object with named fields, or a list of key and value")
        if unknown := [name for name in node.get("required", ()) if name not in properties]:
            raise _refused(f"{path}.{unknown[0]}", "is required and not described; add it to the properties")
        made: Schema = {
            "properties": {name: self.convert(one, f"{path}.{name}", above) for name, one in properties.items()}
        }
        if node.get("required"):
            made["required"] = node["required"]
        order = node.get("propertyOrdering", list(properties))
        if not isinstance(order, list) or [name for name in order if name not in properties]:
            raise _refused(path, "has a propertyOrdering of other names than its properties; correct it")
        return made | {"propertyOrdering": order}


def _type_of(node: Schema) -> str | list[str] | None:
    kind = node.get("type")
    if kind is None:
        guess = "object" if "properties" in node else "array" if "items" in node else None
        return guess
    if isinstance(kind, list) and len(kind) == 1:
        return str(kind[0])
    return kind  # type: ignore[no-any-return]


def _merged(part: Any, rest: Schema, path: str) -> Any:
    """A schema and what is written beside the reference to it."""
    if not isinstance(part, dict):
        return part
    if clash := [n for n in rest if n in part and n not in _NOTES and part[n] != rest[n] and n[:1] != "$"]:
        raise _refused(path, f"has {clash[0]} here and in the type that it refers to; write one type")
    return {**part, **rest}


def _ensure_known(node: Schema, path: str) -> None:
    """Make sure that each keyword is one that something can be done with.

    :raises ConfigError: One is not.
    """
    for word in node:
        if word in _NO_WORD:
            raise _refused(path, _NO_WORD[word])
        is_known = word in _NOTES or word in _IN_WORDS or word in _ANYWHERE or word.startswith("x-")
        if not is_known and not any(word in words for words in _STRUCTURE.values()):
            raise _refused(path, f"has the keyword {ascii(word)[:60]}, which is not known; correct or remove it")
    if "nullable" in node and not isinstance(node["nullable"], bool):
        raise _refused(path, "has a nullable that is neither true nor false; correct it")
    # An object of nothing else is a map, which has an advice of its own.
    is_map = not node.get("properties")
    stray = [word for word in _OPEN if isinstance(node.get(word), dict) and node[word]]
    if stray and not (is_map and stray[0] == "additionalProperties"):
        raise _refused(
            path, f"has {stray[0]} of a type of their own; write an object with named fields, or a list"
        )


def _apt(node: Schema, kind: str, kinds: list[str]) -> Schema:
    """What of a schema of several types is about one of them."""
    mine = {*_STRUCTURE.get(kind.upper(), ()), *_LIMITS.get(kind.upper(), ())}
    others = {
        word
        for name in (*(one.upper() for one in kinds), *_STRUCTURE)
        for word in (*_STRUCTURE.get(name, ()), *_LIMITS.get(name, ()))
    }
    return {word: value for word, value in node.items() if word in mine or word not in others}


def _in_words(node: Schema, made: Schema, path: str) -> str:
    """The limits that the API has no word for, as they stand."""
    kind = made.get("type")
    if "anyOf" not in made and kind in _LIMITS:
        mine = _STRUCTURE.get(kind, ())
        if stray := [w for words in _STRUCTURE.values() for w in words if w in node and w not in mine]:
            raise _refused(
                path, f"has {stray[0]}, which the type {kind.lower()} has not; remove it, or correct the type"
            )
    left = [word for word in node if word in _IN_WORDS and word not in made and node[word] is not False]
    # What was said by the only kind that is left beside null is said.
    left = [word for word in left if f"{word}: " not in made.get("description", "")]
    words = [f"{word}: {msgspec.json.encode(node[word]).decode()}" for word in left]
    return f"{'; '.join(words)}." if words else ""


def _enum(node: Schema, path: str) -> Schema:
    """The API's enums are of strings. Of others the type is sent, and the values as words in the description."""
    if beside := {"properties", "items", "required", "propertyOrdering"} & node.keys():
        raise _refused(path, f"has {min(beside)} beside an enum; leave it out")
    values = [node["const"]] if "const" in node else node["enum"]
    real = [value for value in values if value is not None]
    if not real:
        return {"type": "NULL"}
    kinds = {_json_type(value) for value in real}
    if kinds == {"INTEGER", "NUMBER"}:
        kinds = {"NUMBER"}
    if len(kinds) > 1 or not kinds <= {"STRING", "INTEGER", "NUMBER", "BOOLEAN"}:
        raise _refused(path, "has an enum of several types, or of objects; write the values as strings")
    made: Schema = {"type": kinds.pop()}
    if made["type"] == "STRING" and all(real):
        made |= {"format": "enum", "enum": real}
    else:
        made["description"] = f"One of: {', '.join(msgspec.json.encode(value).decode() for value in real)}."
    return made if len(real) == len(values) else {**made, "nullable": True}


def _json_type(value: Any) -> str:
    names = {str: "STRING", bool: "BOOLEAN", int: "INTEGER", float: "NUMBER"}
    return names.get(type(value), "OBJECT")


def _refused(path: str, why: str) -> ConfigError:
    what, _, instead = why.partition("; ")
    return ConfigError(
        f"output_type cannot be sent as a response schema: {path} {what}.",
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
            f"output_type and the {own[0]} of every row's generationConfig exclude each other.",
            code=CODE,
            remedy="Nothing was sent or cancelled. Leave one of them out.",
        )


def asking_for(json_schema: Schema) -> Callable[[bytes], bytes]:
    """What makes a checked request line ask for answers of a JSON Schema.

    :raises ConfigError: The API cannot express it. Names the place.
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
