"""Deliveries of webhooks: believed if signed and fresh, acted on once."""

import base64
import hashlib
import hmac
import json

import pytest

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini import webhooks
from airflow_provider_batch.gemini.client.exchange import ApiAnswer
from airflow_provider_batch.gemini.webhooks import WebhookReceiver, WebhookRejectedError

NOW = 1_795_000_000.0
KEY = b"a key for tests only"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = json.dumps({"type": "batch.succeeded", "version": "v1", "data": {"id": "batches/a"}}).encode()


def signed(body=BODY, key=KEY, at=NOW, delivery="msg_1"):
    content = f"{delivery}.{at:.0f}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {"Webhook-Id": delivery, "webhook-timestamp": f"{at:.0f}", "webhook-signature": f"v1,{signature}"}


def test_a_signed_delivery_is_an_event():  # T50
    event = WebhookReceiver(SECRET).accept(signed(), BODY, NOW)
    assert (event.id, event.type, event.data) == ("msg_1", "batch.succeeded", {"id": "batches/a"})


def test_the_secret_may_be_the_key_as_it_is_written():
    assert WebhookReceiver(SECRET).accept(signed(key=SECRET.encode()), BODY, NOW)


def test_a_line_break_around_the_secret_does_not_matter():
    assert WebhookReceiver(f"{SECRET}\n").accept(signed(), BODY, NOW)


def test_a_secret_beyond_ascii_rejects_what_it_did_not_sign():
    receiver = WebhookReceiver("gehe\u00eemnis")
    with pytest.raises(WebhookRejectedError):
        receiver.accept(signed(), BODY, NOW)
    assert receiver.accept(signed(key="gehe\u00eemnis".encode()), BODY, NOW)


@pytest.mark.parametrize("secret", ["whsec_", " \n", "whsec_ \n"])
def test_a_secret_with_nothing_in_it_is_none(secret):
    with pytest.raises(ConfigError, match="without a secret"):
        WebhookReceiver(secret)


def test_nothing_is_no_key_to_sign_with():
    # Some versions of Python decode this to nothing.
    with pytest.raises(WebhookRejectedError):
        WebhookReceiver("whsec_==").accept(signed(key=b""), BODY, NOW)


def test_one_valid_signature_among_several_is_enough():
    headers = signed()
    headers["webhook-signature"] = "v1a,x v1,AAAA " + headers["webhook-signature"]
    assert WebhookReceiver(SECRET).accept(headers, BODY, NOW)


def test_a_repeated_delivery_is_no_second_event():  # T50
    receiver = WebhookReceiver(SECRET)
    assert receiver.accept(signed(), BODY, NOW)
    assert receiver.accept(signed(at=NOW + 60), BODY, NOW + 60) is None
    assert receiver.accept(signed(delivery="msg_2"), BODY, NOW)


def test_the_memory_for_repetitions_is_bounded():
    receiver = WebhookReceiver(SECRET)
    for number in range(webhooks.MAX_IDS + 1):
        assert receiver.accept(signed(delivery=f"msg_{number}"), BODY, NOW)
    assert receiver.accept(signed(delivery="msg_1"), BODY, NOW) is None
    assert receiver.accept(signed(delivery="msg_0"), BODY, NOW)


@pytest.mark.parametrize("age", [360, -360])
def test_a_delivery_from_another_time_is_rejected(age):  # T50
    with pytest.raises(WebhookRejectedError, match="timestamp more than 300 s away"):
        WebhookReceiver(SECRET).accept(signed(at=NOW - age), BODY, NOW)


@pytest.mark.parametrize(
    "headers",
    [
        signed(key=b"another"),
        signed(body=b"{}"),
        {**signed(), "webhook-timestamp": f"{NOW + 1:.0f}"},
        {**signed(), "Webhook-Id": "msg_2"},
        {**signed(), "webhook-signature": ""},
        {**signed(), "webhook-signature": "v1,ä"},
    ],
    ids=["other key", "other body", "other time", "other id", "no signature", "not ASCII"],
)
def test_a_forged_delivery_is_rejected(headers):  # T50
    with pytest.raises(WebhookRejectedError, match="no valid signature"):
        WebhookReceiver(SECRET).accept(headers, BODY, NOW)


@pytest.mark.parametrize("missing", ["Webhook-Id", "webhook-timestamp"])
def test_a_delivery_without_its_headers_is_rejected(missing):
    with pytest.raises(WebhookRejectedError, match="has no webhook-id"):
        WebhookReceiver(SECRET).accept({**signed(), missing: ""}, BODY, NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"type": 1}', b"\xff"])
def test_a_signed_body_that_is_no_event_is_rejected(body):
    with pytest.raises(WebhookRejectedError, match="JSON object with a type"):
        WebhookReceiver(SECRET).accept(signed(body=body), body, NOW)


def test_a_receiver_needs_a_secret_and_does_not_show_it():
    assert SECRET not in repr(WebhookReceiver(SECRET))
    with pytest.raises(ConfigError, match="without a secret"):
        WebhookReceiver("")


def test_a_new_webhook_tells_its_secret_and_does_not_show_it():
    script = webhooks.create_webhook("https://airflow.example/hook")
    request = script.send(None)
    assert request.json_body["subscribed_events"] == list(webhooks.EVENTS)
    body = json.dumps({"name": "webhooks/a", "state": "enabled", "new_signing_secret": SECRET}).encode()
    with pytest.raises(StopIteration) as end:
        script.send(ApiAnswer(200, {}, body))
    assert end.value.value.new_signing_secret == SECRET
    assert SECRET not in repr(end.value.value)


@pytest.mark.parametrize("name", ["", "webhooks/", "webhooks/a/b", "webhooks/..", "a:ping"])
def test_a_webhook_name_that_would_lead_elsewhere_is_not_asked_for(name):
    with pytest.raises(ConfigError, match="not the name of a webhook"):
        webhooks.delete_webhook(name).send(None)
