"""The resumable upload: the offset comes from the server after every doubt."""

import json

import pytest

from airflow_provider_batch.errors import ApiError, BatchError, InputError, ProtocolError
from airflow_provider_batch.gemini.client.exchange import ApiAnswer, Lost, Pause, ReadBlock
from airflow_provider_batch.gemini.client.upload import BLOCK_BYTES, resume_upload, upload_file

SESSION = "http://127.0.0.1:1/upload/v1beta/files?upload_id=s"
STARTED = ApiAnswer(200, {"x-goog-upload-url": SESSION, "x-goog-upload-status": "active"})
TAKEN = ApiAnswer(200, {"x-goog-upload-status": "active"})
FINAL = ApiAnswer(
    200, {"x-goog-upload-status": "final"}, b'{"file": {"name": "files/abc", "sizeBytes": "8388613"}}'
)
SIZE = BLOCK_BYTES + 5


def has(count):
    return ApiAnswer(200, {"x-goog-upload-status": "active", "x-goog-upload-size-received": str(count)})


def play(outcomes, size=SIZE, mime_type=None, script=None):
    """Answer the script in turn; return its result or error and (command, offset, bytes) of each request."""
    script, outcomes, sent, reply = script or upload_file(size, "d", mime_type), iter(outcomes), [], None
    try:
        while True:
            step = script.send(reply)
            if isinstance(step, Pause):
                reply = step.seconds
            elif isinstance(step, ReadBlock):
                reply = bytes(step.size)
            elif step.method == "GET":
                reply = next(outcomes)
            else:
                headers = {k.lower(): v for k, v in step.headers.items()}
                offset = headers.get("x-goog-upload-offset")
                sent.append((headers["x-goog-upload-command"], offset and int(offset), len(step.content or b"")))
                reply = next(outcomes)
    except StopIteration as end:
        return end.value, sent
    except BatchError as error:
        return error, sent


def test_a_file_goes_in_blocks_and_the_last_one_finalizes():
    file, sent = play([STARTED, TAKEN, FINAL])
    assert file.name == "files/abc"
    assert sent == [("start", None, 0), ("upload", 0, BLOCK_BYTES), ("upload, finalize", BLOCK_BYTES, 5)]


def test_a_file_of_exactly_one_block_is_one_request_after_the_start():
    final = ApiAnswer(200, FINAL.headers, FINAL.body.replace(b"8388613", b"8388608"))
    _, sent = play([STARTED, final], size=BLOCK_BYTES)
    assert sent[1:] == [("upload, finalize", 0, BLOCK_BYTES)]


def test_after_a_cut_the_server_is_asked_and_the_upload_goes_on_from_there():
    _, sent = play([STARTED, Lost("cut"), has(1000), FINAL])
    assert [(command, offset) for command, offset, _ in sent[1:]] == [
        ("upload", 0),
        ("query", None),
        ("upload, finalize", 1000),
    ]


def test_a_server_error_on_a_block_is_followed_by_a_query():
    _, sent = play([STARTED, ApiAnswer(503, {}), has(0), TAKEN, FINAL])
    assert [command for command, _, _ in sent] == ["start", "upload", "query", "upload", "upload, finalize"]


def test_a_lost_final_answer_does_not_make_a_second_file():
    file, sent = play([STARTED, TAKEN, Lost("cut"), FINAL])
    assert file.name == "files/abc"
    assert [command for command, _, _ in sent] == ["start", "upload", "upload, finalize", "query"]


def test_a_finished_session_that_does_not_name_its_file_is_found_by_name_and_size():
    silent = ApiAnswer(200, {"x-goog-upload-status": "final"})
    other = {"name": "files/x", "displayName": "d", "sizeBytes": "1"}
    ours = {"name": "files/abc", "displayName": "d", "sizeBytes": str(SIZE)}
    listing = ApiAnswer(200, {}, json.dumps({"files": [other, ours]}).encode())
    file, sent = play([STARTED, TAKEN, Lost("cut"), silent, listing])
    assert file.name == "files/abc"
    assert len(sent) == 4


def test_a_finalize_that_did_not_arrive_is_sent_again_without_bytes():
    _, sent = play([STARTED, TAKEN, Lost("cut"), has(SIZE), FINAL])
    assert sent[-1] == ("upload, finalize", SIZE, 0)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(ApiAnswer(503, {}), ApiError), (ApiAnswer(200, {"x-goog-upload-status": "odd"}), ProtocolError)],
    ids=["for now", "for no reason"],
)
def test_a_server_that_never_takes_more_ends_the_upload(answer, kind):
    error, sent = play([STARTED] + [answer, has(0)] * 20)
    assert isinstance(error, kind)
    assert len(sent) < 12


def test_a_refused_type_is_tried_once_more_as_plain_text():
    refused = ApiAnswer(
        400, {}, b'{"error": {"code": 400, "message": "Unsupported MIME type: application/jsonl"}}'
    )
    file, sent = play([refused, STARTED, TAKEN, FINAL])
    assert file.name == "files/abc"
    assert [command for command, _, _ in sent] == ["start", "start", "upload", "upload, finalize"]


def test_a_type_that_is_refused_with_a_success_at_the_end_is_tried_as_plain_text_too():
    body = b'{"error": {"code": 400, "message": "Unsupported MIME type: application/jsonl"}}'
    refused = ApiAnswer(200, {"x-goog-upload-status": "final"}, body)
    file, sent = play([STARTED, TAKEN, refused, STARTED, TAKEN, FINAL])
    assert file.name == "files/abc"
    assert [command for command, _, _ in sent].count("start") == 2


def test_a_type_that_the_caller_chose_is_not_replaced():
    refused = ApiAnswer(400, {}, b'{"error": {"code": 400, "message": "Unsupported MIME type: x"}}')
    error, _ = play([refused], mime_type="application/x")
    assert isinstance(error, ApiError)


@pytest.mark.parametrize("status", ["final", "cancelled"])
def test_a_session_that_ended_with_an_error_raises_it(status):
    body = json.dumps({"error": {"code": 400, "message": "bad bytes", "status": "INVALID_ARGUMENT"}}).encode()
    http = 200 if status == "final" else 410
    error, _ = play([STARTED, ApiAnswer(http, {"x-goog-upload-status": status}, body)])
    assert isinstance(error, ApiError)
    assert "bad bytes" in str(error)


@pytest.mark.parametrize("count", ["-1", "x", str(SIZE + 1)])
def test_an_offset_that_cannot_be_true_is_refused(count):
    answer = ApiAnswer(200, {"x-goog-upload-status": "active", "x-goog-upload-size-received": count})
    error, _ = play([STARTED, answer])
    assert isinstance(error, ProtocolError)


def test_a_file_that_is_too_large_is_not_begun():
    error, sent = play([], size=2 * 1024**3 + 1)
    assert isinstance(error, InputError)
    assert "AGB-I20 2.00 GiB are to be uploaded" in str(error)
    assert sent == []


def test_a_start_without_session_is_refused():
    error, _ = play([ApiAnswer(200, {})])
    assert "X-Goog-Upload-URL" in str(error)


def test_a_stored_session_is_asked_first_and_gets_only_what_it_lacks():
    file, sent = play([has(BLOCK_BYTES), FINAL], script=resume_upload(SESSION, SIZE, "d"))
    assert file.name == "files/abc"
    assert sent == [("query", None, 0), ("upload, finalize", BLOCK_BYTES, 5)]


def test_a_stored_session_that_was_finished_makes_no_second_file():
    file, sent = play([FINAL], script=resume_upload(SESSION, SIZE, "d"))
    assert file.name == "files/abc"
    assert sent == [("query", None, 0)]


@pytest.mark.parametrize("status", [404, 410])
def test_a_stored_session_that_is_gone_is_an_error_of_the_api(status):
    error, sent = play([ApiAnswer(status, {})], script=resume_upload(SESSION, SIZE, "d"))
    assert isinstance(error, ApiError)
    assert len(sent) == 1
