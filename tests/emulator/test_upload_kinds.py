"""Uploads of one request, protocols that are not served, and the kinds of files that are taken."""

from __future__ import annotations

import base64
import hashlib
import json

import httpx
import pytest

from airflow_provider_batch.emulator import running_emulator
from airflow_provider_batch.emulator.state.limits import Limits

UPLOAD = "/upload/v1beta/files"
RAW = {"X-Goog-Upload-Protocol": "raw", "Content-Type": "application/jsonl"}
MULTIPART = {"X-Goog-Upload-Protocol": "multipart", "Content-Type": "multipart/related; boundary=frontier"}


def related(file: dict, content: bytes, content_type: str = "text/plain") -> bytes:
    """Two parts, as curl and Google's older clients send them."""
    head = f"--frontier\r\nContent-Type: application/json; charset=utf-8\r\n\r\n{json.dumps({'file': file})}\r\n"
    return (
        head.encode()
        + f"--frontier\r\nContent-Type: {content_type}\r\n\r\n".encode()
        + content
        + b"\r\n--frontier--\r\n"
    )


def told(file: dict) -> tuple[str | None, str, str]:
    return file.get("displayName"), file["mimeType"], file["sizeBytes"]


def test_raw_upload_makes_a_file_of_the_body(api) -> None:
    headers = {**RAW, "X-Goog-Upload-File-Name": "rows.jsonl"}

    file = api.post(UPLOAD, headers=headers, content=b"12345").json()["file"]

    assert told(file) == ("rows.jsonl", "application/jsonl", "5")
    assert api.get(f"/v1beta/{file['name']}").json() == file


@pytest.mark.parametrize(
    "headers", [{"X-Goog-Upload-Header-Content-Type": "text/csv"}, {"X-Goog-Upload-Content-Type": "text/csv"}]
)
def test_raw_upload_takes_its_type_from_its_own_header(api, headers) -> None:
    assert told(api.post(UPLOAD, headers={**RAW, **headers}, content=b"1").json()["file"])[1] == "text/csv"


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"\r\n", b"--frontier", b"\r\n--frontie", b"a\r\n\r\nb", bytes(range(256)) * 20_000],
    ids=["nothing", "a byte", "a line's end", "a boundary inside", "half a boundary", "a blank line", "5 MB"],
)
def test_multipart_upload_keeps_every_byte(api, content) -> None:
    file = api.post(UPLOAD, headers=MULTIPART, content=related({"display_name": "d"}, content)).json()["file"]

    assert told(file) == ("d", "text/plain", str(len(content)))
    assert base64.b64decode(file["sha256Hash"]).decode() == hashlib.sha256(content).hexdigest()


def test_multipart_upload_makes_rows_of_a_batch(api) -> None:
    body = related({"displayName": "rows", "mimeType": "application/jsonl"}, api.jsonl(api.row("a")))

    name = api.post(UPLOAD, headers=MULTIPART, content=body).json()["file"]["name"]

    assert [row["key"] for row in api.results(api.finished(api.create(name).json()["name"]))] == ["a"]


def test_protocols_are_known_by_their_older_names(api) -> None:
    raw = api.post(f"{UPLOAD}?uploadType=media", headers={"Content-Type": "text/plain"}, content=b"123")
    headers = {"Content-Type": 'multipart/related; boundary="frontier"'}
    multipart = api.post(f"{UPLOAD}?uploadType=multipart", headers=headers, content=related({}, b"1234"))

    assert [told(answer.json()["file"])[2] for answer in (raw, multipart)] == ["3", "4"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--frontier",
        b"--frontier\r\n\r\n{}\r\n--frontier--\r\n",
        b"--frontier\r\n\r\n{}\r\n--frontier\r\n\r\ndata",
        b"--frontier\r\n\r\n{}\r\n--frontier\r\n\r\ndata\r\n--frontier\r\n\r\nmore\r\n--frontier--",
        b"--frontier\r\n\r\n{'file': 1}\r\n--frontier\r\n\r\ndata\r\n--frontier--",
        b"--other\r\n\r\n{}\r\n--other\r\n\r\ndata\r\n--other--",
    ],
)
def test_broken_multipart_body_is_refused_and_leaves_nothing(api, emulator, body) -> None:
    before = set((emulator.data_dir / "uploads").glob("*.part")), len(emulator.journal())

    answer = api.post(UPLOAD, headers=MULTIPART, content=body)

    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert (set((emulator.data_dir / "uploads").glob("*.part")), len(emulator.journal())) == before


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/related", "multipart/form-data; boundary=x"]
)
def test_multipart_without_a_boundary_is_refused_by_name(api, content_type) -> None:
    answer = api.post(UPLOAD, headers={**MULTIPART, "Content-Type": content_type}, content=b"x")

    assert "multipart/related with a boundary" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Goog-Upload-Protocol": "resumable"},
        {"X-Goog-Upload-Protocol": "batch"},
        {"X-Goog-Upload-Command": "start"},
        {"X-Goog-Upload-Protocol": "raw", "X-Goog-Upload-Command": "start"},
    ],
)
def test_other_upload_is_told_which_protocols_are_served(api, headers) -> None:
    answer = api.post(UPLOAD, headers=headers, content=b"{}")

    assert answer.status_code == 400
    assert (
        "Supported are resumable, with the command start, and multipart and raw"
        in answer.json()["error"]["message"]
    )


def test_upload_of_one_request_needs_a_key(emulator) -> None:
    answer = httpx.post(f"{emulator.base_url}{UPLOAD}", headers=RAW, content=b"x")

    assert answer.json()["error"]["status"] == "PERMISSION_DENIED"


def test_upload_of_one_request_has_the_limits_of_others(connect) -> None:
    with running_emulator(limits=Limits(max_file_bytes=1000)) as small:
        answer = connect(small).post(UPLOAD, headers=MULTIPART, content=related({}, b"x" * 1001))

    assert "too large" in answer.json()["error"]["message"]


@pytest.mark.parametrize("call", ["files.upload.start", "files.upload.chunk", "files.upload.finalize"])
def test_faults_of_uploads_strike_an_upload_of_one_request(api, emulator, call) -> None:
    emulator.add_fault(call=call, action="status", status=503)

    assert [api.post(UPLOAD, headers=RAW, content=b"x").status_code for _ in range(2)] == [503, 200]


TAKEN = (
    "jsonl application/jsonl application/json application/pdf application/octet-stream text/plain text/x-python "
    "TEXT/CSV;charset=utf-8 image/png image/tiff image/svg+xml audio/mp4 video/mp4"
)


@pytest.mark.parametrize("mime_type", TAKEN.split())
def test_usual_kinds_of_files_are_taken(api, mime_type) -> None:
    assert api.upload(b"x", mimeType=mime_type)["mimeType"] == mime_type


@pytest.mark.parametrize(
    "mime_type",
    [
        "bad/mime_type",
        "png",
        "text",
        "text/",
        "/plain",
        "text/pl ain",
        "json",
        "application/x",
        "model/gltf",
        "a/b/c",
    ],
)
@pytest.mark.parametrize("place", ["body", "header", "raw", "multipart"])
def test_unsupported_kind_is_refused_in_the_words_of_the_api(api, mime_type, place) -> None:
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    headers, body = {
        "body": (start, json.dumps({"file": {"mime_type": mime_type}})),
        "header": ({**start, "X-Goog-Upload-Header-Content-Type": mime_type}, "{}"),
        "raw": ({"X-Goog-Upload-Protocol": "raw", "Content-Type": mime_type}, "x"),
        "multipart": (MULTIPART, related({}, b"x", mime_type)),
    }[place]

    answer = api.post(UPLOAD, headers=headers, content=body)

    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "code": 400,
        "message": f"Unsupported MIME type: {mime_type}",
        "status": "INVALID_ARGUMENT",
    }


def test_file_without_a_type_is_of_any_bytes(api) -> None:
    assert api.upload(b"x")["mimeType"] == "application/octet-stream"
