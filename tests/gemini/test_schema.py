"""JSON Schema becomes the API's own form of it, or the place that cannot be expressed is named."""

from __future__ import annotations

import enum
import json
from datetime import datetime
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.schema import asking_for, response_schema
from airflow_provider_batch.rows.structured import OutputType

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
        (int, {"multiple_of": 2}, {"type": "INTEGER"}),
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
