"""The unmodified google-genai SDK, used as the public quickstart uses it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from pydantic import ValidationError

from airflow_provider_batch.emulator import Emulator, Limits, running_emulator

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


class OnLoop:
    """A part of the SDK's async client with the blocking one's face, so that both run through the same tests."""

    def __init__(self, part: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._part, self._loop = part, loop

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._part, name)
        return self._blocking(member) if inspect.ismethod(member) else OnLoop(member, self._loop)

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            result = await method(*args, **kwargs)
            return [item async for item in result] if hasattr(result, "__aiter__") else result

        return lambda *args, **kwargs: self._loop.run_until_complete(awaited(*args, **kwargs))


@pytest.fixture(params=["v1", "v1beta", "v1 async"])
def client(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Any]:
    version, _, face = request.param.partition(" ")
    options = types.HttpOptions(base_url=emulator.base_url, api_version=version)
    with genai.Client(api_key="emulator", http_options=options) as blocking, contextlib.ExitStack() as stack:
        yield on_loop(stack, blocking) if face else blocking


@pytest.fixture(params=["blocking", "async"])
def connect_sdk(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Start a server with the options that a test names, and make the SDK's client of it."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Any:
            emulator = stack.enter_context(running_emulator(**options))
            http = types.HttpOptions(base_url=emulator.base_url)
            blocking = stack.enter_context(genai.Client(api_key="emulator", http_options=http))
            return on_loop(stack, blocking) if request.param == "async" else blocking

        yield make


def on_loop(stack: contextlib.ExitStack, blocking: genai.Client) -> OnLoop:
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    stack.callback(lambda: loop.run_until_complete(blocking.aio.aclose()))
    return OnLoop(blocking.aio, loop)


@pytest.fixture
def uploaded(client: Any, tmp_path: Path) -> types.File:
    (tmp_path / "rows.jsonl").write_text(ROWS)
    config = types.UploadFileConfig(display_name="my-requests", mime_type="jsonl")
    return client.files.upload(file=str(tmp_path / "rows.jsonl"), config=config)


def ended(client: Any, job: types.BatchJob) -> types.BatchJob:
    while not job.done:
        time.sleep(0.05)
        job = client.batches.get(name=job.name)
    return job


def inline(text: str, key: str) -> types.InlinedRequest:
    content = {"role": "user", "parts": [{"text": text}]}
    return types.InlinedRequest(contents=[content], metadata={"key": key})


def test_file_batch_is_polled_downloaded_and_read(client: Any, uploaded: types.File) -> None:
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


def test_inline_batch_returns_responses_with_their_metadata(client: Any) -> None:
    job = client.batches.create(model=MODEL, src=[inline("one", "a"), inline("two", "b")])

    responses = ended(client, job).dest.inlined_responses

    assert [(item.metadata["key"], item.response.text) for item in responses] == [
        ("a", "Answer to: one"),
        ("b", "Answer to: two"),
    ]


def test_inline_embeddings_come_back_as_vectors(client: Any) -> None:  # T4
    source = {"inlined_requests": {"contents": ["a", "b"], "config": {"output_dimensionality": 4}}}
    job = client.batches.create_embeddings(model="gemini-embedding-001", src=source)

    responses = ended(client, job).dest.inlined_embed_content_responses

    assert [len(item.response.embedding.values) for item in responses] == [4, 4]
    assert [item.response.token_count for item in responses] == [1, 1]


def test_file_embeddings_are_read_from_the_results_file(client: Any, tmp_path: Path) -> None:  # T4, T26
    (tmp_path / "e.jsonl").write_text('{"key": "x", "request": {"content": {"parts": [{"text": "x"}]}}}\n')
    file = client.files.upload(file=str(tmp_path / "e.jsonl"), config={"mime_type": "jsonl"})
    job = client.batches.create_embeddings(model="gemini-embedding-001", src={"file_name": file.name})

    row = json.loads(client.files.download(file=ended(client, job).dest.file_name))

    assert row["key"] == "x"
    assert len(row["response"]["embedding"]["values"]) == 3072


def test_list_pages_through_every_batch(client: Any) -> None:
    made = {client.batches.create(model=MODEL, src=[inline("x", "k")]).name for _ in range(5)}

    listed = {job.name for job in client.batches.list(config={"page_size": 2})}

    assert made <= listed


def test_cancelled_batch_is_reported_as_cancelled(client: Any, emulator: Emulator) -> None:
    job = client.batches.create(model=MODEL, src=[inline("x", "k")])
    emulator.force_job(job.name, state="STUCK")

    client.batches.cancel(name=job.name)

    assert client.batches.get(name=job.name).state is types.JobState.JOB_STATE_CANCELLED


def test_deleted_batch_is_not_found_any_more(client: Any) -> None:
    job = client.batches.create(model=MODEL, src=[inline("x", "k")])

    client.batches.delete(name=job.name)

    with pytest.raises(errors.ClientError, match="404 NOT_FOUND"):
        client.batches.get(name=job.name)


def test_malformed_row_surfaces_as_a_client_error(client: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"key": "a", "request": {"thinking_config": {}}}\n')
    file = client.files.upload(file=str(tmp_path / "bad.jsonl"), config={"mime_type": "jsonl"})

    with pytest.raises(errors.ClientError, match=r"Error on line 1: .*no such field: 'thinking_config'"):
        client.batches.create(model=MODEL, src=file.name)


def test_scripted_unavailability_surfaces_as_a_server_error(client: Any, emulator: Emulator) -> None:
    emulator.add_fault(call="batches.list", action="status", status=503)

    with pytest.raises(errors.ServerError, match="503 UNAVAILABLE"):
        list(client.batches.list())


def test_unknown_state_passes_through_and_is_not_done(client: Any, emulator: Emulator) -> None:  # T18
    job = client.batches.create(model=MODEL, src=[inline("x", "k")])
    emulator.force_job(job.name, state="BATCH_STATE_NEWSTATE")

    with pytest.warns(UserWarning, match="BATCH_STATE_NEWSTATE"):
        seen = client.batches.get(name=job.name)

    assert not seen.done


def test_tokens_are_counted_without_a_batch(client: Any) -> None:
    assert client.models.count_tokens(model=MODEL, contents="12345678").total_tokens == 2


HAS_TIERS = "service_tier" in types.GenerateContentConfig.model_fields


def test_a_single_call_is_answered_and_says_its_tier(client: Any) -> None:
    answer = client.models.generate_content(model=MODEL, contents="Name a moon.", config={"temperature": 0.5})

    assert answer.text == "Answer to: Name a moon."
    assert answer.usage_metadata.total_token_count == 3 + 6
    assert answer.sdk_http_response.headers["x-gemini-service-tier"] == "standard"


@pytest.mark.skipif(not HAS_TIERS, reason="this SDK knows no service tiers")
@pytest.mark.parametrize("tier", ["standard", "flex", "priority"])
def test_each_tier_is_served_and_billed_as_it_was_asked_for(client: Any, emulator: Emulator, tier: str) -> None:
    before = len(emulator.billed_calls())

    answer = client.models.generate_content(model=MODEL, contents="hi", config={"service_tier": tier})

    assert answer.sdk_http_response.headers["x-gemini-service-tier"] == tier
    assert [billed["tier"] for billed in emulator.billed_calls()[before:]] == [tier]


@pytest.mark.skipif(not HAS_TIERS, reason="this SDK knows no service tiers")
def test_a_tier_is_asked_for_and_downgraded_priority_is_seen(connect_sdk: Callable[..., Any]) -> None:
    client = connect_sdk(limits=Limits(priority_requests_per_minute=1))

    def tier_of(asked: str) -> str:
        answer = client.models.generate_content(model=MODEL, contents="hi", config={"service_tier": asked})
        return answer.sdk_http_response.headers["x-gemini-service-tier"]

    assert [tier_of(asked) for asked in ("flex", "priority", "priority")] == ["flex", "priority", "standard"]


@pytest.mark.skipif(not HAS_TIERS, reason="this SDK knows no service tiers")
def test_flex_without_capacity_is_a_server_error_that_its_retries_outlast(client: Any, emulator: Emulator) -> None:
    emulator.add_fault(call="models.generateContent", action="status", tier="flex", times=3)
    retry = types.HttpRetryOptions(attempts=3, initial_delay=0.01, max_delay=0.01, jitter=0)
    patient = {"service_tier": "flex", "http_options": {"retry_options": retry}}

    with pytest.raises(errors.ServerError, match="503 UNAVAILABLE"):
        client.models.generate_content(model=MODEL, contents="hi", config={"service_tier": "flex"})

    assert client.models.generate_content(model=MODEL, contents="hi", config=patient).text == "Answer to: hi"


@pytest.mark.skipif(not HAS_TIERS, reason="this SDK knows no service tiers")
def test_a_model_without_flex_is_a_client_error(client: Any) -> None:
    with pytest.raises(errors.ClientError, match=r"flex is not supported for models/gemini-2\.0-flash"):
        client.models.generate_content(model="gemini-2.0-flash", contents="hi", config={"service_tier": "flex"})


def test_one_call_too_many_is_a_client_error_with_a_wait(connect_sdk: Callable[..., Any]) -> None:
    client = connect_sdk(limits=Limits(requests_per_minute=1))
    client.models.generate_content(model=MODEL, contents="hi")

    with pytest.raises(errors.ClientError, match="429 RESOURCE_EXHAUSTED") as refused:
        client.models.generate_content(model=MODEL, contents="hi")

    assert any("retryDelay" in detail for detail in refused.value.details["error"]["details"])


def test_a_time_that_the_server_is_told_is_kept(connect_sdk: Callable[..., Any]) -> None:
    client = connect_sdk(call_seconds=1.5)

    with pytest.raises(errors.ServerError, match="504 DEADLINE_EXCEEDED"):
        # With a time-out of its own the SDK would give up before the server does.
        client.models.generate_content(
            model=MODEL, contents="hi", config={"http_options": {"headers": {"X-Server-Timeout": "1"}}}
        )


def test_contents_are_embedded_without_a_batch(client: Any) -> None:
    config = {"output_dimensionality": 4}

    answer = client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"], config=config)

    assert [len(embedding.values) for embedding in answer.embeddings] == [4, 4]


def test_models_say_which_of_them_do_batches(client: Any) -> None:
    model = client.models.get(model=MODEL)

    assert "batchGenerateContent" in model.supported_actions
    assert model.name in {listed.name for listed in client.models.list()}


def test_files_are_listed_got_and_deleted(client: Any, uploaded: types.File) -> None:
    assert client.files.get(name=uploaded.name).state is types.FileState.ACTIVE
    assert uploaded.name in {file.name for file in client.files.list(config={"page_size": 2})}

    client.files.delete(name=uploaded.name)

    with pytest.raises(errors.ClientError, match="403 PERMISSION_DENIED"):
        client.files.get(name=uploaded.name)


def test_inline_error_with_objects_as_details_is_too_much_for_the_sdk(
    client: Any, emulator: Emulator
) -> None:  # T46
    error = {"code": 3, "message": "bad part", "details": [{"@type": "x", "reason": "y"}]}
    emulator.add_fault(action="rows", mutation="error", keys=["k"], error=error)
    job = client.batches.create(model=MODEL, src=[inline("x", "k")])

    with pytest.raises(ValidationError, match="details"):
        ended(client, job)


def test_inline_metadata_that_is_no_text_is_too_much_for_the_sdk(client: Any, api) -> None:  # T47
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
