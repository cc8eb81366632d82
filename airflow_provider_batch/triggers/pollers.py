"""One poller for each connection in each event loop: what all triggers of a triggerer share."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow_provider_batch.batch.wait.poller import Poller
from airflow_provider_batch.triggers.wakeups import WebhookListener

if TYPE_CHECKING:
    from airflow_provider_batch.gemini.service import AsyncGeminiBatchService
    from airflow_provider_batch.hooks.gemini import GeminiBatchHook

_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Poller]] = WeakKeyDictionary()


def poller_of(conn_id: str) -> Poller:
    """The poller for a connection in the running event loop. It ends with the last wait."""
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    if conn_id not in pollers:
        pollers[conn_id] = _poller(conn_id, pollers)
    return pollers[conn_id]


def _poller(conn_id: str, pollers: dict[str, Poller]) -> Poller:
    listener = WebhookListener(conn_id)

    async def connect() -> AsyncGeminiBatchService:
        hook = await asyncio.to_thread(_hook, conn_id)
        service = await hook.aservice()
        if hook.has_webhook:
            listener.begin(poller)
        return service

    def ended() -> None:
        listener.end()
        pollers.pop(conn_id, None)

    poller = Poller(connect, ended)
    return poller


async def service_of(conn_id: str) -> AsyncGeminiBatchService:
    """A service of its own. Close it with ``aclose()``.

    :raises BatchError: The connection cannot be used, or not be looked up this time.
    """
    hook = await asyncio.to_thread(_hook, conn_id)
    return await hook.aservice()


def _hook(conn_id: str) -> GeminiBatchHook:
    # In a thread: the client's libraries take long enough to import that all other triggers would feel it.
    from airflow_provider_batch.hooks.gemini import GeminiBatchHook

    importlib.import_module("airflow_provider_batch.gemini.service")
    return GeminiBatchHook(conn_id)
