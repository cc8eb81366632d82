"""Messages of errors: what is wrong, then what to do, each a sentence of its own."""

import pytest

from airflow_provider_batch.errors import ApiError, BadRow, ConfigError, InputError


@pytest.mark.parametrize("message", ["It is wrong", "It is wrong."])
def test_a_remedy_stands_after_a_full_stop(message):
    assert str(ConfigError(message, code="AGB-C06", remedy="Correct it.")) == "AGB-C06 It is wrong. Correct it."


def test_words_of_the_api_are_ended_before_the_remedy():
    error = ApiError(call="list batches", http_status=400, detail="API key not valid", remedy="Check the key.")
    assert str(error) == "The Gemini API answered list batches with 400: API key not valid. Check the key."


def test_an_error_without_a_remedy_is_its_message_as_it_stands():
    assert str(ConfigError("It is wrong")) == "It is wrong"


@pytest.mark.parametrize(
    ("codes", "is_final"),
    [
        (["AGB-I14"], True),
        (["AGB-I18", "AGB-I14"], True),
        (["AGB-I18"], False),
        (["AGB-I06"], False),
        ([], False),
    ],
    ids=["a key twice", "a file that is not there, and a key twice", "such a file", "a cut-off row", "no row"],
)
def test_another_try_is_of_no_use_if_one_row_can_never_be_sent(codes, is_final):
    rows = tuple(BadRow(f"line {line}", "a", code, "is wrong") for line, code in enumerate(codes, 1))
    assert InputError("Wrong.", source="rows.jsonl", rows=rows).is_final == is_final


@pytest.mark.parametrize(("code", "is_final"), [("AGB-C05", True), ("AGB-C01", False), ("AGB-C15", False)])
def test_another_try_is_of_no_use_where_only_a_person_can_help(code, is_final):
    assert ConfigError("Wrong.", code=code).is_final == is_final
