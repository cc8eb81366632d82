"""How the API's answers are read: values, or errors with the facts and the remedy."""

import json

import pytest

from airflow_provider_batch import errors
from airflow_provider_batch.gemini.client import answers
from airflow_provider_batch.gemini.client.exchange import ApiAnswer, Lost
from airflow_provider_batch.gemini.wire import Batch, File

CALL = "get batches/abc"


def answer(status, body, **headers):
    return ApiAnswer(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def error_body(code, status, message="no", details=()):
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


@pytest.mark.parametrize(
    ("status", "rpc", "kind"),
    [
        (400, "INVALID_ARGUMENT", errors.ApiError),
        (401, "UNAUTHENTICATED", errors.AuthError),
        (403, "PERMISSION_DENIED", errors.AuthError),
        (404, "NOT_FOUND", errors.NotFoundError),
        (429, "RESOURCE_EXHAUSTED", errors.QuotaError),
        (503, "UNAVAILABLE", errors.ApiError),
    ],
)
def test_each_refusal_has_its_class_with_code_and_status(status, rpc, kind):
    with pytest.raises(kind) as caught:
        answers.read(Batch, CALL, answer(status, error_body(status, rpc, "because")))
    error = caught.value
    assert (error.http_status, error.rpc_status, error.detail, error.call) == (status, rpc, "because", CALL)
    assert "get batches/abc" in str(error)


def test_a_bad_key_is_an_auth_error_although_the_api_says_400():
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    with pytest.raises(errors.AuthError, match="Check the credential"):
        answers.read(Batch, CALL, answer(400, error_body(400, "INVALID_ARGUMENT", details=[info])))


@pytest.mark.parametrize(("delay", "seconds"), [("31s", 31.0), ("0.5s", 1.0), ("99999s", 3600.0), ("soon", None)])
def test_the_retry_hint_of_the_body_is_read_and_clamped(delay, seconds):
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    with pytest.raises(errors.QuotaError) as caught:
        answers.read(Batch, CALL, answer(429, error_body(429, "RESOURCE_EXHAUSTED", details=[info])))
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("-1", 1.0), ("1e9", 3600.0), ("Thu", None)])
def test_the_retry_hint_of_the_header_is_read_and_clamped(value, seconds):
    with pytest.raises(errors.ApiError) as caught:
        answers.read(Batch, CALL, answer(503, b"", **{"retry-after": value}))
    assert caught.value.retry_after_s == seconds


def test_an_error_inside_a_list_of_one_is_unwrapped():
    with pytest.raises(errors.NotFoundError, match="because"):
        answers.read(Batch, CALL, answer(404, [error_body(404, "NOT_FOUND", "because")]))


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"", b"null", b'{"name": "../x"}', b'{"name": "batc'])
def test_a_success_that_is_no_batch_is_a_protocol_error(body):
    with pytest.raises(errors.ProtocolError, match="Expected the API's JSON in answer to get batches/abc"):
        answers.read(Batch, CALL, answer(200, body, **{"content-type": "text/html"}))


def test_a_redirect_is_refused_with_its_reason():
    with pytest.raises(errors.ProtocolError, match="credential must not reach another host"):
        answers.read(Batch, CALL, answer(302, b"", location="https://elsewhere.example"))


def test_no_answer_is_unreachable_and_keeps_whether_it_was_sent():
    with pytest.raises(errors.ApiUnreachableError) as caught:
        answers.read(Batch, CALL, Lost("ConnectError", was_sent=False))
    assert caught.value.was_sent is False


@pytest.mark.parametrize("secret", ["not-a-real-key", "AIza" + "x" * 35, "ya29." + "x" * 40])
def test_a_credential_in_the_servers_message_is_not_shown(secret):
    # What the API says of a suspended key holds the key.
    message = f"Permission denied: Consumer 'api_key:{secret}' has been suspended."
    body = json.dumps({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}}).encode()
    with pytest.raises(errors.AuthError, match=r"Consumer 'api_key:\*\*\*' has been suspended") as caught:
        answers.read(Batch, "get batches/a", ApiAnswer(403, {}, body))
    assert secret not in str(caught.value)
    assert secret not in caught.value.detail


def test_a_long_server_message_is_shortened():
    with pytest.raises(errors.ApiError) as caught:
        answers.read(Batch, CALL, answer(400, error_body(400, "INVALID_ARGUMENT", "x" * 5000)))
    assert len(str(caught.value)) < 1000


def test_a_captured_operation_is_read_with_string_counts_and_absent_zeros():
    batch = answers.read(
        Batch,
        CALL,
        answer(
            200,
            {
                "name": "batches/abc",
                "metadata": {
                    "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
                    "displayName": "d",
                    "batchStats": {"requestCount": "3", "successfulRequestCount": "2"},
                    "state": "BATCH_STATE_RUNNING",
                    "createTime": "2025-12-10T01:02:03.123456789Z",
                    "aNewField": 1,
                },
            },
        ),
    )
    stats = batch.metadata.batch_stats
    assert (stats.request_count, stats.successful_request_count, stats.failed_request_count) == (3, 2, 0)
    assert (batch.state, batch.done, batch.output) == ("RUNNING", False, None)
    assert batch.metadata.create_time.year == 2025


@pytest.mark.parametrize("word", ["BATCH_STATE_SUCCEEDED", "JOB_STATE_SUCCEEDED", "SUCCEEDED"])
def test_both_prefixes_of_a_state_are_accepted(word):
    assert Batch(name="batches/a", metadata={"state": word}).state == "SUCCEEDED"


@pytest.mark.parametrize(
    "place",
    [
        {"response": {"responsesFile": "files/batch-1"}},
        {"response": {"output": {"responsesFile": "files/batch-1"}}},
        {"metadata": {"output": {"responses_file": "files/batch-1"}}},
    ],
    ids=["response", "response.output", "metadata.output"],
)
def test_the_output_is_found_wherever_the_server_put_it(place):  # T48
    batch = answers.read(Batch, CALL, answer(200, {"name": "batches/a", **place}))
    assert batch.output.responses_file == "files/batch-1"


NULLS = {
    "name": "batches/a",
    "done": None,
    "error": None,
    "metadata": {
        "name": None,
        "model": None,
        "displayName": "d",
        "state": "BATCH_STATE_RUNNING",
        "endTime": None,
        "inputConfig": {"fileName": None},
        "priority": None,
        "batchStats": {"requestCount": "2", "failedRequestCount": None},
        "output": {"responsesFile": None, "inlinedResponses": None},
    },
    "response": None,
}


def test_a_null_in_a_job_says_the_same_as_a_field_that_is_left_out():
    batch = answers.read(Batch, CALL, answer(200, NULLS))
    assert (batch.state, batch.done, batch.output) == ("RUNNING", False, None)
    assert batch.metadata.batch_stats.failed_request_count == 0


@pytest.mark.parametrize("name", ["metadata", "operations", "nextPageToken"])
def test_a_null_in_a_listing_says_the_same_as_a_field_that_is_left_out(name):
    body = {"operations": [NULLS], "nextPageToken": "t"}
    if name == "metadata":
        body["operations"] = [NULLS | {"metadata": None}]
    else:
        body[name] = None
    page = answers.read_page(Batch, "operations", "list batches", answer(200, body))
    assert len(list(page.items)) == (0 if name == "operations" else 1)
    assert page.next_page_token == ("" if name == "nextPageToken" else "t")


@pytest.mark.parametrize("rows", [{"inlinedResponses": [{"a": 1}]}, [{"a": 1}]], ids=["doubled", "bare list"])
def test_inline_results_are_found_doubled_or_bare(rows):
    batch = answers.read(Batch, CALL, answer(200, {"name": "batches/a", "response": {"inlinedResponses": rows}}))
    assert batch.output.inlined_responses == ({"a": 1},)


def test_an_output_file_elsewhere_than_files_is_refused():
    with pytest.raises(errors.ProtocolError, match="responsesFile"):
        answers.read(
            Batch,
            CALL,
            answer(200, {"name": "batches/a", "response": {"responsesFile": "https://evil.example/x"}}),
        )


def test_an_empty_listing_is_an_empty_page():
    page = answers.read_page(Batch, "operations", "list batches", answer(200, {}))
    assert (list(page.items), page.next_page_token) == ([], "")


def test_a_listed_job_that_cannot_be_read_is_an_error_when_it_is_its_turn():
    body = {"operations": [{"name": "batches/a"}, {"name": "elsewhere/b"}], "nextPageToken": "t"}
    page = answers.read_page(Batch, "operations", "list batches", answer(200, body))
    jobs = iter(page.items)
    assert (next(jobs).name, page.next_page_token) == ("batches/a", "t")
    with pytest.raises(errors.ProtocolError, match="name"):
        next(jobs)


def test_a_listed_job_that_cannot_be_read_hides_none_that_come_after_it():
    body = {"operations": [{"name": "elsewhere/b", "metadata": {"displayName": "d"}}, 7, {"name": "batches/a"}]}
    bad, worse, good = answers.read_page(Batch, "operations", "list batches", answer(200, body)).entries
    assert (bad.fields["metadata"], worse.fields, good.name) == ({"displayName": "d"}, {}, "batches/a")
    assert "name" in bad.error.message


@pytest.mark.parametrize("body", [[], {"operations": {}}, {"operations": [], "nextPageToken": 7}])
def test_a_listing_of_another_shape_is_refused(body):
    with pytest.raises(errors.ProtocolError, match="Expected the API's JSON"):
        answers.read_page(Batch, "operations", "list batches", answer(200, body))


def test_a_file_is_read_in_either_spelling():
    for body in ({"name": "files/a", "sizeBytes": "12"}, {"name": "files/a", "size_bytes": 12}):
        assert answers.read(File, "get files/a", answer(200, body)).size_bytes == 12
