"""The unmodified google-genai SDK, used as the public quickstart uses it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from google import genai
from google.genai import errors, types
from pydantic import ValidationError

from airflow_provider_batch.emulator import Emulator, running_emulator

MODEL = "gemini-2.5-flash"

ROWS = """\
{"key": "request-1", "request": {"contents": [{"parts": [{"text": "Describe photosynthesis."}]}]}}
{"key": "request-2", "request": {"contents": [{"parts": [{"text": "Name the moons of Mars."}]}], \
"generation_config": {"temperature": 0.7}}}
"""

pytestmark = [
    pytest.mark.matrix,
    pytest.mark.filterwarnings("ignore:.*create_embeddings.. is experimental"),
]


@pytest.fixture(params=["v1", "v1beta"])
def client(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=emulator.base_url, api_version=request.param)
    return genai.Client(api_key="emulator", http_options=options)


@pytest.fixture
def uploaded(client: genai.Client, tmp_path: Path) -> types.File:
    (tmp_path / "rows.jsonl").write_text(ROWS)
    config = types.UploadFileConfig(display_name="my-requests", mime_type="jsonl")
    return client.files.upload(file=str(tmp_path / "rows.jsonl"), config=config)


def ended(client: genai.Client, job: types.BatchJob) -> types.BatchJob:
    while not job.done:
        time.sleep(0.05)
        job = client.batches.get(name=job.name)
    return job


def inline(text: str, key: str) -> types.InlinedRequest:
    content = {"role": "user", "parts": [{"text": text}]}
    return types.InlinedRequest(contents=[content], metadata={"key": key})


def test_file_batch_is_polled_downloaded_and_read(client: genai.Client, uploaded: types.File) -> None:
    job = client.batches.create(model=MODEL, src=uploaded.name, config={"display_name": "quickstart"})

    job = ended(client, job)

    assert job.state is types.JobState.JOB_STATE_SUCCEEDED
    lines = client.files.download(file=job.dest.file_name).decode().splitlines()
    texts = {
        row["key"]: row["response"]["candidates"][0]["content"]["parts"][0]["text"]
        for row in map(json.loads, lines)
    }
    assert texts == {
        "request-1": "Answer to: Describe photosynthesis.",
        "request-2": "Answer to: Name the moons of Mars.",
    }


def test_inline_batch_returns_responses_with_their_metadata(client: genai.Client) -> None:
    job = client.batches.create(model=MODEL, src=[inline("one", "a"), inline("two", "b")])

    responses = ended(client, job).dest.inlined_responses

    assert [(item.metadata["key"], item.response.text) for item in responses] == [
        ("a", "Answer to: one"),
        ("b", "Answer to: two"),
    ]


def test_inline_embeddings_come_back_as_vectors(client: genai.Client) -> None:  # T4
    source = {"inlined_requests": {"contents": ["a", "b"], "config": {"output_dimensionality": 4}}}
    job = client.batches.create_embeddings(model="gemini-embedding-001", src=source)

    responses = ended(client, job).dest.inlined_embed_content_responses

    assert [len(item.response.embedding.values) for item in responses] == [4, 4]


def test_file_embeddings_are_read_from_the_results_file(client: genai.Client, tmp_path: Path) -> None:  # T4, T26
    (tmp_path / "e.jsonl").write_text('{"key": "x", "request": {"content": {"parts": [{"text": "x"}]}}}\n')
    file = client.files.upload(file=str(tmp_path / "e.jsonl"), config={"mime_type": "jsonl"})
    job = client.batches.create_embeddings(model="gemini-embedding-001", src={"file_name": file.name})

    row = json.loads(client.files.download(file=ended(client, job).dest.file_name))

    assert row["key"] == "x"
    assert len(row["response"]["embedding"]["values"]) == 3072


def test_list_pages_through_every_batch(client: genai.Client) -> None:
    made = {client.batches.create(model=MODEL, src=[inline("x", "k")]).name for _ in range(5)}

    listed = {job.name for job in client.batches.list(config={"page_size": 2})}

    assert made <= listed


def test_cancelled_batch_is_reported_as_cancelled(client: genai.Client, emulator: Emulator) -> None:
    job = client.batches.create(model=MODEL, src=[inline("x", "k")])
    emulator.force_job(job.name, state="STUCK")

    client.batches.cancel(name=job.name)

    assert client.batches.get(name=job.name).state is types.JobState.JOB_STATE_CANCELLED


def test_deleted_batch_is_not_found_any_more(client: genai.Client) -> None:
    job = client.batches.create(model=MODEL, src=[inline("x", "k")])

    client.batches.delete(name=job.name)

    with pytest.raises(errors.ClientError, match="404 NOT_FOUND"):
        client.batches.get(name=job.name)


def test_malformed_row_surfaces_as_a_client_error(client: genai.Client, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"key": "a", "request": {"thinking_config": {}}}\n')
    file = client.files.upload(file=str(tmp_path / "bad.jsonl"), config={"mime_type": "jsonl"})

    with pytest.raises(errors.ClientError, match=r"Error on line 1: .*no such field: 'thinking_config'"):
        client.batches.create(model=MODEL, src=file.name)


def test_scripted_unavailability_surfaces_as_a_server_error(client: genai.Client, emulator: Emulator) -> None:
    emulator.add_fault(call="batches.list", action="status", status=503)

    with pytest.raises(errors.ServerError, match="503 UNAVAILABLE"):
        list(client.batches.list())


def test_unknown_state_passes_through_and_is_not_done(client: genai.Client, emulator: Emulator) -> None:  # T18
    job = client.batches.create(model=MODEL, src=[inline("x", "k")])
    emulator.force_job(job.name, state="BATCH_STATE_NEWSTATE")

    with pytest.warns(UserWarning, match="BATCH_STATE_NEWSTATE"):
        seen = client.batches.get(name=job.name)

    assert not seen.done


def test_seventeen_megabytes_go_up_in_three_chunks(
    client: genai.Client, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "large.bin").write_bytes(b"x" * 17_000_000)
    before = len(emulator.requests())

    file = client.files.upload(file=str(tmp_path / "large.bin"), config={"mime_type": "text/plain"})

    assert file.size_bytes == 17_000_000
    calls = [request["call"] for request in emulator.requests()[before:]]
    assert calls == ["files.upload.start", *["files.upload.chunk"] * 3]


@pytest.mark.parametrize("size", [0, 8 * 1024 * 1024], ids=["empty file", "exactly one chunk"])
def test_small_file_needs_a_single_finalizing_chunk(client: genai.Client, tmp_path: Path, size: int) -> None:
    (tmp_path / "small.bin").write_bytes(b"x" * size)

    file = client.files.upload(file=str(tmp_path / "small.bin"), config={"mime_type": "text/plain"})

    assert (file.size_bytes or 0) == size
    assert file.state is types.FileState.ACTIVE


def test_tokens_are_counted_without_a_batch(client: genai.Client) -> None:
    assert client.models.count_tokens(model=MODEL, contents="12345678").total_tokens == 2


def test_models_say_which_of_them_do_batches(client: genai.Client) -> None:
    model = client.models.get(model=MODEL)

    assert "batchGenerateContent" in model.supported_actions
    assert model.name in {listed.name for listed in client.models.list()}


def test_files_are_listed_got_and_deleted(client: genai.Client, uploaded: types.File) -> None:
    assert client.files.get(name=uploaded.name).state is types.FileState.ACTIVE
    assert uploaded.name in {file.name for file in client.files.list(config={"page_size": 2})}

    client.files.delete(name=uploaded.name)

    with pytest.raises(errors.ClientError, match="403 PERMISSION_DENIED"):
        client.files.get(name=uploaded.name)


def test_chunk_that_stays_unavailable_ends_the_upload(emulator: Emulator, tmp_path: Path) -> None:  # T38
    (tmp_path / "small.txt").write_text("x")
    emulator.add_fault(call="files.upload.chunk", action="status", status=503, times=None)
    options = types.HttpOptions(base_url=emulator.base_url)

    with (
        genai.Client(api_key="emulator", http_options=options) as client,
        pytest.raises(errors.ServerError, match="503"),
    ):
        client.files.upload(file=str(tmp_path / "small.txt"), config={"mime_type": "text/plain"})


def test_inline_error_with_objects_as_details_is_too_much_for_the_sdk(
    client: genai.Client, emulator: Emulator
) -> None:  # T46
    error = {"code": 3, "message": "bad part", "details": [{"@type": "x", "reason": "y"}]}
    emulator.add_fault(action="rows", mutation="error", keys=["k"], error=error)
    job = client.batches.create(model=MODEL, src=[inline("x", "k")])

    with pytest.raises(ValidationError, match="details"):
        ended(client, job)


def test_inline_metadata_that_is_no_text_is_too_much_for_the_sdk(client: genai.Client, api) -> None:  # T47
    row = {"request": {"contents": [{"parts": [{"text": "x"}]}]}, "metadata": {"key": 1}}
    name = api.finished(api.create_inline(row).json()["name"])["name"]

    with pytest.raises(ValidationError, match="metadata"):
        client.batches.get(name=name)


def test_key_that_is_not_known_is_a_client_error() -> None:
    with running_emulator(api_keys=["right"]) as emulator:
        options = types.HttpOptions(base_url=emulator.base_url)
        with (
            genai.Client(api_key="wrong", http_options=options) as client,
            pytest.raises(errors.ClientError, match="400 INVALID_ARGUMENT"),
        ):
            client.batches.get(name="batches/x")


def test_async_client_does_the_same_from_upload_to_results(client: genai.Client, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(ROWS)

    async def run() -> list[str]:
        batches, files = client.aio.batches, client.aio.files
        file = await files.upload(file=str(tmp_path / "rows.jsonl"), config={"mime_type": "jsonl"})
        job = await batches.create(model=MODEL, src=file.name, config={"display_name": "async"})
        while not (job := await batches.get(name=job.name)).done:  # noqa: ASYNC110 (there is nothing to await)
            await asyncio.sleep(0.05)
        content = await files.download(file=job.dest.file_name)
        assert job.name in {listed.name async for listed in await batches.list(config={"page_size": 2})}
        await batches.delete(name=job.name)
        await files.delete(name=file.name)
        with pytest.raises(errors.ClientError, match="404"):
            await batches.cancel(name=job.name)
        return [json.loads(line)["key"] for line in content.splitlines()]

    assert asyncio.run(run()) == ["request-1", "request-2"]
