"""Messages of errors: what is wrong, then what to do, each a sentence of its own."""

import pytest

from airflow_provider_batch.errors import ApiError, ConfigError


@pytest.mark.parametrize("message", ["It is wrong", "It is wrong."])
def test_a_remedy_stands_after_a_full_stop(message):
    assert str(ConfigError(message, code="AGB-C06", remedy="Correct it.")) == "AGB-C06 It is wrong. Correct it."


def test_words_of_the_api_are_ended_before_the_remedy():
    error = ApiError(call="list batches", http_status=400, detail="API key not valid", remedy="Check the key.")
    assert str(error) == "The Gemini API answered list batches with 400: API key not valid. Check the key."


def test_an_error_without_a_remedy_is_its_message_as_it_stands():
    assert str(ConfigError("It is wrong")) == "It is wrong"
