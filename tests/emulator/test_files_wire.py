"""What a client reads and writes about files: the record, the resumable upload, the download."""

from __future__ import annotations

import base64
import hashlib
import re
import socket

import httpx
import pytest


def test_uploaded_file_has_the_published_fields(api) -> None:
    file = api.upload(b"hello", display_name="greeting", mime_type="text/plain")

    assert re.fullmatch(r"files/[a-z0-9]{12}", file["name"])
    assert {name: file[name] for name in ("displayName", "mimeType", "sizeBytes", "state", "source")} == {
        "displayName": "greeting",
        "mimeType": "text/plain",
        "sizeBytes": "5",
        "state": "ACTIVE",
        "source": "UPLOADED",
    }
    assert file["uri"] == f"{str(api.base_url).rstrip('/')}/v1beta/{file['name']}"
    assert "downloadUri" not in file


@pytest.mark.parametrize("path", ["/upload/v1/files", "/upload/v1beta/files", "/resumable/upload/v1beta/files"])
def test_upload_url_is_absolute_and_follows_the_host_header(api, path) -> None:
    headers = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start", "Host": "localhost:1234"}

    started = api.post(path, headers=headers, json={"file": {}})

    assert started.headers["x-goog-upload-url"].startswith(f"http://localhost:1234{path}?upload_id=")
    assert started.headers["x-goog-upload-status"] == "active"


def test_chunks_need_no_key_and_report_their_status(api) -> None:  # T35
    url = api.start_upload(10)

    first = api.put_bytes(url, "upload", 0, b"01234")
    last = api.put_bytes(url, "upload, finalize", 5, b"56789")

    assert first.headers["x-goog-upload-status"] == "active"
    assert last.headers["x-goog-upload-status"] == "final"
    assert last.json()["file"]["sizeBytes"] == "10"


def test_empty_file_is_one_finalizing_request(api) -> None:  # T36
    assert "sizeBytes" in api.upload(b"")


def test_cut_connection_keeps_the_bytes_that_arrived(emulator, api) -> None:  # T39
    url = api.start_upload(1000)
    emulator.add_fault(call="files.upload.chunk", action="cut", bytes=300)

    with pytest.raises(httpx.TransportError):
        api.put_bytes(url, "upload", 0, b"a" * 1000)

    query = api.put_bytes(url, "query", 0, b"")
    assert query.headers["x-goog-upload-status"] == "active"
    assert query.headers["x-goog-upload-size-received"] == "300"
    final = api.put_bytes(url, "upload, finalize", 300, b"a" * 700)
    assert final.json()["file"]["sizeBytes"] == "1000"


def test_client_that_vanishes_in_a_chunk_may_resume(emulator, api) -> None:
    url = httpx.URL(api.start_upload(1000))
    head = f"POST {url.raw_path.decode()} HTTP/1.1\r\nHost: x\r\nX-Goog-Upload-Command: upload\r\n"
    with socket.create_connection(("127.0.0.1", emulator.port)) as connection:
        connection.sendall(f"{head}X-Goog-Upload-Offset: 0\r\nContent-Length: 1000\r\n\r\n".encode() + b"b" * 400)
        # Still open: a client may ask on a second connection before it gave up the first.
        while api.put_bytes(str(url), "query", 0, b"").headers["x-goog-upload-size-received"] != "400":
            connection.sendall(b"")

    final = api.put_bytes(str(url), "upload, finalize", 400, b"b" * 600)

    assert final.json()["file"]["sizeBytes"] == "1000"


def test_query_after_a_lost_final_answer_says_final(emulator, api) -> None:  # T40
    url = api.start_upload(4, display_name="lost")
    emulator.add_fault(call="files.upload.finalize", action="accept_then_drop")

    with pytest.raises(httpx.TransportError):
        api.put_bytes(url, "upload, finalize", 0, b"data")

    assert api.put_bytes(url, "query", 0, b"").headers["x-goog-upload-status"] == "final"
    files = api.get("/v1beta/files", params={"pageSize": 100}).json()["files"]
    assert [file.get("displayName") for file in files].count("lost") == 1


@pytest.mark.parametrize("offset", [3, 9], ids=["gap", "beyond the end"])
def test_offset_beyond_the_received_bytes_is_refused(api, offset) -> None:  # T41
    url = api.start_upload(4)

    assert api.put_bytes(url, "upload", offset, b"x").status_code == 400


def test_repeated_chunk_replaces_what_was_there(api) -> None:  # T37
    url = api.start_upload(6)
    api.put_bytes(url, "upload", 0, b"abc")

    api.put_bytes(url, "upload", 0, b"abc")
    file = api.put_bytes(url, "upload, finalize", 3, b"def").json()["file"]

    expected = api.upload(b"abcdef")
    assert (file["sizeBytes"], file["sha256Hash"]) == ("6", expected["sha256Hash"])


def test_refused_mime_type_can_be_scripted(emulator, api) -> None:  # T42
    emulator.add_fault(
        call="files.upload.start", action="status", status=400, message="Unsupported MIME type: jsonl"
    )

    headers = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    answer = api.post("/upload/v1/files", headers=headers, json={"file": {"mime_type": "jsonl"}})

    assert answer.json()["error"] == {
        "code": 400,
        "message": "Unsupported MIME type: jsonl",
        "status": "INVALID_ARGUMENT",
    }


def test_size_other_than_announced_is_refused_at_the_end(api) -> None:
    url = api.start_upload(10)

    assert api.put_bytes(url, "upload, finalize", 0, b"short").status_code == 400


def test_cancelled_upload_takes_no_more_bytes(api) -> None:
    url = api.start_upload(10)

    assert api.put_bytes(url, "cancel", 0, b"").headers["x-goog-upload-status"] == "cancelled"

    assert api.put_bytes(url, "upload", 0, b"x").status_code == 400


def test_client_may_choose_the_file_id_once(api) -> None:
    assert api.upload(b"x", name="files/my-own-id")["name"] == "files/my-own-id"

    headers = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    again = api.post("/upload/v1/files", headers=headers, json={"file": {"name": "files/my-own-id"}})

    assert again.status_code == 409


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_missing_file_is_forbidden_not_unknown(api, method) -> None:  # T43
    error = api.request(method, "/v1beta/files/nothing").json()["error"]

    assert (error["code"], error["status"]) == (403, "PERMISSION_DENIED")
    assert "or it may not exist" in error["message"]


def test_uploaded_file_is_forbidden_after_two_days(slow_emulator, slow_api) -> None:  # T43
    file = slow_api.upload(slow_api.jsonl(slow_api.row("a")))

    slow_emulator.advance_clock(48 * 3600)

    assert slow_api.get(f"/v1/{file['name']}").status_code == 403
    assert slow_api.create(file["name"]).status_code == 403


def test_deleted_file_is_gone(api) -> None:
    file = api.upload(b"x")

    assert api.delete(f"/v1beta/{file['name']}").json() == {}

    assert api.get(f"/v1beta/{file['name']}").status_code == 403


def test_results_file_can_be_read_but_not_deleted(api) -> None:  # T44
    name = api.finished(api.create_from(api.row("a")).json()["name"])["response"]["responsesFile"]

    file, refusal = api.get(f"/v1beta/{name}").json(), api.delete(f"/v1beta/{name}")

    assert file["source"] == "GENERATED"
    assert file["downloadUri"].endswith(f"/v1beta/{name}:download?alt=media")
    assert refusal.status_code == 400
    assert refusal.json()["error"]["message"].startswith(
        "* DeleteFileRequest.name: File ID (name excluding 'files/') cannot be more than 40 characters."
    )


def test_uploaded_file_cannot_be_downloaded(api) -> None:
    file = api.upload(b"secret")

    assert api.get(f"/v1beta/{file['name']}:download", params={"alt": "media"}).status_code == 400


def test_range_of_a_download_is_partial_content(api) -> None:
    name = api.finished(api.create_from(api.row("a")).json()["name"])["response"]["responsesFile"]
    url = f"/v1beta/{name}:download?alt=media"

    part = api.get(url, headers={"Range": "bytes=2-4"})

    whole = api.get(url).content
    assert (part.status_code, part.content) == (206, whole[2:5])
    assert part.headers["content-range"] == f"bytes 2-4/{len(whole)}"


def test_large_upload_arrives_byte_for_byte(api) -> None:
    content = bytes(range(256)) * 40_000

    file = api.upload(content)

    digest = base64.b64decode(file["sha256Hash"]).decode()
    assert digest == hashlib.sha256(content).hexdigest()


def test_new_file_can_be_made_to_process_for_a_while(slow_emulator, slow_api) -> None:
    slow_emulator.add_fault(action="processing", seconds=60)
    file = slow_api.upload(slow_api.jsonl(slow_api.row("a")))
    refused = slow_api.create(file["name"])

    slow_emulator.advance_clock(60)

    assert (file["state"], refused.status_code) == ("PROCESSING", 400)
    assert slow_api.get(f"/v1/{file['name']}").json()["state"] == "ACTIVE"


def test_row_whose_file_is_not_there_is_an_error_of_that_row(api) -> None:
    there, gone = api.upload(b"image"), api.upload(b"image")
    api.delete(f"/v1beta/{gone['name']}")
    youtube = {"fileUri": "https://www.youtube.com/watch?v=abc"}
    rows = []
    for key, data in {
        "there": {"fileUri": there["uri"]},
        "gone": {"file_uri": gone["uri"]},
        "video": youtube,
    }.items():
        rows.append({"key": key, "request": {"contents": [{"parts": [{"text": "What?"}, {"fileData": data}]}]}})

    results = api.results(api.finished(api.create_from(*rows).json()["name"]))

    errors = {row["key"]: row.get("error") for row in results}
    assert (errors["there"], errors["video"]) == (None, None)
    assert errors["gone"]["code"] == 7
    assert f"the File {gone['name'].removeprefix('files/')} or it may not exist" in errors["gone"]["message"]
