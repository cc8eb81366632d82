"""Webhooks: our client registers, the emulator delivers, our receiver believes it."""

from __future__ import annotations

import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_provider_batch.errors import ApiError
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from airflow_provider_batch.gemini.webhooks import WebhookReceiver, WebhookRejectedError
from airflow_provider_batch.gemini.wire import InlineRequest

ROW = InlineRequest(request={"contents": [{"parts": [{"text": "hi"}]}]}, key="a")


class Hooked(ThreadingHTTPServer):
    """Keeps what was delivered; refuses as often as it is told."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Hook)
        self.delivered: queue.Queue = queue.Queue()
        self.refusals = 0

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        refused, self.server.refusals = self.server.refusals > 0, self.server.refusals - 1
        self.send_response(500 if refused else 204)
        self.end_headers()
        self.server.delivered.put((dict(self.headers), body))

    def log_message(self, *_):
        pass


@pytest.fixture
def hooked():
    with Hooked() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def client(gemini_emulator):
    with GeminiClient(Endpoint(ApiKey("k"), base_url=gemini_emulator.base_url)) as client:
        yield client


def delivered(hooked, receiver):
    headers, body = hooked.delivered.get(timeout=10)
    return receiver.accept(headers, body, time.time())


def test_the_end_of_a_job_is_delivered_with_a_signature_that_our_receiver_accepts(client, hooked):
    webhook = client.create_webhook(hooked.uri)
    job = client.create_batch("gemini-2.5-flash", "d", requests=[ROW])
    event = delivered(hooked, WebhookReceiver(webhook.new_signing_secret))
    assert (event.type, event.data["id"]) == ("batch.succeeded", job.name)


def test_a_delivery_that_was_refused_comes_again_and_is_one_event(client, hooked):
    hooked.refusals = 1
    receiver = WebhookReceiver(client.create_webhook(hooked.uri).new_signing_secret)
    client.create_batch("gemini-2.5-flash", "d", requests=[ROW])
    assert delivered(hooked, receiver).type == "batch.succeeded"
    assert delivered(hooked, receiver) is None


@pytest.mark.parametrize("state", ["FAILED", "EXPIRED", "CANCELLED"])
def test_other_ends_are_events_of_their_own(client, hooked, gemini_emulator, state):
    receiver = WebhookReceiver(client.create_webhook(hooked.uri).new_signing_secret)
    gemini_emulator.add_fault(action="job", state="STUCK")
    job = client.create_batch("gemini-2.5-flash", "d", requests=[ROW])
    gemini_emulator.force_job(job.name, state=state)
    assert delivered(hooked, receiver).type == f"batch.{state.lower()}"


def test_a_job_that_is_cancelled_before_it_starts_is_an_event(client, hooked, gemini_emulator):
    receiver = WebhookReceiver(client.create_webhook(hooked.uri).new_signing_secret)
    gemini_emulator.add_fault(action="job", state="STUCK")
    client.cancel_batch(client.create_batch("gemini-2.5-flash", "d", requests=[ROW]).name)
    assert delivered(hooked, receiver).type == "batch.cancelled"


def test_a_new_secret_replaces_the_old_one(client, hooked):
    webhook = client.create_webhook(hooked.uri)
    secret = client.rotate_webhook_secret(webhook.name)
    client.create_batch("gemini-2.5-flash", "d", requests=[ROW])
    headers, body = hooked.delivered.get(timeout=10)
    assert WebhookReceiver(secret).accept(headers, body, time.time())
    with pytest.raises(WebhookRejectedError):
        WebhookReceiver(webhook.new_signing_secret).accept(headers, body, time.time())


def test_webhooks_are_listed_and_deleted_and_show_no_secret(client, hooked, gemini_emulator):
    made = client.create_webhook(hooked.uri, ["batch.failed"])
    gemini_emulator.restart()
    (listed,) = client.list_webhooks()
    assert (listed.name, listed.uri, listed.subscribed_events) == (made.name, hooked.uri, ("batch.failed",))
    assert listed.new_signing_secret == ""
    client.delete_webhook(made.name)
    assert list(client.list_webhooks()) == []


@pytest.mark.parametrize(
    ("uri", "events"),
    [("ftp://x", ["batch.failed"]), ("", ["batch.failed"]), ("http://x", []), ("http://x", ["a"])],
)
def test_a_webhook_that_cannot_work_is_refused(client, uri, events):
    with pytest.raises(ApiError, match="400 INVALID_ARGUMENT"):
        client.create_webhook(uri, events)
