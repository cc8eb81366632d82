"""The value of an answer is found where models put it, and has the names and the range of its schema."""

from __future__ import annotations

import io
import json

import pytest
from pyarrow import parquet
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field

from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.rows.dialect import RowStatus
from airflow_provider_batch.rows.output.type import IN_FENCE, CheckedAnswers, NotOfTypeError, OutputType
from airflow_provider_batch.rows.write.parquet import read_parquet, write_parquet

SCHEMA = {"type": "object", "properties": {"stars": {"type": "number"}}, "required": ["stars"]}


class Label(BaseModel):
    stars: float


TYPES = pytest.mark.parametrize("spec", [Label, SCHEMA], ids=["model", "schema"])


def landed(spec, text, *, is_strict=False):
    said = {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]}
    dialect = CheckedAnswers(GeminiRows(), OutputType.of(spec), is_strict=is_strict)
    return dialect.read_result(json.dumps({"key": "a", "response": said}).encode())


FENCED = {
    "plain": '```json\n{"stars": 4}\n```',
    "upper case": '```JSON\n{"stars": 4}\n```',
    "no language": '```\n{"stars": 4}\n```',
    "text around it": 'Here it is:\n\n```json\n{"stars": 4}\n```\nI hope `that` helps.',
    "one line": 'It is ```json {"stars": 4} ```.',
    "never closed": '```json\n{\n  "stars": 4\n}\n',
    "line ends of Windows": '```json\r\n{"stars": 4}\r\n```\r\n',
    "tildes": '~~~json\n{"stars": 4}\n~~~',
    "longer marks": '````json\n{"stars": 4}\n````',
    "after other code": '```python\nprint(1)\n```\nso\n```json\n{"stars": 4}\n```',
    "twice the same": '```json\n{"stars": 4}\n```\nAgain:\n```json\n{"stars": 4}\n```',
    "marks in a value": '```json\n{"stars": 4, "why": "as in ```json\\n{}\\n```"}\n```',
}


@TYPES
@pytest.mark.parametrize("text", FENCED.values(), ids=FENCED)
def test_an_answer_in_a_code_fence_is_taken_and_its_row_says_so(spec, text):
    row = landed(spec, text)
    assert (row.status, row.parsed["stars"], row.note) == (RowStatus.SUCCESS, 4, IN_FENCE)
    assert json.loads(bytes(row.text)) == text


@TYPES
@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"stars": "many"}\n```',
        '```json\n{"stars": 4} and more\n```',
        '```json\n{"stars": 4}\n```\n```json\n{"stars": 5}\n```',
        '```json\n{"stars": NaN}\n```',
        "```json\n" + "[" * 100_000,
        "```" * 1_000,
        'The answer is {"stars": 4}.',
    ],
    ids=["wrong type", "more in the fence", "two answers", "no JSON", "too deep", "only marks", "no fence"],
)
def test_what_no_code_fence_holds_alone_is_invalid(spec, text):
    row = landed(spec, text)
    assert (row.status, row.parsed, row.note) == (RowStatus.INVALID_OUTPUT, None, None)


@TYPES
def test_a_strict_user_gets_no_answer_out_of_a_code_fence(spec):
    assert landed(spec, FENCED["plain"], is_strict=True).status is RowStatus.INVALID_OUTPUT
    assert landed(spec, '{"stars": 4}', is_strict=True).parsed == {"stars": 4}


@TYPES
def test_an_answer_that_is_json_alone_has_no_note(spec):
    assert landed(spec, ' {"stars": 4} ').note is None


def test_a_downstream_task_reads_an_instance_out_of_a_code_fence():
    assert OutputType.of(Label).read(FENCED["text around it"]) == Label(stars=4)


@TYPES
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"NaN"', '"inf"', '"-1e999"'])
def test_a_number_that_json_cannot_hold_is_invalid_and_not_null(spec, number):
    row = landed(spec, f'{{"stars": {number}}}')
    assert (row.status, row.parsed) == (RowStatus.INVALID_OUTPUT, None)


class Optional(BaseModel):
    score: float | None = None
    inside: list[Label] = []


@pytest.mark.parametrize("text", ['{"score": "NaN"}', '{"inside": [{"stars": 1}, {"stars": "Infinity"}]}'])
def test_a_number_is_not_lost_where_the_type_allows_null(text):
    with pytest.raises(NotOfTypeError, match="finite_number"):
        OutputType.of(Optional).parse(text)


class Inner(BaseModel):
    size: int = Field(validation_alias="sizeIn", serialization_alias="size_out")


class Renamed(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    name: str = Field(validation_alias="inName", serialization_alias="out_name")
    either: int = Field(0, validation_alias=AliasChoices(AliasPath("deep", 0), "first", "second"))
    plain: int = Field(0, serialization_alias="PLAIN")
    same: int = Field(0, alias="Same")
    inner: list[Inner] = Field([], validation_alias="innerIn", serialization_alias="inner_out")


def test_the_value_of_an_answer_has_the_names_of_its_schema():
    output = OutputType.of(Renamed)
    value = output.parse('{"inName": "x", "second": 2, "Same": 3, "innerIn": [{"sizeIn": 4}]}')
    assert value == {"inName": "x", "first": 2, "plain": 0, "Same": 3, "innerIn": [{"sizeIn": 4}]}
    assert value.keys() <= output.json_schema["properties"].keys()


def test_a_parquet_file_has_a_column_for_each_name_of_the_schema():
    row = landed(Renamed, '{"inName": "x", "innerIn": [{"sizeIn": 4}]}')
    lines, out = io.BytesIO(json_line(row)), io.BytesIO()
    write_parquet(lines, out, OutputType.of(Renamed).json_schema)
    names = parquet.ParquetFile(out).schema_arrow.names
    assert [name for name in names if name.startswith("parsed")] == [
        "parsed_inName",
        "parsed_first",
        "parsed_plain",
        "parsed_Same",
        "parsed_innerIn",
    ]


def test_a_parquet_file_keeps_the_note_of_a_row_that_has_one():
    out = io.BytesIO()
    write_parquet(io.BytesIO(json_line(landed(Label, FENCED["plain"]))), out, OutputType.of(Label).json_schema)
    (row,) = read_parquet(out)
    assert (row.note, row.parsed) == (IN_FENCE, {"stars": 4})


def json_line(row):
    import msgspec

    return msgspec.json.encode(row) + b"\n"
