"""Our requests and the emulator's answers, held against the API's published document.

The document is not part of the project. Point ``GEMINI_OPENAPI`` at a copy (an OpenAPI 3.0 JSON of the Generative
Language API, revision 20251218) to run these tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from google import genai
from google.genai import types
from upath import UPath

from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.emulator import Limits, running_emulator
from airflow_provider_batch.errors import ApiError, JobTimeoutError
from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from airflow_provider_batch.gemini.wire import InlineRequest
from faults.task import Task
from tests.conformance.document import DEVIATIONS, Document
from tests.conformance.recording import Exchange, recorded

BESIDE = Path(__file__).parents[2].parent / "shared" / "reference" / "gemini_openapi_subset.json"
DOCUMENT = Path(os.environ.get("GEMINI_OPENAPI", BESIDE))

pytestmark = [
    pytest.mark.skipif(
        not DOCUMENT.exists(), reason="the API's OpenAPI document is not here; set GEMINI_OPENAPI to its path"
    ),
    pytest.mark.filterwarnings("ignore:.*create_embeddings.. is experimental"),
]

MODEL, EMBEDDER = "gemini-2.5-flash", "gemini-embedding-001"
ASK = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"temperature": 0.5}}
SPELLED = {
    "contents": [{"parts": [{"text": "hi"}, {"inline_data": {"mime_type": "image/png", "data": "aGk="}}]}],
    "system_instruction": {"parts": [{"text": "be brief"}]},
    "generation_config": {
        "max_output_tokens": 50,
        "thinking_config": {"thinking_budget": 8},
        "response_mime_type": "application/json",
        "response_schema": {"type": "OBJECT", "properties": {"snake_key": {"type": "STRING"}}},
    },
}
EMBED = {"content": {"parts": [{"text": "hi"}]}, "outputDimensionality": 8}
ROWS = b"".join(json.dumps({"key": key, "request": ASK}).encode() + b"\n" for key in "ab")


def drive(client, emulator):
    """Every call of the client, once well and where it is easy once badly."""
    wait = lambda name: _until_done(client, name)  # noqa: E731
    file = client.upload_file(BytesIO(ROWS), len(ROWS), "rows")
    client.wait_for_file(file.name)
    client.resume_upload(client.start_upload(len(ROWS), "again"), BytesIO(ROWS), len(ROWS), "again")
    done = wait(client.create_batch(MODEL, "from a file", file_name=file.name, priority=5).name)
    client.download_file(done.output.responses_file, BytesIO())
    emulator.add_fault(action="rows", mutation="error", keys=["b"])
    wait(client.create_batch(MODEL, "inline", requests=[InlineRequest(request=ASK, key=key) for key in "ab"]).name)
    vectors = client.create_batch(EMBEDDER, "e", requests=[InlineRequest(request=EMBED, key="a")], embeddings=True)
    wait(vectors.name)
    emulator.add_fault(action="job", state="STUCK")
    stuck = client.create_batch(MODEL, "stuck", file_name=file.name)
    client.update_batch(stuck.name, priority=-1, display_name="new name")
    client.update_batch(vectors.name, display_name="vectors", embeddings=True)
    client.cancel_batch(stuck.name)
    client.get_batch(stuck.name)
    emulator.add_fault(action="job", state="FAILED")
    wait(client.create_batch(MODEL, "failed", file_name=file.name).name)
    assert len(list(client.list_batches(page_size=2))) == 5
    assert len(list(client.list_files(page_size=2))) >= 2
    assert list(client.list_models(page_size=5))
    client.get_model(MODEL)
    client.get_file(file.name)
    client.count_tokens(MODEL, ASK)
    for tier in ("standard", "flex"):
        client.generate_content(MODEL, ASK, tier=tier)
    client.delete_batch(stuck.name)
    client.delete_file(file.name)
    with pytest.raises(ApiError):
        client.get_file(file.name)
    with pytest.raises(ApiError):
        client.create_batch(MODEL, "refused", file_name=file.name)


def _until_done(client, name):
    while not (batch := client.get_batch(name)).done:
        time.sleep(0.05)
    return batch


def by_our_client(address, emulator):
    """What the blocking client sends."""
    with GeminiClient(Endpoint(ApiKey("k"), base_url=address)) as client:
        drive(client, emulator)


def by_our_async_client(address, emulator):
    """What the async client sends, of a job that the blocking one has created."""
    emulator.add_fault(action="job", state="STUCK")
    with GeminiClient(Endpoint(ApiKey("k"), base_url=address, api_version="v1")) as client:
        stuck = client.create_batch(MODEL, "stuck", requests=[InlineRequest(request=ASK, key="a")])

    async def wait_and_end():
        async with AsyncGeminiClient(Endpoint(ApiKey("k"), base_url=address, api_version="v1")) as client:
            pages = [list(page) async for page in client.list_batch_pages(page_size=2)]
            await client.cancel_batch(stuck.name)
            await client.generate_content(MODEL, SPELLED, tier="flex")
            return pages, await client.get_batch(stuck.name)

    pages, job = asyncio.run(wait_and_end())
    assert ([[one.name for one in page] for page in pages], job.name) == ([[stuck.name]], stuck.name)


def by_the_operator(address, emulator):
    """What a task sends that submits, adopts, waits and lands, with rows in snake_case."""
    with TemporaryDirectory() as folder:
        rows = [{"key": "a", "request": ASK}, {"key": "b", "request": SPELLED}]
        task = Task(address, UPath(folder), rows)
        task.attempt()
        task.finish()
        stopped = Task(address, UPath(folder) / "stopped", rows, identity=Identity("dag", "task", "stopped"))
        emulator.add_fault(action="job", state="STUCK")
        emulator.add_fault(call="batches.create", action="accept_then_drop")
        with pytest.raises(JobTimeoutError):
            stopped.but(timeout_s=0.5, at_timeout="cancel").finish()


def by_the_sdk(address, emulator):
    """What the official SDK sends; this shows that the check is not stricter than the API."""
    with (
        TemporaryDirectory() as folder,
        genai.Client(api_key="k", http_options=types.HttpOptions(base_url=address)) as client,
    ):
        (Path(folder) / "rows.jsonl").write_bytes(ROWS)
        file = client.files.upload(file=f"{folder}/rows.jsonl", config={"mime_type": "application/jsonl"})
        inline = types.InlinedRequest(contents="hi", metadata={"key": "a"}, config={"temperature": 0.5})
        jobs = [
            client.batches.create(model=MODEL, src=file.name),
            client.batches.create(model=MODEL, src=[inline]),
        ]
        for source in (
            {"inlined_requests": {"contents": ["a", "b"], "config": {"output_dimensionality": 4}}},
            {"file_name": _embedding_rows(client, folder).name},
        ):
            jobs.append(client.batches.create_embeddings(model=EMBEDDER, src=source))
        for job in jobs:
            while not client.batches.get(name=job.name).done:
                time.sleep(0.05)
        client.models.count_tokens(model=MODEL, contents="hi")
        for config in ({"temperature": 0.5}, {"service_tier": "flex"}):
            client.models.generate_content(model=MODEL, contents="hi", config=config)
        client.models.embed_content(model=EMBEDDER, contents=["a", "b"])
        client.models.get(model=MODEL)
        list(client.batches.list(config={"page_size": 1}))
        list(client.files.list())
        client.batches.cancel(name=jobs[0].name)
        client.batches.delete(name=jobs[0].name)
        client.files.delete(name=file.name)


def _embedding_rows(client, folder):
    path = Path(folder) / "e.jsonl"
    path.write_text(json.dumps({"key": "a", "request": EMBED}) + "\n")
    return client.files.upload(file=str(path), config={"mime_type": "application/jsonl"})


def by_hand(address, emulator):
    """Every kind of answer that no client of ours provokes: the states, the refusals, the limits."""
    with httpx.Client(base_url=address, headers={"x-goog-api-key": "k"}) as client:
        create = f"/v1beta/models/{MODEL}:batchGenerateContent"
        rows = [{"request": ASK, "metadata": {"key": "a"}}, {"request": SPELLED, "metadata": {"key": "b"}}]
        body = {"batch": {"displayName": "d", "inputConfig": {"requests": {"requests": rows}}}}
        for state in ("SUCCEEDED", "FAILED", "EXPIRED", "CANCELLED", "STUCK"):
            name = client.post(create, json=body).json()["name"]
            emulator.force_job(name, state=state)
            client.get(f"/v1beta/{name}")
        client.post(create, json=body)
        client.post(create, json={"batch": {"displayName": "d", "inputConfig": {}}})
        bad = {"requests": {"requests": [{"request": {"contents": [], "nonsense": 1}}]}}
        client.post(create, json={"batch": {"displayName": "d", "inputConfig": bad}})
        client.post(create, content=b"{")
        client.post("/v1beta/models/gemini-0:batchGenerateContent", json=body)
        client.post("/v1/models/m:batchCreate", json={})
        for page in ("pageSize=-1", "pageSize=x", "pageToken=!"):
            client.get(f"/v1beta/batches?{page}")
        for missing in ("batches/none", "files/none", "models/none"):
            client.get(f"/v1beta/{missing}")
        client.get("/v1beta/batches", headers={"x-goog-api-key": ""})
        single = f"/v1beta/models/{MODEL}:generateContent"
        for asked in (ASK, SPELLED, {**ASK, "service_tier": "priority"}, {**ASK, "serviceTier": "none"}, {}):
            client.post(single, json=asked)
        client.post(single, json=ASK, headers={"X-Server-Timeout": "1"})
        client.post("/v1beta/models/gemini-2.0-flash:generateContent", json={**ASK, "serviceTier": "flex"})
        client.post(f"/v1beta/models/{EMBEDDER}:embedContent", json=EMBED)
        client.post(f"/v1beta/models/{EMBEDDER}:batchEmbedContents", json={"requests": [EMBED]})
        client.post(f"/v1beta/models/{EMBEDDER}:batchEmbedContents", json={"requests": []})
        details = {"status": 429, "message": "quota", "retry_delay": 31}
        emulator.add_fault(call="batches.create", action="status", **details)
        client.post(create, json=body)


def beyond_the_limits(address, emulator):
    """The refusals of a project that has too many jobs, or made too many single calls."""
    with httpx.Client(base_url=address, headers={"x-goog-api-key": "k"}) as client:
        rows = {"requests": {"requests": [{"request": ASK}]}}
        body = {"batch": {"displayName": "d", "inputConfig": rows}}
        answers = [client.post(f"/v1beta/models/{MODEL}:batchGenerateContent", json=body) for _ in range(2)]
        assert answers[1].status_code == 429
        single = [client.post(f"/v1beta/models/{MODEL}:generateContent", json=ASK) for _ in range(2)]
        assert single[1].status_code == 429


OURS = {"our client": by_our_client, "our async client": by_our_async_client, "the operator": by_the_operator}
SOUND = OURS | {"the official SDK": by_the_sdk}
ALL = SOUND | {"requests by hand": by_hand, "too many jobs": beyond_the_limits}


@pytest.fixture(scope="module")
def traffic():
    """Who sent what and was answered what, recorded once for all tests."""
    found = {}
    for who, drive_it in ALL.items():
        limits = Limits(max_jobs=1, requests_per_minute=1) if drive_it is beyond_the_limits else Limits()
        job_seconds = 1000 if drive_it in (by_hand, beyond_the_limits) else 0.05
        with running_emulator(job_seconds=job_seconds, limits=limits) as emulator, recorded(emulator) as recording:
            drive_it(recording.base_url, emulator)
        found[who] = recording.exchanges
    return found


@pytest.fixture(scope="module")
def content():
    return json.loads(DOCUMENT.read_text())


@pytest.fixture(scope="module")
def document(content):
    return Document(content)


@pytest.mark.parametrize("who", ALL)
def test_every_request_and_every_answer_has_the_published_form(document, traffic, who):
    # Requests by hand are wrong on purpose; what they are answered must be right all the same.
    assert document.problems(traffic[who], answers_only=who not in SOUND) == []


def test_no_call_of_the_published_batch_and_files_api_was_left_out(document, traffic, content):
    """Left out on purpose: single embeddings, cached contents, and files without bytes."""
    called = {document.call(exchange) for who in OURS for exchange in traffic[who]}
    ours = {
        (method, template)
        for template, operations in content["paths"].items()
        for method in operations
        if method != "parameters"
        and not template.endswith(("mbedContent", "mbedContents"))
        and "cachedContents" not in template
    }
    ours.add(("post", "/v1beta/models/{model}:asyncBatchEmbedContent"))
    assert called == ours


@pytest.mark.parametrize("deviation", [deviation.name for deviation in DEVIATIONS])
def test_every_known_deviation_occurs(content, traffic, deviation):
    strict = Document(content, without=[deviation])
    assert any(strict.problems(traffic[who]) for who in SOUND)


@pytest.mark.parametrize(
    ("value", "where", "sent"),
    [
        ({"requestCount": 3}, "BatchStats", False),
        ({"requestCount": "3x"}, "BatchStats", False),
        ({"name": "batches/a", "state": "x"}, "Operation", False),
        ({"file_name": "files/a"}, "InputConfig", False),
        ({"createTime": "2026-01-01 00:00:00"}, "File", False),
        ({"state": "DONE"}, "File", False),
        ({"totalTokenCount": "7"}, "UsageMetadata", False),
        ({"contents": [{"parts": [{"txt": "a"}]}]}, "GenerateContentRequest", True),
        ({"contents": [{"parts": [{"text": 1}]}]}, "GenerateContentRequest", True),
        ({"model": "m"}, "GenerateContentRequest", True),
        ({"displayName": "d", "inputConfig": {}, "state": "BATCH_STATE_PENDING"}, "GenerateContentBatch", True),
        ({"displayName": "d", "inputConfig": {}, "priority": 7}, "GenerateContentBatch", True),
    ],
    ids=[
        "int64 as a number",
        "int64 that is none",
        "unknown field",
        "snake_case in an answer",
        "time of another form",
        "unknown enum word",
        "int32 as a string",
        "unknown field deep inside",
        "wrong type deep inside",
        "required field that is missing",
        "read-only field that is sent",
        "int64 as a number that is sent",
    ],
)
def test_what_is_not_as_published_is_found(document, value, where, sent):
    assert not document.is_valid(value, where, sent=sent)


def test_either_spelling_may_be_sent_and_keys_of_free_objects_stay_as_they_are(document):
    assert document.is_valid(SPELLED, "GenerateContentRequest", sent=True)
    assert document.is_valid({"request": ASK, "metadata": {"snake_key": 1}}, "InlinedRequest", sent=True)
    assert not document.is_valid(
        {"generation_config": {"thinking_budget": 1}}, "GenerateContentRequest", sent=True
    )


@pytest.mark.parametrize(
    ("request_line", "answered"),
    [
        ("GET /v1beta/batches?page=2", {}),
        ("GET /v1beta/batch", {}),
        ("GET /v1beta/batches/a", {"name": "batches/a", "metadata": {"state": "BATCH_STATE_PENDING"}}),
        ("GET /v1beta/files/a", {"name": "files/a", "sizeBytes": 3}),
    ],
    ids=["unknown parameter", "unknown path", "Any without a type", "answer of another form"],
)
def test_an_exchange_that_is_not_as_published_is_found(document, request_line, answered):
    method, _, target = request_line.partition(" ")
    path, _, query = target.partition("?")
    assert document.problems([Exchange(method, path, query, {}, 0, None, 200, answered)])
