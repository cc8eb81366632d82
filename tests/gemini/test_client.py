"""The clients against the emulator: one suite over both for the calls that both have."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
import time
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from threading import Thread

import pytest

from airflow_provider_batch.errors import (
    ApiError,
    AuthError,
    BatchError,
    ConfigError,
    NotFoundError,
    ProtocolError,
)
from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
from airflow_provider_batch.gemini.client.auth import ApiKey, OAuthToken, checked_base_url
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from airflow_provider_batch.gemini.client.upload import BLOCK_BYTES
from airflow_provider_batch.gemini.wire import InlineRequest

ASK = {"contents": [{"parts": [{"text": "hi"}]}]}
MODEL = "gemini-2.5-flash"


class OnLoop:
    """The async client with the blocking one's face, so that both run through the same tests."""

    def __init__(self, endpoint):
        self._loop = asyncio.new_event_loop()
        self._client = AsyncGeminiClient(endpoint)

    def get_batch(self, name):
        return self._loop.run_until_complete(self._client.get_batch(name))

    def cancel_batch(self, name):
        return self._loop.run_until_complete(self._client.cancel_batch(name))

    def list_batches(self, **arguments):
        return self._loop.run_until_complete(_all(self._client.list_batch_pages(**arguments)))

    def close(self):
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()


async def _all(pages):
    return [item async for page in pages for item in page]


@pytest.fixture
def opened():
    """What a test connects; it is closed at the end of the test."""
    clients = []
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def connect(opened):
    """Open blocking clients, which have every call."""
    return partial(_open, opened, GeminiClient)


@pytest.fixture(params=[GeminiClient, OnLoop], ids=["sync", "async"])
def connect_either(request, opened):
    """Open clients of either kind, for the calls that both have."""
    return partial(_open, opened, request.param)


def _open(opened, kind, base_url, credential=None, **settings):
    opened.append(kind(Endpoint(credential or ApiKey("test-key"), base_url=base_url, **settings)))
    return opened[-1]


@pytest.fixture
def client(connect, gemini_emulator):
    return connect(gemini_emulator.base_url)


@pytest.fixture
def either(connect_either, gemini_emulator):
    return connect_either(gemini_emulator.base_url)


def jsonl(count=2):
    return b"".join(json.dumps({"key": f"r{n}", "request": ASK}).encode() + b"\n" for n in range(count))


def uploaded(client, data=None):
    data = data or jsonl()
    return client.upload_file(BytesIO(data), len(data), "rows")


def finished(client, name):
    for _ in range(100):
        batch = client.get_batch(name)
        if batch.done:
            return batch
        time.sleep(0.05)
    raise AssertionError(f"{name} did not finish")


def test_a_file_becomes_a_job_and_its_results_come_back(client):  # T7, T8
    file = uploaded(client)
    batch = client.create_batch(MODEL, "d", file_name=file.name)
    assert (batch.state, batch.done, batch.metadata.display_name) == ("PENDING", False, "d")
    done = finished(client, batch.name)
    assert done.metadata.batch_stats.successful_request_count == 2
    out = BytesIO()
    size = client.download_file(done.output.responses_file, out)
    assert size == len(out.getvalue())
    assert {json.loads(line)["key"] for line in out.getvalue().splitlines()} == {"r0", "r1"}


def test_a_small_inline_batch_answers_inline(client):
    rows = [InlineRequest(request=ASK, key="a"), InlineRequest(request=ASK, key="b")]
    batch = client.create_batch(MODEL, "d", requests=rows)
    output = finished(client, batch.name).output
    assert [row["metadata"]["key"] for row in output.inlined_responses] == ["a", "b"]


@pytest.mark.parametrize("version", ["v1beta", "v1"])
def test_both_versions_of_the_api_work_alike(connect, connect_either, gemini_emulator, version):
    client = connect(gemini_emulator.base_url, api_version=version)
    batch = client.create_batch(MODEL, "d", file_name=uploaded(client).name)
    either = connect_either(gemini_emulator.base_url, api_version=version)
    assert finished(either, batch.name).state == "SUCCEEDED"


def test_a_listing_is_read_over_all_its_pages(client, either):
    file = uploaded(client)
    made = {client.create_batch(MODEL, f"d{n}", file_name=file.name).name for n in range(5)}
    assert {batch.name for batch in either.list_batches(page_size=2)} == made


def test_the_files_and_models_are_listed_and_a_file_is_shown(client):
    file = uploaded(client)
    assert [f.name for f in client.list_files()] == [file.name]
    assert client.get_file(file.name).size_bytes == len(jsonl())
    assert f"models/{MODEL}" in [m.name for m in client.list_models()]
    assert client.get_model(MODEL).name == f"models/{MODEL}"


def test_a_deleted_file_and_a_deleted_job_are_gone(client):
    file = uploaded(client)
    batch = client.create_batch(MODEL, "d", file_name=file.name)
    client.delete_batch(batch.name)
    client.delete_file(file.name)
    with pytest.raises(NotFoundError):
        client.get_batch(batch.name)
    assert list(client.list_files()) == []


def test_a_cancelled_job_ends_without_being_created_again(client, either):
    batch = client.create_batch(MODEL, "d", file_name=uploaded(client).name)
    either.cancel_batch(batch.name)
    assert finished(either, batch.name).state in ("CANCELLED", "SUCCEEDED")
    assert [b.name for b in either.list_batches()] == [batch.name]


def test_an_upload_of_several_blocks_survives_a_cut_connection(client, gemini_emulator):
    gemini_emulator.add_fault(call="files.upload.chunk", times=1, after=1, action="cut", bytes=1_000_000)
    row = json.dumps({"key": "big", "request": {"contents": [{"parts": [{"text": "x" * (2 * BLOCK_BYTES)}]}]}})
    data = row.encode() + b"\n" + jsonl(1)
    file = uploaded(client, data)
    assert file.size_bytes == len(data)
    batch = client.create_batch(MODEL, "d", file_name=file.name)
    assert finished(client, batch.name).metadata.batch_stats.request_count == 2


def test_an_upload_whose_last_answer_is_lost_makes_one_file(client, gemini_emulator):
    gemini_emulator.add_fault(call="files.upload.finalize", action="accept_then_drop")
    file = uploaded(client)
    assert [f.name for f in client.list_files()] == [file.name]


def test_a_download_that_is_cut_goes_on_where_it_stopped(client, gemini_emulator):
    batch = client.create_batch(MODEL, "d", file_name=uploaded(client, jsonl(300)).name)
    name = finished(client, batch.name).output.responses_file
    whole, pieced = BytesIO(), BytesIO()
    client.download_file(name, whole)
    gemini_emulator.add_fault(call="files.download", times=2, action="cut", bytes=10_000)
    client.download_file(name, pieced)
    assert hashlib.sha256(pieced.getvalue()).digest() == hashlib.sha256(whole.getvalue()).digest()


def test_a_download_goes_on_from_what_an_earlier_process_wrote(client):
    name = finished(
        client, client.create_batch(MODEL, "d", file_name=uploaded(client).name).name
    ).output.responses_file
    whole = BytesIO()
    size = client.download_file(name, whole)
    for held in (10, size):
        rest = BytesIO(whole.getvalue()[:held])
        assert client.download_file(name, rest, from_byte=held) == size
        assert rest.getvalue() == whole.getvalue()


def test_an_upload_is_finished_by_another_process_from_its_stored_session(connect, gemini_emulator):
    data = b"x" * BLOCK_BYTES + b"rest"
    first = connect(gemini_emulator.base_url)
    session = first.start_upload(len(data), "rows", "text/plain")
    gemini_emulator.add_fault(call="files.upload.chunk", action="drop", after=1, times=None)
    gemini_emulator.add_fault(call="files.upload.query", action="drop", times=None)
    with pytest.raises(BatchError):
        first.resume_upload(session, BytesIO(data), len(data), "rows")
    gemini_emulator.restart()
    gemini_emulator.clear_faults()
    second = connect(gemini_emulator.base_url)
    file = second.resume_upload(session, BytesIO(data), len(data), "rows")
    assert file.size_bytes == len(data)
    assert [f.name for f in second.list_files()] == [file.name]


def test_a_file_that_is_still_processed_is_waited_for(client, gemini_emulator):
    gemini_emulator.add_fault(action="processing", seconds=1)
    file = uploaded(client)
    assert file.state == "PROCESSING"
    assert client.wait_for_file(file.name).state == "ACTIVE"


def test_an_embeddings_job_answers_with_vectors(client):
    rows = [InlineRequest(request={"content": {"parts": [{"text": "hi"}]}}, key="a")]
    batch = client.create_batch("gemini-embedding-001", "d", requests=rows, embeddings=True)
    (row,) = finished(client, batch.name).output.inlined_responses
    assert len(row["response"]["embedding"]["values"]) > 0


def test_the_tokens_of_a_request_are_counted(client):
    longer = {"contents": [{"parts": [{"text": "hi there, " * 50}]}]}
    assert 0 < client.count_tokens(MODEL, ASK).total_tokens < client.count_tokens(MODEL, longer).total_tokens


def test_models_are_listed_over_all_pages(client):
    assert {m.name for m in client.list_models(page_size=1)} == {m.name for m in client.list_models()}


def test_a_job_of_unknown_name_is_not_found(either):
    with pytest.raises(NotFoundError, match="visible to their own project only"):
        either.get_batch("batches/" + "a" * 36)


def test_a_wrong_key_is_an_auth_error_that_does_not_show_it(connect_either, tmp_path):
    from airflow_provider_batch.emulator.process import running_emulator

    with running_emulator(tmp_path, api_keys=["right-key"]) as emulator:
        client = connect_either(emulator.base_url, ApiKey("wrong-key"))
        with pytest.raises(AuthError) as caught:
            list(client.list_batches())
    assert "wrong-key" not in str(caught.value)


def test_a_bearer_token_authenticates_as_well(connect_either, gemini_emulator):
    either = connect_either(gemini_emulator.base_url, OAuthToken("a-token", quota_project="p"))
    assert list(either.list_batches()) == []


def test_passing_server_errors_are_waited_out(client, either, gemini_emulator):
    made = client.create_batch(MODEL, "d", file_name=uploaded(client).name)
    gemini_emulator.add_fault(call="batches.list", times=2, action="status", status=503)
    assert [batch.name for batch in either.list_batches()] == [made.name]


def test_malformed_rows_are_refused_by_the_api_with_their_lines(client):
    bad = b'{"key": "a", "request": {"contents": [{"parts": [{"text": "x"}]}], "nonsense": 1}}\n'
    with pytest.raises(ApiError, match="Error on line 1") as caught:
        client.create_batch(MODEL, "d", file_name=uploaded(client, bad).name)
    assert caught.value.rpc_status == "INVALID_ARGUMENT"


class _Redirector(BaseHTTPRequestHandler):
    """Redirects, or names an upload session on, another host; counts what reaches that host."""

    elsewhere = ""
    reached = 0

    def do_GET(self):
        type(self).reached += 1
        self.send_response(302)
        self.send_header("Location", f"{self.elsewhere}/v1beta/models")
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("X-Goog-Upload-URL", f"{self.elsewhere}/upload?upload_id=x")
        self.end_headers()

    def log_message(self, *args):
        return


@contextmanager
def serving(handler):
    server = HTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def two_hosts():
    """A host that sends its callers to a second one, and the second one's class, which counts visits."""
    second_class = type("Second", (_Redirector,), {"reached": 0})
    with serving(second_class) as second:
        first_class = type("First", (_Redirector,), {"elsewhere": second.replace("127.0.0.1", "localhost")})
        with serving(first_class) as first:
            yield first, second_class


def test_a_redirect_is_refused_and_the_other_host_sees_nothing(connect_either, two_hosts):
    first, second = two_hosts
    with pytest.raises(ProtocolError, match="redirect"):
        list(connect_either(first).list_batches())
    assert second.reached == 0


def test_an_upload_session_on_another_host_is_refused_unvisited(connect, two_hosts):
    first, second = two_hosts
    with pytest.raises(ProtocolError, match="another host"):
        uploaded(connect(first))
    assert second.reached == 0


class _Odd(BaseHTTPRequestHandler):
    """Lists batches in a circle, and says of one without an end, of another packed."""

    def do_GET(self):
        self.send_response(200)
        if "packed" in self.path:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if "batches/" not in self.path:
            self.wfile.write(b'{"operations": [], "nextPageToken": "once more"}')
        elif "packed" in self.path:
            self.wfile.write(gzip.compress(bytes(200 * 2**20), 1))
        else:
            with suppress(ConnectionError):
                while True:
                    self.wfile.write(b" " * 2**20)

    def log_message(self, *args):
        return


@pytest.mark.parametrize(
    ("ask", "code", "words"),
    [
        (lambda client: list(client.list_batches()), "AGB-A07", "came back to a page"),
        (lambda client: client.get_batch("batches/endless"), "AGB-A09", "larger than 16 MiB"),
        (lambda client: client.get_batch("batches/packed"), "AGB-A01", "Expected the API's JSON"),
    ],
    ids=["a circle of pages", "no end", "200 MiB packed into a few"],
)
def test_an_answer_that_has_no_end_is_given_up(connect_either, ask, code, words):
    with serving(_Odd) as host, pytest.raises(ProtocolError, match=words) as caught:
        ask(connect_either(host))
    assert caught.value.code == code
    assert caught.value.remedy


def test_no_key_and_no_upload_session_reaches_a_debug_log(client, either, caplog):
    with caplog.at_level(logging.DEBUG):
        uploaded(client)
        list(either.list_batches())
    text = caplog.text
    assert "test-key" not in text
    assert "upload_id=" not in text.replace("upload_id=***", "")


@pytest.mark.parametrize(
    "url",
    [
        "http://generativelanguage.googleapis.com",
        "ftp://host",
        "file:///etc/passwd",
        "https://user:pw@host",
        "https://host/?key=abc",
        "https://host/#x",
        "https://",
        "host",
        "http://169.254.169.254",
        "http://127.0.0.1.evil.example",
        "https://host:99999",
    ],
)
def test_an_address_that_must_not_get_the_key_is_refused(url):
    with pytest.raises(ConfigError, match="host"):
        checked_base_url(url)


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("https://host/", "https://host"),
        ("https://host:8443/proxy/", "https://host:8443/proxy"),
        ("http://127.0.0.1:8484", "http://127.0.0.1:8484"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_a_good_address_is_kept_without_its_last_slash(url, checked):
    assert checked_base_url(url) == checked


@pytest.mark.parametrize("key", ["", " hush", "hush\n", "hush hush", "hüsh"])
def test_a_malformed_key_is_refused_without_showing_it(key):
    with pytest.raises(ConfigError) as caught:
        ApiKey(key)
    assert not key.strip() or key.strip() not in str(caught.value)
