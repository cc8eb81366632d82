"""The demo answers with a value of the schema that it is given."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

from airflow_provider_batch.gemini.rows.schema import asking_for
from airflow_provider_batch.rows.output.type import OutputType
from demo.answers import answer
from example_dags import gemini_batch_bulk_content, gemini_batch_evaluation, gemini_batch_images

PHOTO = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}


def request(*parts, **config):
    return {"contents": [{"parts": list(parts)}], "generationConfig": config}


@pytest.mark.parametrize("name", ["responseSchema", "response_schema", "responseJsonSchema"])
def test_a_label_among_the_values_to_choose_from_is_counted_from_words(name):
    schema = {"type": "OBJECT", "properties": {"mood": {"type": "STRING", "enum": ["positive", "negative"]}}}
    said = answer(request({"text": "I love it"}, **{name: schema}), "k")
    assert json.loads(said) == {"mood": "positive"}


@pytest.mark.parametrize(
    "model", [gemini_batch_bulk_content.Digest, gemini_batch_images.Photo, gemini_batch_evaluation.Label]
)
def test_an_answer_is_of_the_type_that_an_example_asks_for(model: type[BaseModel]):
    line = json.dumps({"key": "k", "request": request({"text": "It broke. Bad."}, PHOTO)}).encode()
    sent = json.loads(asking_for(OutputType.of(model).json_schema)(line))
    model.model_validate_json(answer(sent["request"], "k"))


def test_a_request_of_a_photo_alone_is_answered():
    assert answer(request(PHOTO), "k") == "nothing to say"


def test_without_a_schema_the_first_words_are_repeated():
    assert answer(request({"text": "Sum up: one two three four five six"}), "k") == "one two three four five"
