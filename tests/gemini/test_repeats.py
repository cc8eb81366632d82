"""What is sent again and what never is. The scripts are answered by hand; nothing waits."""

import json

import pytest

from airflow_provider_batch.errors import (
    ApiError,
    ApiUnreachableError,
    BatchError,
    FileNotReadyError,
    NotFoundError,
    QuotaError,
    SubmitUnknownError,
)
from airflow_provider_batch.gemini.client import calls
from airflow_provider_batch.gemini.client.exchange import ApiAnswer, ApiRequest, Download, Lost, Pause
from airflow_provider_batch.gemini.client.repeats import MAX_CALL_S, MAX_TRIES

OK = ApiAnswer(200, {}, b'{"name": "batches/abc", "metadata": {"state": "BATCH_STATE_PENDING"}}')
DOWN = ApiAnswer(503, {}, b"")
CUT = Lost("RemoteProtocolError")


def refusal(status, rpc="X", **headers):
    body = json.dumps({"error": {"code": status, "message": "no", "status": rpc}}).encode()
    return ApiAnswer(status, headers, body)


def play(script, outcomes, elapsed=0.0):
    """Answer a script's requests in turn; return its result (or error), what it sent and how it paused."""
    outcomes, sent, pauses, reply = iter(outcomes), [], [], None
    try:
        while True:
            step = script.send(reply)
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                reply = elapsed = elapsed + step.seconds
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


def test_a_read_that_never_works_ends_with_the_last_error():  # T32
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


def test_the_longer_of_two_hints_is_waited_out():
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "9.5s"}
    body = json.dumps({"error": {"code": 429, "message": "no", "details": [info]}}).encode()
    _, _, pauses = play(calls.get_batch("batches/abc"), [ApiAnswer(429, {"retry-after": "3"}, body), OK])
    assert pauses == [9.5]


def test_no_try_begins_after_the_time_of_a_call_is_up():
    error, sent, _ = play(calls.get_batch("batches/abc"), [DOWN] * MAX_TRIES, elapsed=MAX_CALL_S)
    assert isinstance(error, ApiError)
    assert len(sent) == 1


@pytest.mark.parametrize("delete", [calls.delete_batch("batches/abc"), calls.delete_file("files/abc")])
def test_not_found_after_a_lost_answer_means_that_the_delete_had_worked(delete):
    result, sent, _ = play(delete, [CUT, refusal(404)])
    assert result is None
    assert len(sent) == 2


def test_not_found_at_the_first_try_of_a_delete_is_an_error():
    error, _, _ = play(calls.delete_file("files/abc"), [refusal(404)])
    assert isinstance(error, NotFoundError)


PROCESSING = ApiAnswer(200, {}, b'{"name": "files/abc", "state": "PROCESSING"}')
ACTIVE = ApiAnswer(200, {}, b'{"name": "files/abc", "state": "ACTIVE"}')
BROKEN = ApiAnswer(
    200, {}, b'{"name": "files/abc", "state": "FAILED", "error": {"code": 3, "message": "not text"}}'
)


def test_a_file_is_looked_at_until_it_is_active():
    file, sent, _ = play(calls.wait_for_file("files/abc", 60), [PROCESSING, PROCESSING, ACTIVE])
    assert file.state == "ACTIVE"
    assert len(sent) == 3


def test_a_file_that_the_server_cannot_process_is_an_error_with_its_reason():
    error, _, _ = play(calls.wait_for_file("files/abc", 60), [PROCESSING, BROKEN])
    assert isinstance(error, FileNotReadyError)
    assert "files/abc cannot be used: not text" in str(error)


def test_a_file_is_not_waited_for_longer_than_asked():
    error, sent, _ = play(calls.wait_for_file("files/abc", 5), [PROCESSING] * 9)
    assert isinstance(error, FileNotReadyError)
    assert len(sent) == 4


def create():
    return calls.create_batch("gemini-2.5-flash", "agb1.x", file_name="files/abc")


UNCLEAR = [
    DOWN,
    CUT,
    ApiAnswer(500, {}, b""),
    ApiAnswer(408, {}, b""),
    ApiAnswer(409, {}, b""),
    ApiAnswer(200, {}, b"<html>"),
    ApiAnswer(200, {}, b"{}"),
    ApiAnswer(200, {}, b'{"name": "operations/x"}'),
    ApiAnswer(403, {}, b"<html>proxy</html>"),
    ApiAnswer(302, {}, b""),
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
    outcomes = [Lost("cut", received=100), Lost("cut", received=250), ApiAnswer(206, {}, b"")]
    _, sent, _ = play(calls.download_file("files/batch-1"), outcomes)
    assert [step.from_byte for step in sent] == [0, 100, 250]
    assert all(isinstance(step, Download) for step in sent)


def test_a_download_may_begin_where_an_earlier_process_stopped():
    _, (step,), _ = play(calls.download_file("files/batch-1", from_byte=70), [ApiAnswer(206, {}, b"")])
    assert step.from_byte == 70


@pytest.mark.parametrize(("total", "complete"), [(100, True), (99, False)])
def test_a_range_behind_the_last_byte_means_that_the_file_is_complete(total, complete):
    refused = ApiAnswer(416, {"content-range": f"bytes */{total}"})
    outcome, _, _ = play(calls.download_file("files/batch-1"), [Lost("cut", received=100), *[refused] * MAX_TRIES])
    assert (outcome is None) == complete


def test_a_download_that_makes_progress_is_never_given_up():
    outcomes = [Lost("cut", received=n) for n in range(1, 30)] + [ApiAnswer(206, {}, b"")]
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


def test_an_embeddings_job_has_its_own_verb_and_a_priority_is_sent_as_int64():
    script = calls.create_batch("m", "d", file_name="files/abc", priority=-3, embeddings=True)
    _, (request,), _ = play(script, [OK])
    assert request.url == "/{v}/models/m:asyncBatchEmbedContent"
    assert request.json_body["batch"]["priority"] == "-3"


def test_an_update_sends_what_changes_and_names_it_in_the_mask():
    bare = ApiAnswer(200, {}, b'{"name": "batches/abc", "state": "BATCH_STATE_PENDING", "priority": "7"}')
    batch, (request,), _ = play(calls.update_batch("batches/abc", priority=7), [bare])
    assert (request.method, request.url) == ("PATCH", "/{v}/batches/abc:updateGenerateContentBatch")
    assert (request.params, request.json_body) == ({"updateMask": "priority"}, {"priority": "7"})
    assert (batch.name, batch.state, batch.metadata.priority) == ("batches/abc", "PENDING", 7)


@pytest.mark.parametrize("model", ["models/gemini-2.5-pro", "gemini-2.5-pro"])
def test_a_model_name_may_carry_its_prefix(model):
    assert calls.model_path(model) == "models/gemini-2.5-pro"


def test_every_listing_names_its_page_size():
    for script in (calls.list_batches(), calls.list_files(), calls.list_models()):
        request = script.send(None)
        assert isinstance(request, ApiRequest)
        assert request.params["pageSize"] == "100"
