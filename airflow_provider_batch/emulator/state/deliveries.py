"""Telling the webhooks of a project that one of its batches has ended.

Signed after the Standard Webhooks specification with the bytes that the secret encodes. Tried a few times within
seconds and then given up, while the API goes on for a day. A batch that expires ends unseen, without a delivery.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
import urllib.error
import urllib.request

import msgspec

from airflow_provider_batch.emulator.state.records import BatchRecord, WebhookRecord, timestamp
from airflow_provider_batch.emulator.state.store import Store

TRY_AFTER_S = (0.0, 0.3, 1.0, 3.0)
TIMEOUT_S = 5.0


class Deliveries:
    """Sends in the background. What is on its way when the server stops is lost."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: set[asyncio.Task[None]] = set()

    def ended(self, batch: BatchRecord, state: str) -> None:
        """Tell everybody who asked for it.

        :param state: ``BATCH_STATE_...``. A state that is no end sends nothing.
        """
        event = f"batch.{state.removeprefix('BATCH_STATE_').lower()}"
        for webhook in self._store.webhooks(batch.project):
            if event in webhook.subscribed_events:
                body = _body(batch, event, self._store.clock.now())
                task = asyncio.create_task(_deliver(webhook, body))
                self._running.add(task)
                task.add_done_callback(self._running.discard)


def _body(batch: BatchRecord, event: str, now: float) -> bytes:
    data: dict[str, object] = {"id": batch.name}
    if batch.outcome is not None and batch.input_file is not None:
        data["output_file_uri"] = f"files/{batch.output_file_id}"
    if batch.verdict is not None and batch.verdict.error is not None:
        data["error_code"] = batch.verdict.error.get("code")
        data["error_message"] = batch.verdict.error.get("message")
    return msgspec.json.encode({"type": event, "version": "v1", "timestamp": timestamp(now), "data": data})


async def _deliver(webhook: WebhookRecord, body: bytes) -> None:
    delivery = f"msg_{secrets.token_hex(12)}"
    for wait_s in TRY_AFTER_S:
        await asyncio.sleep(wait_s)
        if await asyncio.to_thread(_post, webhook, delivery, body):
            return


def _post(webhook: WebhookRecord, delivery: str, body: bytes) -> bool:
    # The real time: the receiver compares it with its own clock.
    at = f"{time.time():.0f}"
    key = base64.b64decode(webhook.secret.removeprefix(SECRET_PREFIX))
    signature = base64.b64encode(hmac.digest(key, f"{delivery}.{at}.".encode() + body, hashlib.sha256)).decode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": delivery,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{signature}",
    }
    request = urllib.request.Request(webhook.uri, body, headers, method="POST")  # noqa: S310 (checked when it came)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return bool(200 <= answer.status < 300)
    except OSError:
        return False


SECRET_PREFIX = "whsec_"  # noqa: S105 (every secret begins so)


def new_secret() -> str:
    """Return a secret as the API writes them."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()
