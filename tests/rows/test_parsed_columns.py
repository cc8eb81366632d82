"""Answers of an output type become typed columns, and nothing of them is dropped or changed."""

from __future__ import annotations

import datetime
import enum
import io
import json

import msgspec
import pyarrow
import pytest
from pyarrow import parquet
from pydantic import BaseModel, RootModel

from airflow_provider_batch.rows.dialect import ResultRow, RowError, RowStatus, Usage
from airflow_provider_batch.rows.output.type import OutputType
from airflow_provider_batch.rows.write.parquet import read_parquet, write_parquet


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Aspect(BaseModel):
    name: str
    weight: float


class Review(BaseModel):
    mood: Mood
    stars: int
    score: float
    is_complaint: bool
    note: str | None = None
    tags: list[str]
    aspects: list[Aspect]
    main: Aspect | None
    day: datetime.date


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_a_number_that_no_column_can_hold_is_not_known(number):
    """Such as the code of a job that failed as a whole, which its rows repeat."""
    row = ResultRow("a", RowStatus.ERROR, usage=Usage(number), error=RowError(number, "no"))
    out = io.BytesIO()
    write_parquet(io.BytesIO(msgspec.json.encode(row) + b"\n"), out)
    (read,) = read_parquet(out)
    assert (read.error, read.usage) == (RowError(0, "no"), Usage())


GOOD = {
    "mood": "good",
    "stars": 4,
    "score": 0.5,
    "is_complaint": False,
    "note": None,
    "tags": ["a", "b"],
    "aspects": [{"name": "price", "weight": 1.5}],
    "main": {"name": "size", "weight": 2.0},
    "day": "2026-11-24",
}


@pytest.fixture
def written(tmp_path):
    """The schema of a Parquet file of answers, and the answers as they are read back."""

    def write(output_type, *answers):
        rows = [{"key": str(n), "status": "success", "parsed": answer} for n, answer in enumerate(answers)]
        lines, table = tmp_path / "rows.jsonl", tmp_path / "rows.parquet"
        lines.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"key": "x", "status": "error"}]))
        with lines.open("rb") as source, table.open("wb") as out:
            write_parquet(source, out, OutputType.of(output_type).json_schema if output_type else None)
        with table.open("rb") as file:
            read = [row.parsed for row in read_parquet(file)]
        assert read[-1] is None
        return parquet.read_schema(table), read[:-1]

    return write


def columns(schema):
    return {name: str(schema.field(name).type) for name in schema.names if name.startswith("parsed")}


def test_each_property_of_a_model_is_a_column_of_its_type(written):
    schema, read = written(Review, GOOD, GOOD | {"stars": 1, "main": None, "aspects": []})
    aspect = "struct<name: string, weight: double>"
    assert columns(schema) == {
        "parsed_mood": "string",
        "parsed_stars": "int64",
        "parsed_score": "double",
        "parsed_is_complaint": "bool",
        "parsed_note": "string",
        "parsed_tags": "list<element: string>",
        "parsed_aspects": f"list<element: {aspect}>",
        "parsed_main": aspect,
        "parsed_day": "string",
    }
    assert read == [GOOD, GOOD | {"stars": 1, "main": None, "aspects": []}]


@pytest.mark.parametrize(
    ("output_type", "answers", "kind"),
    [
        (RootModel[list[int]], [[1, 2], []], "list<element: int64>"),
        ({"type": "string", "enum": ["a", "b"]}, ["a"], "string"),
        ({"enum": ["a", "b"]}, ["b"], "string"),
        ({"type": ["number", "null"]}, [1.5, None, 2.5], "double"),
        (RootModel[int | str], [1, "x"], "string"),
        (RootModel[dict[str, int]], [{"any": 1}], "string"),
        ({"type": "object", "properties": {}}, [{"x": [1]}], "string"),
        (None, [{"whatever": [1]}], "string"),
    ],
    ids=["list", "enum", "enum without a type", "number or null", "union", "map", "free object", "no type"],
)
def test_what_is_no_object_is_one_column_typed_or_json_text(written, output_type, answers, kind):
    schema, read = written(output_type, *answers)
    assert columns(schema) == {"parsed": kind}
    assert read == answers


ONE = {"type": "object", "properties": {"n": {"type": "integer"}, "t": {"type": "string"}}}


@pytest.mark.parametrize("odd", [2**63, "12", 1.5, True, [1]])
def test_a_value_that_does_not_fit_makes_its_column_json_text_for_all(written, odd):
    schema, read = written(ONE, {"n": 1, "t": "x"}, {"n": odd, "t": "y"})
    assert columns(schema) == {"parsed_n": "string", "parsed_t": "string"}
    assert read == [{"n": 1, "t": "x"}, {"n": odd, "t": "y"}]


def test_the_largest_and_smallest_numbers_fit(written):
    answers = [{"n": 2**63 - 1, "t": None}, {"n": -(2**63), "t": None}]
    schema, read = written(ONE, *answers)
    assert (columns(schema)["parsed_n"], read) == ("int64", answers)


def test_a_whole_number_too_large_for_a_float_is_not_rounded(written):
    number = {"type": "object", "properties": {"n": {"type": "number"}}}
    assert written(number, {"n": 2**53 + 1})[1] == [{"n": 2**53 + 1}]


def test_properties_that_the_schema_does_not_name_are_kept(written):
    schema, read = written(ONE, {"n": 1, "t": "x"}, {"n": 2, "more": True})
    assert columns(schema) == {"parsed": "string"}
    assert read == [{"n": 1, "t": "x"}, {"n": 2, "more": True}]


def test_nested_properties_that_the_schema_does_not_name_are_kept(written):
    nested = {"type": "object", "properties": {"in": ONE}}
    schema, read = written(nested, {"in": {"n": 1, "t": "x", "more": 3}})
    assert columns(schema) == {"parsed_in": "string"}
    assert read == [{"in": {"n": 1, "t": "x", "more": 3}}]


def test_a_schema_that_refers_to_itself_ends(written):
    itself = {"$ref": "#/$defs/node"}
    node = {"type": "object", "properties": {"next": itself, "n": {"type": "integer"}}}
    tree = {**itself, "$defs": {"node": node}}
    schema, read = written(tree, {"next": {"next": None, "n": 2}, "n": 1})
    assert columns(schema) == {"parsed_next": "string", "parsed_n": "int64"}
    assert read == [{"next": {"next": None, "n": 2}, "n": 1}]


def test_a_property_that_an_answer_does_not_have_is_none(written):
    assert written(ONE, {"n": 1})[1] == [{"n": 1, "t": None}]


def test_a_batch_without_any_success_has_the_columns_too(written):
    assert columns(written(Review)[0])["parsed_stars"] == str(pyarrow.int64())
