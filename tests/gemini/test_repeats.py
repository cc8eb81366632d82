"""What is sent again and what never is. The scripts are answered by hand; nothing waits."""

import json

import pytest

from airflow_provider_batch.errors import ApiError, ApiUnreachableError, BatchError, QuotaError, SubmitUnknownError
from airflow_provider_batch.gemini import calls
from airflow_provider_batch.gemini.exchange import Answer, Download, Lost, Pause, Request
from airflow_provider_batch.gemini.repeats import MAX_TRIES

OK = Answer(200, {}, b'{"name": "batches/abc", "metadata": {"state": "BATCH_STATE_PENDING"}}')
DOWN = Answer(503, {}, b"")
CUT = Lost("RemoteProtocolError")


def refusal(status, rpc="X", **headers):
    body = json.dumps({"error": {"code": status, "message": "no", "status": rpc}}).encode()
    return Answer(status, headers, body)


def play(script, outcomes):
    """Answer a script's requests in turn; return its result (or error), what it sent and how it paused."""
    outcomes, sent, pauses, reply = iter(outcomes), [], [], None
    try:
        while True:
            step = script.send(reply)
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                reply = None
            else:
                sent.append(step)
                reply = next(outcomes)
    except StopIteration as end:
        return end.value, sent, pauses
    except BatchError as error:
        return error, sent, pauses


def test_a_read_is_repeated_after_passing_errors_with_growing_waits():
    batch, sent, pauses = play(calls.get_batch("batches/abc"), [DOWN, CUT, OK])
    assert batch.name == "batches/abc"
    assert len(sent) == 3
    assert 0 < pauses[0] <= 0.5
    assert 0 < pauses[1] <= 1.0


def test_a_read_that_never_works_ends_with_the_last_error():
    error, sent, _ = play(calls.get_batch("batches/abc"), [DOWN] * MAX_TRIES)
    assert isinstance(error, ApiError)
    assert len(sent) == MAX_TRIES


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_read_is_not_repeated_after_a_definite_no(status):
    error, sent, _ = play(calls.get_batch("batches/abc"), [refusal(status)])
    assert isinstance(error, ApiError)
    assert len(sent) == 1


def test_a_short_hint_of_the_server_is_waited_out():
    _, _, pauses = play(calls.get_batch("batches/abc"), [refusal(429, **{"retry-after": "7"}), OK])
    assert pauses == [7.0]


def test_a_long_hint_of_the_server_ends_the_call_for_somebody_who_can_wait():
    error, sent, pauses = play(calls.get_batch("batches/abc"), [refusal(429, **{"retry-after": "600"})])
    assert isinstance(error, QuotaError)
    assert (len(sent), pauses) == (1, [])


def create():
    return calls.create_batch("gemini-2.5-flash", "agb1.x", file_name="files/abc")


UNCLEAR = [
    DOWN,
    CUT,
    Answer(500, {}, b""),
    Answer(408, {}, b""),
    Answer(409, {}, b""),
    Answer(200, {}, b"<html>"),
    Answer(200, {}, b"{}"),
    Answer(200, {}, b'{"name": "operations/x"}'),
    Answer(403, {}, b"<html>proxy</html>"),
    Answer(302, {}, b""),
]


@pytest.mark.parametrize("outcome", UNCLEAR, ids=lambda o: str(getattr(o, "status", "cut")))
def test_a_create_of_unclear_outcome_is_unknown_and_sent_once(outcome):
    error, sent, _ = play(create(), [outcome])
    assert isinstance(error, SubmitUnknownError)
    assert error.display_name == "agb1.x"
    assert len(sent) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
def test_a_create_that_the_api_refused_is_a_definite_no_and_sent_once(status):
    error, sent, _ = play(create(), [refusal(status)])
    assert isinstance(error, ApiError)
    assert not isinstance(error, SubmitUnknownError)
    assert len(sent) == 1


def test_a_create_that_never_left_is_no_unknown():
    error, sent, _ = play(create(), [Lost("ConnectError", was_sent=False)])
    assert isinstance(error, ApiUnreachableError)
    assert len(sent) == 1


def test_the_body_of_a_create_is_what_the_reference_says():
    _, (request,), _ = play(create(), [OK])
    assert (request.method, request.url) == ("POST", "/{v}/models/gemini-2.5-flash:batchGenerateContent")
    assert request.json_body == {"batch": {"displayName": "agb1.x", "inputConfig": {"fileName": "files/abc"}}}


def test_a_download_goes_on_from_the_last_byte_that_arrived():
    outcomes = [Lost("cut", received=100), Lost("cut", received=250), Answer(206, {}, b"")]
    _, sent, _ = play(calls.download_file("files/batch-1"), outcomes)
    assert [step.from_byte for step in sent] == [0, 100, 250]
    assert all(isinstance(step, Download) for step in sent)


def test_a_download_that_makes_progress_is_never_given_up():
    outcomes = [Lost("cut", received=n) for n in range(1, 30)] + [Answer(206, {}, b"")]
    result, sent, _ = play(calls.download_file("files/batch-1"), outcomes)
    assert result is None
    assert len(sent) == 30


def test_a_download_without_progress_ends_with_the_error():
    error, sent, _ = play(calls.download_file("files/batch-1"), [Lost("cut", received=100)] * 9)
    assert isinstance(error, ApiUnreachableError)
    assert len(sent) == MAX_TRIES


@pytest.mark.parametrize(
    "name", ["batches/../x", "batches/a/b", "operations/x", "batches/", "batches/a\n", "https://evil.example"]
)
def test_a_name_that_would_lead_elsewhere_is_not_asked_for(name):
    error, sent, _ = play(calls.get_batch(name), [])
    assert "is not the name of a batch or file" in str(error)
    assert sent == []


@pytest.mark.parametrize(
    "model",
    ["", "../x", "gemini pro", "x:batchGenerateContent", "models/models/x", "Gemini", "gemini\n", "a" * 99],
)
def test_a_wrong_model_name_is_not_sent(model):
    error, sent, _ = play(calls.create_batch(model, "d", file_name="files/a"), [])
    assert "is not a model name" in str(error)
    assert sent == []


@pytest.mark.parametrize("model", ["models/gemini-2.5-pro", "gemini-2.5-pro"])
def test_a_model_name_may_carry_its_prefix(model):
    assert calls.model_path(model) == "models/gemini-2.5-pro"


def test_every_listing_names_its_page_size():
    for script in (calls.list_batches(), calls.list_files(), calls.list_models()):
        request = script.send(None)
        assert isinstance(request, Request)
        assert request.params["pageSize"] == "100"
