"""Rows of embeddings jobs: one content a row, one vector a key."""

import json

import pytest

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.rows.embeddings import EmbeddingRows, EmbeddingTemplate
from airflow_provider_batch.operators.embeddings import GeminiEmbeddingsBatchOperator
from airflow_provider_batch.rows.dialect import NULL, BadRowError, RowStatus, Usage


def line(**request):
    return json.dumps({"key": "a", "request": request}).encode()


def test_columns_become_a_content_with_the_options():
    template = EmbeddingTemplate("{title}: {text}", "id", "RETRIEVAL_DOCUMENT", 64)
    assert json.loads(template.line({"id": 1, "title": "T", "text": "x"})) == {
        "key": "1",
        "request": {
            "content": {"parts": [{"text": "T: x"}]},
            "taskType": "RETRIEVAL_DOCUMENT",
            "outputDimensionality": 64,
        },
    }


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (lambda row: row["secret text"], "the prompt function raised KeyError at line"),
        (lambda row: ["x"], "the prompt function gave list, not text"),
    ],
)
def test_a_prompt_function_that_gives_no_text_makes_a_bad_row(prompt, words):
    with pytest.raises(BadRowError, match=words) as caught:
        EmbeddingTemplate(prompt, "id").line({"id": 1})
    assert (caught.value.code, caught.value.key) == ("AGB-I25", "1")
    assert "secret" not in str(caught.value)


def test_options_are_laid_under_rows_that_are_requests():
    template = EmbeddingTemplate(None, task_type="CLUSTERING", dimensions=8)
    made = json.loads(template.line(line(content={"parts": [{"text": "x"}]}, taskType="CLASSIFICATION")))
    assert made["request"]["taskType"] == "CLASSIFICATION"
    assert made["request"]["outputDimensionality"] == 8


def test_a_vector_is_read_exactly_and_stands_for_the_response():
    row = EmbeddingRows().read_result(b'{"key":"a","response":{"embedding":{"values":[0.1,-2e-8,3]}}}')
    assert (row.status, row.vector, row.response) == (RowStatus.SUCCESS, [0.1, -2e-8, 3.0], NULL)


def test_the_tokens_beside_a_vector_are_its_usage():
    row = EmbeddingRows().read_result(b'{"key":"a","response":{"embedding":{"values":[1]},"tokenCount":7}}')
    assert row.usage == Usage(7)


@pytest.mark.parametrize(
    "response",
    [
        {"embedding": {"values": [1], "statistics": None}, "tokenCount": "7"},
        {"embedding": {"values": [1]}, "usageMetadata": {"promptTokenCount": 7}},
        {"embedding": {"values": [1]}, "usageMetadata": {"promptTokenCount": None}, "tokenCount": 7},
        {"embedding": {"values": [1]}, "usageMetadata": {}, "tokenCount": "7"},
    ],
    ids=["as text", "as metadata", "beside a null", "beside empty metadata"],
)
def test_the_tokens_of_a_vector_are_read_wherever_they_stand(response):
    assert EmbeddingRows().read_result(answered(response)).usage == Usage(7)


def answered(response):
    return json.dumps({"key": "a", "response": response}).encode()


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ({"embedding": {"values": [1, "NaN"]}}, "no number"),
        ({"embedding": {"values": [1, "-Infinity"]}}, "no number"),
        ({"embedding": {"values": []}}, "no vector in the answer"),
        ({"embedding": {}}, "no vector in the answer"),
        ({"embedding": None}, "no vector in the answer"),
        ({"usageMetadata": {"promptTokenCount": 3}}, "no vector in the answer"),
        ({}, "no vector in the answer"),
    ],
)
def test_an_answer_without_a_whole_vector_is_invalid_and_not_blocked(response, words):
    row = EmbeddingRows().read_result(answered(response))
    assert (row.status, row.vector) == (RowStatus.INVALID_OUTPUT, None)
    assert words in row.error.message


def test_a_hole_in_a_vector_does_not_make_a_shorter_one():
    row = EmbeddingRows().read_result(answered({"embedding": {"values": [1, None, 3]}}))
    assert (row.status, row.vector) == (RowStatus.ERROR, None)


@pytest.mark.parametrize("name", ["outputDimensionality", "output_dimensionality"])
@pytest.mark.parametrize(
    ("asked", "status"), [(2, RowStatus.SUCCESS), ("2", RowStatus.SUCCESS), (3, "invalid_output")]
)
def test_a_vector_has_as_many_numbers_as_were_asked_for(name, asked, status):
    """The sweep and the shell read all kinds of jobs: what the rows ask for says how to read the answers."""
    dialect = GeminiRows()
    dialect.read_key(line(content={"parts": [{"text": "x"}]}, **{name: asked}))
    row = dialect.read_result(answered({"embedding": {"values": [1, 2]}}))
    assert row.status == status
    assert row.error is None or "a vector of 2 numbers, and 3 were asked for" in row.error.message


def test_rows_that_ask_for_no_length_take_any_vector():
    dialect = EmbeddingRows()
    for request in ({"outputDimensionality": 3}, {}):
        dialect.read_key(line(content={"parts": [{"text": "x"}]}, **request))
    assert dialect.read_result(answered({"embedding": {"values": [1, 2]}})).vector == [1, 2]


@pytest.mark.parametrize(
    "arguments",
    [{"task_type": "RETRIEVAL"}, {"output_dimensionality": 0}, {"system_prompt": "x"}],
    ids=lambda a: next(iter(a)),
)
def test_an_argument_that_means_nothing_to_the_model_is_refused(arguments):
    with pytest.raises(ConfigError, match=f"AGB-C06 {next(iter(arguments))}"):
        GeminiEmbeddingsBatchOperator(task_id="t", requests=[], result_path="/r", **arguments)
