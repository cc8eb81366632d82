"""Rows of embeddings jobs: one content a row, one vector a key."""

import json

import pytest

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.embeddings import EmbeddingRows, EmbeddingTemplate
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


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_vector_with_what_is_no_number_is_an_error(number):
    row = EmbeddingRows().read_result(
        b'{"key":"a","response":{"embedding":{"values":[1,"%b"]}}}' % number.encode()
    )
    assert (row.status, row.vector) == (RowStatus.ERROR, None)


def test_an_embedding_without_numbers_is_an_error_and_not_an_empty_vector():
    row = EmbeddingRows().read_result(b'{"key":"a","response":{"embedding":{"values":[]}}}')
    assert (row.status, row.vector) == (RowStatus.ERROR, None)


@pytest.mark.parametrize(
    "arguments",
    [{"task_type": "RETRIEVAL"}, {"output_dimensionality": 0}, {"system_prompt": "x"}],
    ids=lambda a: next(iter(a)),
)
def test_an_argument_that_means_nothing_to_the_model_is_refused(arguments):
    with pytest.raises(ConfigError, match=f"AGB-C06 {next(iter(arguments))}"):
        GeminiEmbeddingsBatchOperator(task_id="t", requests=[], result_path="/r", **arguments)
