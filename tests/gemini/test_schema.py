"""JSON Schema becomes the API's own form of it, or the place that cannot be expressed is named."""

from __future__ import annotations

import enum
import json
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.rows.schema import asking_for, response_schema
from airflow_provider_batch.rows.output.type import NotOfTypeError, OutputType

STRING = {"type": "STRING"}


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Item(BaseModel):
    name: str


class Tree(BaseModel):
    children: list[Tree] = []


def field(annotation, **limits):
    """The converted schema of a model's only field."""
    model = type(
        "Label",
        (BaseModel,),
        {"__annotations__": {"it": annotation}, "it": Field(**limits), "__module__": __name__},
    )
    return response_schema(OutputType.of(model).json_schema)["properties"]["it"]


@pytest.mark.parametrize(
    ("annotation", "limits", "expected"),
    [
        (str, {}, STRING),
        (int, {}, {"type": "INTEGER"}),
        (float, {}, {"type": "NUMBER"}),
        (bool, {}, {"type": "BOOLEAN"}),
        (datetime, {}, {"type": "STRING", "format": "date-time"}),
        (list[str], {}, {"type": "ARRAY", "items": STRING}),
        (Literal["a", "b"], {}, {"type": "STRING", "format": "enum", "enum": ["a", "b"]}),
        (Mood, {}, {"type": "STRING", "format": "enum", "enum": ["good", "bad"]}),
        (str | None, {}, {"type": "STRING", "nullable": True}),
        (str | int, {}, {"anyOf": [STRING, {"type": "INTEGER"}]}),
        (int, {"ge": 1, "le": 5}, {"type": "INTEGER", "minimum": 1, "maximum": 5}),
        (str, {"min_length": 2}, {"type": "STRING", "minLength": "2"}),
        (str, {"description": "what it is"}, {"type": "STRING", "description": "what it is"}),
        (int, {"multiple_of": 2}, {"type": "INTEGER", "description": "multipleOf: 2."}),
        (UUID, {}, STRING | {"description": 'format: "uuid".'}),
        (str, {"title": "Colour"}, STRING | {"title": "Colour"}),
    ],
    ids=repr,
)
def test_a_field_is_converted(annotation, limits, expected):
    found = field(annotation, **limits)
    # int64 may be said as text or as a number in the API's JSON.
    assert json.loads(json.dumps(found), parse_int=str) == json.loads(json.dumps(expected), parse_int=str)


def test_a_nested_model_is_written_out_with_its_order_and_required_fields():
    found = field(list[Item])
    assert found["type"] == "ARRAY"
    assert found["items"]["properties"] == {"name": STRING}
    assert found["items"]["required"] == ["name"]


@pytest.mark.parametrize(
    ("annotation", "place"),
    [
        (Tree, "Label.it"),
        (dict[str, int], "Label.it"),
        (tuple[int, str], "Label.it"),
        (Any, "Label.it"),
        (list[dict[str, str]], "Label.it[]"),
    ],
    ids=["recursive", "map", "tuple", "any", "list of maps"],
)
def test_what_the_api_cannot_express_is_refused_with_its_place(annotation, place):
    with pytest.raises(ConfigError, match="AGB-C14") as caught:
        field(annotation)
    assert place in str(caught.value)


def test_a_row_gets_the_schema_unless_it_has_its_own():
    ask = asking_for(OutputType.of(Item).json_schema)
    plain = json.loads(ask(b'{"key":"a","request":{"contents":[],"generationConfig":{"temperature":0}}}'))
    config = plain["request"]["generationConfig"]
    assert (config["temperature"], config["responseMimeType"]) == (0, "application/json")
    assert config["responseSchema"]["properties"] == {"name": STRING}
    own = b'{"key":"a","request":{"generationConfig":{"responseJsonSchema":{}}}}'
    assert ask(own) == own


def given(**keywords):
    """The converted schema of a property."""
    schema = {"type": "object", "properties": {"it": keywords}}
    return response_schema(OutputType.of(schema).json_schema)["properties"]["it"]


ITEM = {"type": "string"}
SENT = [
    ("type", {"type": "string"}, STRING),
    ("type of the API", {"type": "STRING"}, STRING),
    ("two types", {"type": ["string", "null"], "minLength": 2}, STRING | {"minLength": 2, "nullable": True}),
    ("title", {**ITEM, "title": "T"}, STRING | {"title": "T"}),
    ("description", {**ITEM, "description": "d"}, STRING | {"description": "d"}),
    ("example", {**ITEM, "example": "e"}, STRING | {"example": "e"}),
    ("nullable", {**ITEM, "nullable": True}, STRING | {"nullable": True}),
    ("not nullable", {**ITEM, "nullable": False}, STRING),
    (
        "nullable enum",
        {"enum": ["a"], "nullable": True},
        STRING | {"format": "enum", "enum": ["a"], "nullable": True},
    ),
    ("nullable union", {"anyOf": [ITEM], "nullable": True}, STRING | {"nullable": True}),
    ("const", {"const": "a"}, STRING | {"format": "enum", "enum": ["a"]}),
    ("enum of numbers", {"enum": [1, 2]}, {"type": "INTEGER", "description": "One of: 1, 2."}),
    ("format", {**ITEM, "format": "date-time"}, STRING | {"format": "date-time"}),
    (
        "format enum",
        {"type": "string", "format": "enum", "enum": ["a"]},
        STRING | {"format": "enum", "enum": ["a"]},
    ),
    ("format int32", {"type": "integer", "format": "int32"}, {"type": "INTEGER", "format": "int32"}),
    ("pattern", {**ITEM, "pattern": "^a$"}, STRING | {"pattern": "^a$"}),
    ("minLength", {**ITEM, "minLength": 1}, STRING | {"minLength": 1}),
    ("maxLength", {**ITEM, "maxLength": "9"}, STRING | {"maxLength": 9}),
    ("minimum", {"type": "number", "minimum": 1}, {"type": "NUMBER", "minimum": 1}),
    ("maximum", {"type": "integer", "maximum": 9}, {"type": "INTEGER", "maximum": 9}),
    ("items", {"type": "array", "items": ITEM}, {"type": "ARRAY", "items": STRING}),
    (
        "minItems",
        {"type": "array", "items": ITEM, "minItems": 1},
        {"type": "ARRAY", "items": STRING, "minItems": 1},
    ),
    (
        "maxItems",
        {"type": "array", "items": ITEM, "maxItems": 9},
        {"type": "ARRAY", "items": STRING, "maxItems": 9},
    ),
    ("anyOf", {"anyOf": [ITEM, {"type": "integer"}]}, {"anyOf": [STRING, {"type": "INTEGER"}]}),
    ("oneOf", {"oneOf": [ITEM, {"type": "integer"}]}, {"anyOf": [STRING, {"type": "INTEGER"}]}),
    ("allOf", {"allOf": [ITEM], "description": "d"}, STRING | {"description": "d"}),
    ("$comment", {**ITEM, "$comment": "c"}, STRING),
    ("default", {**ITEM, "default": "d"}, STRING),
    ("deprecated", {**ITEM, "deprecated": True}, STRING),
    ("readOnly", {**ITEM, "readOnly": True}, STRING),
    ("writeOnly", {**ITEM, "writeOnly": True}, STRING),
    ("an extension", {**ITEM, "x-column": 7}, STRING),
    ("then without if", {**ITEM, "then": {}}, STRING),
]


@pytest.mark.parametrize(("keywords", "sent"), [case[1:] for case in SENT], ids=[case[0] for case in SENT])
def test_a_keyword_that_the_api_knows_is_sent(keywords, sent):
    assert given(**keywords) == sent


NUMBERS = {"type": "array", "items": {"type": "integer"}}
IN_WORDS = [
    ({"type": "integer", "exclusiveMinimum": 0}, "exclusiveMinimum: 0."),
    ({"type": "integer", "exclusiveMaximum": 9}, "exclusiveMaximum: 9."),
    ({"type": "number", "multipleOf": 0.5}, "multipleOf: 0.5."),
    ({**ITEM, "format": "email"}, 'format: "email".'),
    ({**ITEM, "pattern": "a(?!b)"}, 'pattern: "a(?!b)".'),
    ({**ITEM, "examples": ["a", "b"]}, 'examples: ["a","b"].'),
    ({**ITEM, "contentEncoding": "base64"}, 'contentEncoding: "base64".'),
    ({**ITEM, "contentMediaType": "text/html"}, 'contentMediaType: "text/html".'),
    ({**ITEM, "minimum": 3}, "minimum: 3."),
    ({**NUMBERS, "uniqueItems": True}, "uniqueItems: true."),
    (
        {**NUMBERS, "contains": {"const": 1}, "minContains": 2, "maxContains": 3},
        'contains: {"const":1}; minContains: 2; maxContains: 3.',
    ),
    ({"enum": ["a", "b"], "maxLength": 1}, "maxLength: 1."),
    ({"anyOf": [ITEM, {"type": "integer"}], "minLength": 2}, "minLength: 2."),
    ({"type": ["integer", "null"], "multipleOf": 2}, "multipleOf: 2."),
    ({**ITEM, "description": "An address.", "format": "email"}, 'An address. format: "email".'),
    (
        {
            "type": "object",
            "properties": {"a": ITEM},
            "propertyNames": {"maxLength": 3},
            "dependentRequired": {"a": []},
        },
        'propertyNames: {"maxLength":3}; dependentRequired: {"a":[]}.',
    ),
]


@pytest.mark.parametrize(
    ("keywords", "words"), IN_WORDS, ids=lambda case: next(reversed(case)) if isinstance(case, dict) else ""
)
def test_a_limit_without_a_word_of_the_api_stands_in_the_description(keywords, words):
    assert given(**keywords)["description"] == words


REFUSED = [
    ({"type": "array", "prefixItems": [ITEM]}, "is a tuple"),
    ({"type": "object", "patternProperties": {"a": ITEM}}, "patternProperties"),
    ({**ITEM, "not": {"const": "a"}}, '"not"'),
    ({**ITEM, "if": {"minLength": 1}}, '"if"'),
    ({"type": "object", "dependentSchemas": {"a": {}}, "properties": {"a": ITEM}}, "dependentSchemas"),
    ({"$dynamicRef": "#a"}, "dynamicRef"),
    ({"type": "object"}, "map with free keys"),
    ({"type": "object", "additionalProperties": False}, "has no fields"),
    (
        {"type": "object", "properties": {"a": ITEM}, "additionalProperties": ITEM},
        "additionalProperties of a type",
    ),
    (
        {"type": "object", "properties": {"a": ITEM}, "unevaluatedProperties": ITEM},
        "unevaluatedProperties of a type",
    ),
    ({"allOf": [ITEM, {"minLength": 1}]}, "several allOf"),
    ({}, "says nothing about the value"),
    ({"enum": [1, "a"]}, "enum of several types"),
    ({"anyOf": [ITEM], "properties": {"a": ITEM}}, "properties beside a union"),
    ({"anyOf": [ITEM], "required": ["a"]}, "required beside a union"),
    ({**ITEM, "minLenght": 3}, "'minLenght', which is not known"),
    ({**ITEM, "items": ITEM}, "items, which the type string has not"),
    ({"type": "integer", "properties": {"a": ITEM}}, "properties, which the type integer has not"),
    ({**ITEM, "nullable": "yes"}, "nullable that is neither true nor false"),
    ({"type": "object", "properties": {"a": ITEM}, "propertyOrdering": ["b"]}, "propertyOrdering of other names"),
    ({"type": "object", "properties": {"a": ITEM}, "required": ["b"]}, "is required and not described"),
]


@pytest.mark.parametrize(("keywords", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_keyword_that_cannot_be_said_is_refused_by_name_and_place(keywords, words):
    with pytest.raises(ConfigError, match="AGB-C14") as caught:
        given(**keywords)
    assert words in str(caught.value)
    assert ".it" in str(caught.value)


def test_the_order_that_a_user_gave_is_the_order_that_is_sent():
    properties = {"b": ITEM, "a": ITEM, "c": ITEM}
    assert given(type="object", properties=properties, propertyOrdering=["a", "c", "b"])["propertyOrdering"] == [
        "a",
        "c",
        "b",
    ]
    assert given(type="object", properties=properties)["propertyOrdering"] == ["b", "a", "c"]


@pytest.mark.parametrize(
    "keywords",
    [
        {**ITEM, "nullable": True},
        {"type": "string", "enum": ["a"], "nullable": True},
        {"const": "a", "nullable": True},
        {"anyOf": [ITEM, {"type": "integer"}], "nullable": True},
        {"$ref": "#/$defs/name", "nullable": True},
        {"type": ["string", "integer"], "nullable": True},
    ],
    ids=["type", "enum", "const", "union", "reference", "types"],
)
def test_a_null_that_a_schema_allows_is_an_answer_of_the_type(keywords):
    schema = {"type": "object", "properties": {"it": keywords}, "$defs": {"name": ITEM}}
    output = OutputType.of(schema)
    assert response_schema(output.json_schema)["properties"]["it"]["nullable"] is True
    assert output.parse('{"it": null}') == {"it": None}
    with pytest.raises(NotOfTypeError):
        output.parse('{"it": []}')


def test_a_schema_in_the_spelling_of_the_api_checks_answers_as_well():
    output = OutputType.of(
        {"type": "OBJECT", "properties": {"n": {"type": "ARRAY", "items": ITEM, "maxItems": "1"}}}
    )
    assert output.parse('{"n": ["a"]}') == {"n": ["a"]}
    with pytest.raises(NotOfTypeError, match="n: maxItems"):
        output.parse('{"n": ["a", "b"]}')
