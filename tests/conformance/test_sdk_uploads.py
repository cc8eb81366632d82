"""How the unmodified SDK sends large files and bears trouble with a chunk: offsets and headers on the wire."""

from __future__ import annotations

import asyncio

import pytest
from google import genai
from google.genai import errors, types

MIB_8 = 8_388_608


@pytest.fixture(params=["blocking", "async"])
def upload(request, recording, tmp_path):
    """Upload so many bytes with the SDK, through the recording proxy."""

    def send(size):
        path = tmp_path / "file.bin"
        path.write_bytes(b"x" * size)
        options = types.HttpOptions(base_url=recording.base_url)
        with genai.Client(api_key="the-key", http_options=options) as client:
            if request.param == "blocking":
                return client.files.upload(file=str(path), config={"mime_type": "text/plain"})
            return asyncio.run(_on_loop(client, path))

    return send


async def _on_loop(client, path):
    file = await client.aio.files.upload(file=str(path), config={"mime_type": "text/plain"})
    await client.aio.aclose()
    return file


def chunks(recording):
    """Command, offset, bytes and status of every request after the start of the upload."""
    return [
        (
            exchange.headers["x-goog-upload-command"],
            int(exchange.headers["x-goog-upload-offset"]),
            exchange.size_bytes,
            exchange.status,
        )
        for exchange in recording.exchanges[1:]
    ]


@pytest.mark.matrix
def test_seventeen_megabytes_go_up_in_three_chunks_without_the_key(upload, recording):  # T35
    file = upload(17_000_000)

    assert file.size_bytes == 17_000_000
    start = recording.exchanges[0]
    assert start.headers["x-goog-upload-command"] == "start"
    assert start.headers["x-goog-upload-header-content-length"] == "17000000"
    assert start.headers["x-goog-api-key"] == "the-key"
    assert chunks(recording) == [
        ("upload", 0, MIB_8, 200),
        ("upload", 8_388_608, MIB_8, 200),
        ("upload, finalize", 16_777_216, 222_784, 200),
    ]
    assert all("x-goog-api-key" not in exchange.headers for exchange in recording.exchanges[1:])


@pytest.mark.matrix
@pytest.mark.parametrize("size", [0, MIB_8], ids=["empty file", "exactly one chunk"])
def test_small_file_needs_a_single_finalizing_chunk(upload, recording, size):  # T36
    file = upload(size)

    assert (file.size_bytes or 0, file.state) == (size, types.FileState.ACTIVE)
    assert chunks(recording) == [("upload, finalize", 0, size, 200)]


@pytest.mark.matrix
def test_chunk_that_was_unavailable_twice_is_sent_again_from_its_offset(upload, recording, gemini_emulator):  # T37
    gemini_emulator.add_fault(call="files.upload.chunk", action="status", status=503, after=1, times=2)

    file = upload(MIB_8 + 100)

    assert file.size_bytes == MIB_8 + 100
    assert chunks(recording) == [
        ("upload", 0, MIB_8, 200),
        ("upload, finalize", 8_388_608, 100, 503),
        ("upload, finalize", 8_388_608, 100, 503),
        ("upload, finalize", 8_388_608, 100, 200),
    ]


@pytest.mark.parametrize("upload", ["blocking"], indirect=True)
def test_chunk_that_stays_unavailable_ends_the_upload_after_three_tries(upload, recording, gemini_emulator):  # T38
    gemini_emulator.add_fault(call="files.upload.chunk", action="status", status=503, after=1, times=None)

    with pytest.raises(errors.ServerError, match="503 UNAVAILABLE"):
        upload(MIB_8 + 100)

    assert [(offset, status) for _, offset, _, status in chunks(recording)[1:]] == [(8_388_608, 503)] * 3


@pytest.mark.parametrize("upload", ["blocking"], indirect=True)
def test_upload_that_ends_with_an_error_in_place_of_a_file_breaks_the_sdk(
    upload, gemini_emulator
):  # T42, the variant with a final status
    gemini_emulator.add_fault(
        call="files.upload.finalize",
        action="status",
        status=200,
        headers={"x-goog-upload-status": "final"},
        body={"error": {"code": 400, "message": "Unsupported MIME type: jsonl", "status": "INVALID_ARGUMENT"}},
    )

    with pytest.raises(KeyError, match="file"):
        upload(4)
