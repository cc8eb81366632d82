"""Webhooks of the API: registering them, and telling a genuine delivery from a forged or repeated one.

A delivery is a hint and no more. Its documented samples hold ids and URIs that do not look like this API's. So the
receiver asks for the batch. Only static webhooks are read, signed after the Standard Webhooks specification.
Webhooks of a single job are signed with a JWT. The API's pages contradict each other about where the keys for
those are.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from airflow_provider_batch.errors import BatchError, ConfigError
from airflow_provider_batch.gemini.client import answers
from airflow_provider_batch.gemini.client.exchange import ApiRequest, Script
from airflow_provider_batch.gemini.client.repeats import once, persist, persist_delete
from airflow_provider_batch.gemini.wire import RotatedSecret, Webhook, WebhookPage

EVENTS = ("batch.succeeded", "batch.failed", "batch.expired", "batch.cancelled")
"""``batch.cancelled`` is in the guide and not in the SDK's schema."""

TOLERANCE_S = 300.0
"""A delivery with an older or later timestamp is rejected, seconds (webhook guide of 2026-07-30)."""

MAX_IDS = 10_000
"""Deliveries that are remembered. The API repeats one for up to 24 h (the same guide)."""

_SECRET_PREFIX = "whsec_"  # noqa: S105 (the prefix that every secret has)


class WebhookRejectedError(BatchError):
    """A delivery that must not be believed. Answer it with 400 and do nothing else."""


@dataclass(frozen=True)
class WebhookEvent:
    """A genuine delivery.

    :param id: The same in every repetition of the delivery.
    :param type: Such as ``batch.succeeded``.
    :param data: What the API says about it. Do not rely on it.
    """

    id: str
    type: str
    data: Mapping[str, object] = field(default_factory=dict)


class WebhookReceiver:
    """Tells genuine deliveries from others. Remembers the last 10,000. Not for several threads.

    :param secret: What creating or rotating the webhook returned.
    """

    def __init__(self, secret: str) -> None:
        secret = secret.strip()
        if not secret.removeprefix(_SECRET_PREFIX):
            raise ConfigError(
                "A webhook without a secret cannot be checked.",
                code="AGB-C10",
                remedy="Use the secret that creating the webhook returned, or rotate it to get a new one.",
            )
        self._keys = tuple(_keys(secret))
        self._seen: dict[str, None] = {}

    def __repr__(self) -> str:
        return "WebhookReceiver(***)"

    def accept(self, headers: Mapping[str, str], body: bytes, now: float) -> WebhookEvent | None:
        """Check a delivery.

        :param headers: Of the HTTP request, in any case.
        :param body: Its bytes as they came.
        :param now: Unix time, seconds.
        :return: The event, None if it was accepted before: the API delivers at least once.
        :raises WebhookRejectedError: It is not genuine, too old, or not understood.
        """
        lower = {name.lower(): value for name, value in headers.items()}
        delivery, timestamp = lower.get("webhook-id", ""), lower.get("webhook-timestamp", "")
        if not delivery or not timestamp.isdecimal():
            raise _rejected("has no webhook-id or no webhook-timestamp")
        if abs(now - float(timestamp)) > TOLERANCE_S:
            raise _rejected(f"has a timestamp more than {TOLERANCE_S:g} s away from this clock")
        if not self._is_signed(f"{delivery}.{timestamp}.".encode() + body, lower.get("webhook-signature", "")):
            raise _rejected("has no valid signature")
        event = _event(delivery, body)
        return event if self._is_new(delivery) else None

    def _is_signed(self, content: bytes, signatures: str) -> bool:
        offered = [s.removeprefix("v1,").encode() for s in signatures.split() if s.startswith("v1,")]
        digests = [base64.b64encode(hmac.digest(key, content, hashlib.sha256)) for key in self._keys]
        return any(hmac.compare_digest(one, other) for one in offered for other in digests)

    def _is_new(self, delivery: str) -> bool:
        if delivery in self._seen:
            return False
        self._seen[delivery] = None
        if len(self._seen) > MAX_IDS:
            del self._seen[next(iter(self._seen))]
        return True


def create_webhook(uri: str, events: Iterable[str] = EVENTS) -> Script[Webhook]:
    """Register a receiver. Sent once: its answer is the only one that holds the secret."""
    body = {"uri": uri, "subscribed_events": list(events)}
    request = ApiRequest("create a webhook", "POST", "/{v}/webhooks", json_body=body)
    return answers.read(Webhook, request.call, (yield from once(request)))


def list_webhooks(page_token: str = "") -> Script[WebhookPage]:
    """One page of the project's webhooks."""
    params = {"page_token": page_token} if page_token else {}
    request = ApiRequest("list webhooks", "GET", "/{v}/webhooks", params=params)
    return answers.read(WebhookPage, request.call, (yield from persist(request)))


def delete_webhook(name: str) -> Script[None]:
    """Take a receiver off the list."""
    request = ApiRequest(f"delete {name}", "DELETE", _path(name))
    answers.expect_done(request.call, (yield from persist_delete(request)))


def rotate_webhook_secret(name: str) -> Script[RotatedSecret]:
    """Get a new secret. The old one is valid for another 24 hours. Sent once, as it is told once."""
    body = {"revocation_behavior": "REVOKE_PREVIOUS_SECRETS_AFTER_H24"}
    request = ApiRequest(
        f"rotate the secret of {name}", "POST", f"{_path(name)}:rotateSigningSecret", json_body=body
    )
    return answers.read(RotatedSecret, request.call, (yield from once(request)))


def _path(name: str) -> str:
    identifier = name.removeprefix("webhooks/")
    if not identifier or not identifier.replace("-", "").replace("_", "").isalnum() or not identifier.isascii():
        raise ConfigError(
            f"{name!r} is not the name of a webhook.",
            code="AGB-A02",
            remedy="Names look like webhooks/abc123.",
        )
    return f"/{{v}}/webhooks/{identifier}"


def _keys(secret: str) -> Iterator[bytes]:
    """The specification decodes what follows the prefix, one of the API's samples does not: both are tried."""
    yield secret.encode(errors="surrogateescape")
    try:
        decoded = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError:
        # Not base64, or not even ASCII.
        return
    if decoded:
        # Any sender can sign with nothing.
        yield decoded


def _event(delivery: str, body: bytes) -> WebhookEvent:
    try:
        payload = json.loads(body)
    except ValueError:
        payload = None
    if not isinstance(payload, dict) or not isinstance(payload.get("type"), str):
        raise _rejected("is not a JSON object with a type")
    data = payload.get("data")
    return WebhookEvent(delivery, payload["type"], data if isinstance(data, dict) else {})


def _rejected(what: str) -> WebhookRejectedError:
    return WebhookRejectedError(
        f"The delivery of a webhook {what}.",
        code="AGB-A12",
        remedy="Answer it with 400. If all deliveries fail so, check the secret and this machine's clock.",
    )
