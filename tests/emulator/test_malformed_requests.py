"""Whatever it is sent, it answers with an error in the API's form, and never with a fault of its own."""

from __future__ import annotations

import itertools
import random

import pytest

MODEL = "/v1beta/models/gemini-2.5-flash"
PATHS = [
    f"{MODEL}:batchGenerateContent",
    "/v1beta/models/gemini-embedding-001:asyncBatchEmbedContent",
    f"{MODEL}:countTokens",
    "/v1beta/batches/x:cancel",
    "/v1beta/batches/x:updateGenerateContentBatch",
    "/upload/v1beta/files",
    "/upload/v1beta/files?upload_id=nobody",
    "/v1beta/files",
    "/v1beta/batches",
    "/v1/nowhere",
    "/",
    "/v1beta/batches/%00%ff",
    "/v1beta/files/..%2f..%2fetc:download?alt=media",
    "/v1beta/models/%F0%9F%A7%AA",
]
BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'"batch"',
    b'{"batch": 1}',
    b'{"batch": []}',
    b'{"batch": {"inputConfig": 1}}',
    b'{"batch": {"inputConfig": {"fileName": 7}}}',
    b'{"batch": {"inputConfig": {"fileName": {"a": 1}}}}',
    b'{"batch": {"inputConfig": {"requests": 1}}}',
    b'{"batch": {"inputConfig": {"requests": {"requests": {"a": 1}}}}}',
    b'{"batch": {"inputConfig": {"requests": {"requests": [1, null, []]}}}}',
    b'{"batch": {"inputConfig": {"requests": {"requests": [{"request": {"contents": 1}}]}}}}',
    b'{"batch": {"inputConfig": {"requests": {"requests": [{"request": {"contents": [{"parts": [1]}]}}]}}}}',
    b'{"batch": {"inputConfig": {"requests": {"requests": [{"request": {"contents": [1]}, "metadata": 3}]}}}}',
    b'{"batch": {"displayName": [1], "priority": {}, "inputConfig": {"fileName": "files/none"}}}',
    b'{"request": {"contents": [{"parts": [{"text": "x"}]}]}, "metadata": 3}',
    b'{"contents": "x"}',
    b'{"contents": [{"parts": [[]]}]}',
    b'{"generateContentRequest": 4}',
    b'{"file": 3}',
    b'{"file": {"name": "../../x", "displayName": 9}}',
    b"[" * 5000,
    b'{"batch": {"priority": 1e400}}',
]
UPLOADS = [
    {},
    {"X-Goog-Upload-Command": "start"},
    {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": "x",
    },
    {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": "-1",
    },
    {"X-Goog-Upload-Command": "upload", "X-Goog-Upload-Offset": "99999999999999999999"},
    {"X-Goog-Upload-Command": "dance"},
]
QUERIES = [
    {"pageSize": "-1"},
    {"pageSize": "x"},
    {"pageSize": "9" * 40},
    {"pageToken": "@@@"},
    {"pageToken": "MSBi"},
    {"updateMask": ","},
]


def is_an_answer_of_the_api(answer) -> bool:
    if answer.status_code < 400:
        return answer.status_code == 200
    error = answer.json()["error"]
    return (
        answer.status_code < 500
        and error["code"] == answer.status_code
        and bool(error["message"] and error["status"])
    )


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_no_malformed_request_is_a_fault_of_the_server(api, method) -> None:
    bad = []
    for path, body in itertools.product(PATHS, BODIES):
        answer = api.request(method, path, content=body)
        if not is_an_answer_of_the_api(answer):
            bad.append((path, body[:80], answer.status_code, answer.text[:200]))
    assert bad == []


def test_no_malformed_upload_or_query_is_a_fault_of_the_server(api) -> None:
    bad = []
    for path, headers, query in itertools.product(PATHS, UPLOADS, QUERIES):
        method = random.Random(path + str(headers)).choice(["GET", "POST", "PUT"])
        answer = api.request(method, path, headers=headers, params=query, content=b"{}")
        if not is_an_answer_of_the_api(answer):
            bad.append((method, path, headers, query, answer.status_code, answer.text[:200]))
    assert bad == []


def test_no_malformed_row_of_a_file_is_a_fault_of_the_server(api) -> None:
    bad = []
    for body in BODIES:
        if not body.strip():
            continue
        answer = api.create(api.upload(body)["name"])
        if answer.status_code != 400 or "line 1" not in answer.json()["error"]["message"]:
            bad.append((body[:80], answer.status_code, answer.text[:200]))
    assert bad == []
