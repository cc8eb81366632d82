"""Webhooks: create, list, get, delete, rotate the secret. Their JSON is in snake_case, as the SDK has it."""

from __future__ import annotations

from typing import TypeGuard
from urllib.parse import urlsplit

import msgspec
from starlette.responses import Response

from airflow_provider_batch.emulator.state.deliveries import new_secret
from airflow_provider_batch.emulator.state.records import WebhookRecord, new_file_id, timestamp
from airflow_provider_batch.emulator.wire.context import Call, reply
from airflow_provider_batch.emulator.wire.errors import invalid, not_found
from airflow_provider_batch.emulator.wire.paging import page_of

EVENTS = ("batch.cancelled", "batch.expired", "batch.failed", "batch.succeeded")


async def create_webhook(call: Call) -> Response:
    """Register a receiver. The secret is in this answer only."""
    message = await call.json(None)
    uri, events = message.get("uri"), message.get("subscribed_events")
    if not _is_address(uri):
        raise invalid("* Webhook.uri: an http or https address is needed")
    if not isinstance(events, list) or not events or not all(event in EVENTS for event in events):
        raise invalid(f"* Webhook.subscribed_events: some of {', '.join(EVENTS)} are needed")
    webhook = WebhookRecord(
        id=new_file_id(),
        project=call.project,
        uri=uri,
        subscribed_events=events,
        secret=new_secret(),
        created_at=call.emulation.now(),
    )
    call.emulation.store.save_webhook(webhook)
    call.accept("webhooks.create", webhook=webhook.name)
    return reply({**_json(webhook), "new_signing_secret": webhook.secret})


async def list_webhooks(call: Call) -> Response:
    """Return a page of webhooks, newest first."""
    page, token = page_of(call, call.emulation.store.webhooks(call.project), default=50, maximum=1000)
    listed: dict[str, object] = {"webhooks": [_json(webhook) for webhook in page]} if page else {}
    return reply({**listed, "next_page_token": token} if token else listed)


async def get_webhook(call: Call) -> Response:
    """Return one webhook."""
    return reply(_json(_visible(call)))


async def delete_webhook(call: Call) -> Response:
    """Delete a webhook."""
    webhook = _visible(call)
    call.emulation.store.delete_webhook(webhook.id)
    call.accept("webhooks.delete", webhook=webhook.name)
    return reply({})


async def rotate_secret(call: Call) -> Response:
    """Replace the secret. From now on deliveries are signed with the new one only."""
    webhook = msgspec.structs.replace(_visible(call), secret=new_secret())
    call.emulation.store.save_webhook(webhook)
    call.accept("webhooks.rotate", webhook=webhook.name)
    return reply({"secret": webhook.secret})


def _is_address(uri: object) -> TypeGuard[str]:
    try:
        return isinstance(uri, str) and urlsplit(uri).scheme in {"http", "https"}
    except ValueError:
        return False


def _visible(call: Call) -> WebhookRecord:
    webhook = call.emulation.store.webhook(call.parameter("webhook"), call.project)
    if webhook is None:
        raise not_found()
    return webhook


def _json(webhook: WebhookRecord) -> dict[str, object]:
    return {
        "name": webhook.name,
        "id": webhook.id,
        "uri": webhook.uri,
        "subscribed_events": webhook.subscribed_events,
        "state": "enabled",
        "create_time": timestamp(webhook.created_at),
        "signing_secrets": [{"truncated_secret": webhook.secret[-4:]}],
    }
