"""Requests that no client should send: every one is refused in the form of the API, and nothing breaks."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from airflow_provider_batch.emulator import Emulator, running_emulator

KEY = {"x-goog-api-key": "test-key"}
START = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
GENERATE = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
EMBED = "/v1/models/gemini-embedding-001:asyncBatchEmbedContent"
ONE = "/v1beta/models/gemini-2.5-flash:generateContent"
EMBED_ONE = "/v1/models/gemini-embedding-2:embedContent"
EMBED_SOME = "/v1beta/models/gemini-embedding-001:batchEmbedContents"
COUNT = "/v1beta/models/gemini-2.5-flash:countTokens"
UPLOAD = "/upload/v1beta/files"
BATCH = "/v1beta/batches/BATCH"
UPDATE = f"{BATCH}:updateGenerateContentBatch?updateMask=priority,displayName"

NO_JSON = [
    b"{", b"nonsense", b"'a'", b"\xff\xfe", b"\x00", b"\xef\xbb\xbf{}", b"NaN", b"1e999", b"[" * 100_000,
    b'{"a":' * 5_000,
    b'{"batch": "\\ud800"}', b"<xml/>", b"{}{}", b'{"batch": ' + b"9" * 5_000 + b"}",
]  # fmt: skip
NO_MESSAGE = [b"[]", b"1", b'"text"', b"true", b"[{}]"]
WRONG: list[Any] = [1, -1.5, "text", True, [], [1], ["x"], [[]], {"unknown": 1}, {"requests": {}}, 10**30, ""]
NO_NUMBER = ["-1", "1e3", "abc", "²", "9" * 5_000, "1.5", "0x10", " ", "١x"]
ROW = {"request": {"contents": [{"parts": [{"text": "x"}]}]}}


class Bad(NamedTuple):
    """One request that must be refused."""

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012


def bad_bodies() -> Iterator[Bad]:
    for path, body in itertools.product(
        (GENERATE, EMBED, COUNT, ONE, EMBED_ONE, EMBED_SOME), NO_JSON + NO_MESSAGE
    ):
        yield Bad("POST", path, body)
    for body in NO_JSON + NO_MESSAGE:
        yield Bad("PATCH", UPDATE, body)
        yield Bad("POST", UPLOAD, body, START)


def with_wrong_types() -> Iterator[Bad]:
    for value in WRONG:
        yield Bad("POST", GENERATE, encoded(value))
        yield Bad("POST", UPLOAD, encoded({"file": [value]}), START)
        yield Bad("POST", UPLOAD, encoded({"file": {"sizeBytes": [value]}}), START)
        for path, field in itertools.product((GENERATE, EMBED), ("batch", "inputConfig", "fileName", "requests")):
            yield Bad("POST", path, encoded(batch_with(field, value)))
        for field in ("request", "contents"):
            yield Bad("POST", GENERATE, encoded(inline_with(field, value)))
        # Metadata is any object.
        yield Bad("POST", GENERATE, encoded(inline_with("metadata", [value])))
        yield Bad("POST", COUNT, encoded({"contents": value}))
        yield Bad("POST", ONE, encoded({"contents": value}))
        yield Bad("POST", ONE, encoded({**ROW["request"], "serviceTier": value}))
        yield Bad("POST", EMBED_ONE, encoded({"content": value}))
        yield Bad("POST", EMBED_SOME, encoded({"requests": value}))
        yield Bad("POST", EMBED_SOME, encoded({"requests": [value]}))
        yield Bad("POST", COUNT, encoded({"generateContentRequest": value}))


def batch_with(field: str, value: Any) -> Any:
    wrong = {
        "batch": value,
        "inputConfig": {"inputConfig": value},
        "fileName": {"inputConfig": {"fileName": value}},
        "requests": {"inputConfig": {"requests": {"requests": value}}},
    }
    return {"batch": wrong[field]}


def inline_with(field: str, value: Any) -> Any:
    row = {"request": {"contents": value}} if field == "contents" else {**ROW, field: value}
    return {"batch": {"inputConfig": {"requests": {"requests": [row]}}}}


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def with_bad_fields() -> Iterator[Bad]:
    rows = {"requests": {"requests": [ROW]}}
    for field, value in [
        ("priority", "high"), ("priority", 1.5), ("priority", 2**63), ("priority", {}), ("priority", "9" * 5_000),
        ("displayName", 7), ("displayName", ["d"]), ("displayName", {}), ("nonsense", 1), ("model", 5),
    ]:  # fmt: skip
        yield Bad("POST", GENERATE, encoded({"batch": {"inputConfig": rows, field: value}}))
        yield Bad("PATCH", UPDATE, encoded({field: value}))
    for config in [
        {"maxOutputTokens": "many"}, {"maxOutputTokens": 10**30}, {"maxOutputTokens": 0.5}, {"topK": "²"},
        {"temperature": "warm"}, {"thinkingConfig": {"thinkingBudget": "x"}}, {"thinkingConfig": 1},
        {"stopSequences": [1]}, {"responseLogprobs": "yes"},
    ]:  # fmt: skip
        yield Bad(
            "POST", GENERATE, encoded(inline_with("request", {**ROW["request"], "generationConfig": config}))
        )
    for dimension in (0, -1, 10**12, "x", 1.5, True):
        request = {"content": {"parts": [{"text": "x"}]}, "outputDimensionality": dimension}
        yield Bad(
            "POST", EMBED, encoded({"batch": {"inputConfig": {"requests": {"requests": [{"request": request}]}}}})
        )
    for mask in ("", "state", "*", "priority,state", "priority..", ",", "%00", "%ff", "a" * 5_000):
        yield Bad("PATCH", f"{BATCH}:updateGenerateContentBatch?updateMask={mask}", b"{}")


def odd_paths() -> Iterator[Bad]:
    names = [
        "%", "%zz", "%ff%fe", "%00", "%2e%2e%2f%2e%2e%2fetc", "..%5c", "a%2Fb", "a/b", "%e2%80%a8", "-", "A",
        "x" * 5_000,
        "BATCH:", ":cancel", "BATCH:explode", "BATCH:cancel:cancel", "none", "a%20b", "%25", "%0d%0aX:%201",
        "batches/BATCH",
    ]  # fmt: skip
    collections = ("batches", "files", "models")
    for collection, name, method in itertools.product(collections, names, ("GET", "DELETE", "POST", "PATCH")):
        yield Bad(method, f"/v1beta/{collection}/{name}")
    for path in (
        "/", "//", "/v1", "/v1beta/", "/v2/batches", "/v1gamma/files", "/v1//batches", "/v1/batches/",
        "/v1/files/",
        "/upload", "/upload/v1beta", "/upload/v1beta/files/x", "/download/v1beta/files/x", "/v1beta/batch",
        "/%76%31/none",
        "/v1beta/models/none:batchGenerateContent", "/v1beta/models/gemini-2.5-flash:asyncBatchEmbedContent",
        "/v1beta/models/gemini-2.5-flash:", "/v1beta/models/:batchGenerateContent", "/v1beta/tunedModels",
        "/v1/%ff",
    ):  # fmt: skip
        for method in ("GET", "POST"):
            yield Bad(method, path, b"{}")
    for method in ("PUT", "PATCH", "OPTIONS", "TRACE", "DELETE"):
        for path in ("/v1beta/batches", "/v1beta/files", GENERATE, UPLOAD, BATCH):
            if (method, path) != ("DELETE", BATCH):
                yield Bad(method, path)


def bad_queries() -> Iterator[Bad]:
    for path, number in itertools.product(("/v1/batches", "/v1beta/files", "/v1/models"), NO_NUMBER):
        yield Bad("GET", f"{path}?pageSize={quoted(number)}")
    tokens = ["²", "%ff", "====", "!", "x" * 5_000, "-1", "99999999999999999999", "YWJj"]
    for path, token in itertools.product(("/v1/batches", "/v1beta/files", "/v1/models"), tokens):
        yield Bad("GET", f"{path}?pageToken={quoted(token)}")


def quoted(text: str) -> str:
    return "".join(character if character.isascii() else "%c2%b2" for character in text).replace(" ", "%20")


def bad_uploads() -> Iterator[Bad]:
    session = f"{UPLOAD}?upload_id=SESSION"
    for command in (
        "",
        "explode",
        "upload, query",
        "start, finalize",
        "query, cancel",
        "finalize, finalize, x",
        "\xb2",
        ",",
    ):
        yield Bad("POST", session, b"x", {"X-Goog-Upload-Command": command})
    for offset in (*NO_NUMBER, "5", "-0"):
        text = offset.encode("utf-8").decode("latin-1")
        yield Bad("POST", session, b"x", {"X-Goog-Upload-Command": "upload", "X-Goog-Upload-Offset": text})
    for size in (*NO_NUMBER, str(2**31 + 1)):
        text = size.encode("utf-8").decode("latin-1")
        yield Bad("POST", UPLOAD, b"{}", {**START, "X-Goog-Upload-Header-Content-Length": text})
    for upload_id in ("", "none", "%00", "%ff", "..%2f", "x" * 5_000):
        for command in ("upload", "finalize", "query", "cancel"):
            yield Bad("POST", f"{UPLOAD}?upload_id={upload_id}", b"x", {"X-Goog-Upload-Command": command})
    for protocol in ("", "multipart", "raw", "RESUMABLE "):
        yield Bad("POST", UPLOAD, b"{}", {**START, "X-Goog-Upload-Protocol": protocol})
    for name in (
        "files/",
        "files/A",
        "files/../x",
        "files/a/b",
        "-",
        "files/" + "a" * 41,
        "files/a\x00",
        "files/é",
    ):
        yield Bad("POST", UPLOAD, encoded({"file": {"name": name}}), START)
    yield Bad("POST", UPLOAD, encoded({"file": {"displayName": "d" * 513}}), START)


def bad_credentials() -> Iterator[Bad]:
    for headers in (
        {}, {"x-goog-api-key": ""}, {"Authorization": "Bearer"}, {"Authorization": "Basic YTpi"},
        {"Authorization": "\xff"},
    ):  # fmt: skip
        for path in ("/v1/batches", "/v1beta/files/none", "/v1/models?key="):
            yield Bad("GET", path, headers={"x-goog-api-key": "", **headers})


def bad_webhooks() -> Iterator[Bad]:
    path = "/v1/webhooks"
    for body in NO_JSON + NO_MESSAGE:
        yield Bad("POST", path, body)
    for value in [*WRONG, "ftp://x", "http://["]:
        yield Bad("POST", path, encoded({"uri": value, "subscribed_events": ["batch.failed"]}))
        yield Bad("POST", path, encoded({"uri": "http://127.0.0.1:9", "subscribed_events": value}))
        yield Bad("POST", path, encoded({"uri": "http://127.0.0.1:9", "subscribed_events": [value]}))
    for method, call in [("GET", "none"), ("DELETE", "%ff"), ("POST", "none:rotateSigningSecret"), ("PATCH", "x")]:
        yield Bad(method, f"{path}/{call}")


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with running_emulator(job_seconds=1e6) as running:
        yield running


@pytest.mark.parametrize(
    "requests",
    [
        bad_bodies,
        with_wrong_types,
        with_bad_fields,
        odd_paths,
        bad_queries,
        bad_uploads,
        bad_credentials,
        bad_webhooks,
    ],
    ids=lambda requests: requests.__name__,
)
def test_malformed_request_is_refused_in_the_form_of_the_api(server, connect, requests) -> None:
    api = connect(server)
    batch = api.create_inline(api.inline_row("a")).json()["name"].removeprefix("batches/")
    session = api.start_upload(4).partition("upload_id=")[2].partition("&")[0]
    before = state_of(server)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    wrong = []

    for bad in requests():
        path = bad.path.replace("BATCH", batch).replace("SESSION", session)
        status, content = answered(connection, bad._replace(path=path))
        if not is_refusal(status, content):
            wrong.append((bad.method, bad.path[:80], bad.body[:80], bad.headers, status, content[:200]))

    assert wrong == []
    assert state_of(server) == before


def answered(connection: http.client.HTTPConnection, bad: Bad) -> tuple[int, bytes]:
    try:
        # Not httpx, which would mend the path.
        connection.request(bad.method, bad.path, bad.body, {**KEY, **bad.headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except ConnectionError as dropped:
        connection.close()
        return 0, repr(dropped).encode()


def is_refusal(status: int, content: bytes) -> bool:
    try:
        error = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return 400 <= status < 500 and error["code"] == status and bool(error["message"]) and error["status"].isupper()


def state_of(server: Emulator) -> list[Any]:
    """What was accepted; the sessions of uploads do not count."""
    return [call for call in server.journal() if call["call"] != "files.upload.start"]
