"""Our requests and the emulator's answers, held against the API's published document.

The document is not part of the project. Point ``GEMINI_OPENAPI`` at a copy (an OpenAPI 3.0 JSON of the Generative
Language API, revision 20251218) to run these tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from io import BytesIO
from pathlib import Path

import jsonschema
import pytest
from google import genai
from google.genai import types
from upath import UPath

from airflow_provider_batch.engine.claim import Claim
from airflow_provider_batch.engine.identity import Identity
from airflow_provider_batch.engine.submit import StagedRows, find_or_submit
from airflow_provider_batch.errors import ApiError
from airflow_provider_batch.gemini.async_client import AsyncGeminiClient
from airflow_provider_batch.gemini.auth import ApiKey
from airflow_provider_batch.gemini.client import GeminiClient
from airflow_provider_batch.gemini.rows import GeminiRows
from airflow_provider_batch.gemini.service import GeminiBatchService
from airflow_provider_batch.gemini.transport import Endpoint
from airflow_provider_batch.gemini.wire import InlineRequest
from airflow_provider_batch.rows.keys import KeyTable
from airflow_provider_batch.rows.staging import stage

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
EMBED = {"content": {"parts": [{"text": "hi"}]}, "outputDimensionality": 8}
ROWS = b"".join(json.dumps({"key": key, "request": ASK}).encode() + b"\n" for key in "ab")

UPLOAD = re.compile(r"/upload/v1(beta)?/files")
DOWNLOAD = re.compile(r"/v1(beta)?/files/[^/]+:download")


class Document:
    """The published document as strict JSON Schema: a field that it does not have is an error."""

    def __init__(self, content):
        self._paths = content["paths"]
        self._validators = {}
        self._schemas = content["components"]["schemas"]
        self._strict = {name: self._closed(schema) for name, schema in self._schemas.items()}
        # Live captures (2025-12-10, 2026-01-06) and the official SDK differ from the document here.
        for kind, output in (
            ("Generate", "GenerateContentBatchOutput"),
            ("AsyncBatchEmbed", "EmbedContentBatchOutput"),
        ):
            wrapped = "BatchGenerateContentResponse" if kind == "Generate" else "AsyncBatchEmbedContentResponse"
            # The results stand in the response itself, not in a field "output" of it.
            self._strict[wrapped] = self._strict[output]
        for batch in ("GenerateContentBatch", "EmbedContentBatch"):
            # Inline requests are not echoed, and a batch without a display name has none.
            self._strict[batch] = {**self._strict[batch], "required": ["model"]}
        # The document's Status has no "status"; every error of the API has.
        self._strict["Status"]["properties"]["status"] = {"type": "string"}

    def check(self, value, schema):
        """Raise ValidationError if the value does not have the form."""
        asked = json.dumps(schema)
        if asked not in self._validators:
            whole = {"$defs": self._strict, **self._closed(schema)}
            self._validators[asked] = jsonschema.Draft202012Validator(whole)
        self._validators[asked].validate(_without_types(value))

    def operation(self, method, path):
        """The operation of a request's path, whatever the version in it."""
        for template, operations in self._paths.items():
            pattern = re.sub(r"\{[^}]+\}", "[^/:]+", template).replace("/v1beta/", "/v1(?:beta)?/")
            if re.fullmatch(pattern, path) and method.lower() in operations:
                return operations[method.lower()]
        raise AssertionError(f"the document has no {method} {path}")

    def _closed(self, schema):
        if "$ref" in schema:
            return {"$ref": schema["$ref"].replace("#/components/schemas/", "#/$defs/")}
        if "allOf" in schema:
            return self._merged(schema)
        closed = {key: value for key, value in schema.items() if key in ("type", "enum", "required")}
        if schema.get("format") == "int64":
            return {"type": "string", "pattern": r"^-?\d+$"}
        if "items" in schema:
            closed["items"] = self._closed(schema["items"])
        if "properties" in schema:
            closed["properties"] = {name: self._closed(of) for name, of in schema["properties"].items()}
        if schema.get("type") == "object":
            others = schema.get("additionalProperties", False)
            closed["additionalProperties"] = self._closed(others) if isinstance(others, dict) else others
        return closed

    def _merged(self, schema):
        if len(schema["allOf"]) == 1 and not schema.get("properties"):
            return self._closed(schema["allOf"][0])
        merged = {"type": "object", "properties": {}, "additionalProperties": False}
        for part in schema["allOf"]:
            named = self._schemas[part["$ref"].rpartition("/")[2]] if "$ref" in part else part
            merged["properties"] |= self._closed(named)["properties"]
        return merged


def _without_types(value):
    """Without ``@type``, which says what an Any holds and is no field."""
    if isinstance(value, dict):
        return {name: _without_types(of) for name, of in value.items() if name != "@type"}
    return [_without_types(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def document():
    return Document(json.loads(DOCUMENT.read_text()))


def body_of(operation):
    return operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")


def answer_of(operation):
    return operation["responses"]["default"]["content"]["application/json"]["schema"]


CREATED_FILE = {"$ref": "#/components/schemas/CreateFileResponse"}
ERROR = {
    "type": "object",
    "properties": {"error": {"$ref": "#/components/schemas/Status"}},
    "required": ["error"],
}


def check_request(document, exchange):
    if UPLOAD.fullmatch(exchange.path):
        if exchange.sent is not None and "upload_id" not in exchange.query:
            document.check(exchange.sent, {"$ref": "#/components/schemas/CreateFileRequest"})
        return
    operation = document.operation(exchange.method, exchange.path)
    if (schema := body_of(operation)) is None:
        assert exchange.sent in (None, {})
        return
    # The path names the model, so no client repeats it in the batch; an update sends what changes.
    document.check(_completed(exchange), schema)


def _completed(exchange):
    if exchange.method == "PATCH":
        return {"model": "from the stored batch", **exchange.sent}
    if "batch" in exchange.sent:
        batch = {"model": "from the path", **exchange.sent["batch"]}
        return {**exchange.sent, "batch": json.loads(json.dumps(batch), object_hook=_with_model)}
    return json.loads(json.dumps(exchange.sent), object_hook=_with_model)


def _with_model(value):
    """``request.model`` is required by the document and left out by every example and the SDK."""
    return {"model": "from the path", **value} if "contents" in value or "content" in value else value


def check_answer(document, exchange):
    if exchange.status >= 400:
        document.check(exchange.answered, ERROR)
    elif UPLOAD.fullmatch(exchange.path):
        assert exchange.answered is None or document.check(exchange.answered, CREATED_FILE) is None
    elif not DOWNLOAD.fullmatch(exchange.path):
        operation = document.operation(exchange.method, exchange.path)
        document.check(exchange.answered, answer_of(operation))
        for typed in _batches(exchange.answered):
            kind = typed["@type"].rpartition(".")[2]
            document.check(typed, {"$ref": f"#/components/schemas/{kind}"})


def _batches(answered):
    """The parts that the document leaves open, and that say themselves what they are."""
    operations = answered.get("operations", [answered])
    return [part[name] for part in operations for name in ("metadata", "response") if name in part]


def drive(client, emulator):
    """Every call of the client, once well and where it is easy once badly."""
    wait = lambda name: _until_done(client, name)  # noqa: E731
    file = client.upload_file(BytesIO(ROWS), len(ROWS), "rows")
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
    client.delete_batch(stuck.name)
    client.delete_file(file.name)
    for refused in (client.get_file, client.delete_file):
        with pytest.raises(ApiError):
            refused(file.name)
    with pytest.raises(ApiError):
        client.create_batch(MODEL, "refused", file_name=file.name)


def _until_done(client, name):
    while not (batch := client.get_batch(name)).done:
        time.sleep(0.05)
    return batch


class OnLoop:
    """The async client's calls, one after the other."""

    def __init__(self, client, loop):
        self._client, self._loop = client, loop

    def __getattr__(self, name):
        def call(*args, **kwargs):
            result = getattr(self._client, name)(*args, **kwargs)
            return self._loop.run_until_complete(result if asyncio.iscoroutine(result) else self._all(result))

        return call

    async def _all(self, pages):
        return [item async for item in pages]


@pytest.fixture(params=["sync", "async"])
def client(request, recording):
    endpoint = Endpoint(ApiKey("k"), base_url=recording.base_url)
    if request.param == "sync":
        with GeminiClient(endpoint) as client:
            yield client
        return
    loop = asyncio.new_event_loop()
    async_client = AsyncGeminiClient(endpoint)
    yield OnLoop(async_client, loop)
    loop.run_until_complete(async_client.aclose())
    loop.close()


def test_every_request_of_our_client_and_every_answer_has_the_published_form(
    document, recording, client, gemini_emulator
):
    drive(client, gemini_emulator)
    for exchange in recording.exchanges:
        check_request(document, exchange)
        check_answer(document, exchange)
    assert len(recording.exchanges) > 30


def test_what_the_operator_sends_has_the_published_form(document, recording, tmp_path):
    with GeminiClient(Endpoint(ApiKey("k"), base_url=recording.base_url)) as client, KeyTable() as keys:
        identity, file = Identity("dag", "task", "run"), BytesIO()
        staged = stage([{"key": "a", "request": ASK}], GeminiRows(), file, keys)
        claim = Claim(UPath(tmp_path), identity.mark)
        find_or_submit(GeminiBatchService(client), identity, MODEL, StagedRows(file, keys, staged), claim)
    for exchange in recording.exchanges:
        check_request(document, exchange)
        check_answer(document, exchange)
    assert any(exchange.path.endswith(":batchGenerateContent") for exchange in recording.exchanges)


def test_what_the_emulator_answers_to_the_official_sdk_has_the_published_form(document, recording, tmp_path):
    options = types.HttpOptions(base_url=recording.base_url)
    with genai.Client(api_key="k", http_options=options) as client:
        (tmp_path / "rows.jsonl").write_bytes(ROWS)
        file = client.files.upload(file=str(tmp_path / "rows.jsonl"), config={"mime_type": "application/jsonl"})
        job = client.batches.create(model=MODEL, src=file.name)
        source = {"inlined_requests": {"contents": ["a", "b"], "config": {"output_dimensionality": 4}}}
        vectors = client.batches.create_embeddings(model=EMBEDDER, src=source)
        while not (client.batches.get(name=job.name).done and client.batches.get(name=vectors.name).done):
            time.sleep(0.05)
        list(client.batches.list(config={"page_size": 1}))
        list(client.files.list())
        client.batches.delete(name=job.name)
    for exchange in recording.exchanges:
        check_answer(document, exchange)
    assert len(recording.exchanges) > 8


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"name": "batches/a", "state": "x"}, "Operation"),
        ({"requestCount": 3}, "BatchStats"),
        ({"sizeBytes": "12x"}, "File"),
        ({"contents": [{"parts": [{"txt": "a"}]}]}, "GenerateContentRequest"),
    ],
    ids=["unknown field", "int64 as a number", "int64 that is none", "unknown field deep inside"],
)
def test_the_check_itself_finds_what_it_is_for(document, value, where):
    with pytest.raises(jsonschema.ValidationError):
        document.check(value, {"$ref": f"#/components/schemas/{where}"})
