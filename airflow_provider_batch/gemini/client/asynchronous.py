"""The client for an event loop: scripts of :mod:`calls`, performed without blocking.

It has the calls of a wait, and single calls, of which many run at a time. For all others tasks use the blocking
client. The two differ in how they wait, and in nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TypeVar

import httpx

from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.gemini.client import calls, single
from airflow_provider_batch.gemini.client.answers import UnreadableEntry
from airflow_provider_batch.gemini.client.exchange import Act, ApiRequest, Pause, Reply, Script
from airflow_provider_batch.gemini.client.pages import PageWalk
from airflow_provider_batch.gemini.client.server_clock import ServerClock
from airflow_provider_batch.gemini.client.single import SingleAnswer
from airflow_provider_batch.gemini.client.transport import (
    CONNECTIONS,
    COPY_BYTES,
    Endpoint,
    Taken,
    api_date,
    async_transport,
    http_options,
    http_request,
    quiet_own_traffic,
)
from airflow_provider_batch.gemini.wire import Batch

T = TypeVar("T")


class AsyncGeminiClient:
    """The client of triggers and of single calls. Nothing in it blocks the loop.

    Close it with ``await client.aclose()`` or use it as an async context manager.

    :param connections: How many may be open at a time. More calls than that wait for one.
    """

    def __init__(self, endpoint: Endpoint, *, connections: int = CONNECTIONS) -> None:
        self.endpoint = endpoint
        self.clock = ServerClock()
        quiet_own_traffic(endpoint)
        transport = async_transport(endpoint, connections)
        self._http = httpx.AsyncClient(**http_options(endpoint, connections), transport=transport)

    async def __aenter__(self) -> AsyncGeminiClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get_batch(self, name: str) -> Batch:
        """As :meth:`GeminiClient.get_batch`."""
        return await self._run(calls.get_batch(name))

    async def list_batch_pages(
        self, page_size: int = calls.PAGE_SIZE
    ) -> AsyncIterator[Iterable[Batch | UnreadableEntry]]:
        """The listing of all jobs, a page at a time, with what cannot be read in its place.

        The next page is not asked for before this one is used up.
        """
        walk = PageWalk()
        while walk.goes_on:
            page = await self._run(calls.list_batches(walk.token, page_size))
            walk.turn(page.next_page_token)
            yield page.entries

    async def cancel_batch(self, name: str) -> None:
        """As :meth:`GeminiClient.cancel_batch`."""
        await self._run(calls.cancel_batch(name))

    async def generate_content(
        self,
        model: str,
        request: Mapping[str, object],
        *,
        tier: Tier | str = Tier.STANDARD,
        timeout_s: float = single.TIMEOUT_S,
    ) -> SingleAnswer:
        """As :meth:`GeminiClient.generate_content`."""
        return await self._run(single.generate_content(model, request, tier, timeout_s))

    async def generate_content_once(
        self, model: str, request: Mapping[str, object], *, tier: Tier | str, timeout_s: float
    ) -> SingleAnswer:
        """The same with exactly one request on the wire, for a caller who paces by itself."""
        return await self._run(single.generate_content_once(model, request, tier, timeout_s))

    async def _run(self, script: Script[T]) -> T:
        began = time.monotonic()
        reply: Reply = None
        while True:
            try:
                step = script.send(reply)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            reply = await (self._pause(step, began) if isinstance(step, Pause) else self._perform(step))

    async def _pause(self, step: Pause, began: float) -> float:
        await asyncio.sleep(step.seconds)
        return time.monotonic() - began

    async def _perform(self, step: Act) -> Reply:
        if not isinstance(step, ApiRequest):
            raise TypeError("files are uploaded and downloaded by the blocking client only")
        taken = Taken(step)
        headers = await asyncio.to_thread(self.endpoint.headers, step)
        try:
            async with self._http.stream(
                **http_request(step, None, self.endpoint.address(step), headers), content=step.content
            ) as response:
                taken.begin(response)
                self.clock.note(api_date(response))
                async for chunk in response.aiter_raw(COPY_BYTES):
                    taken.add(chunk)
                return taken.answer()
        except httpx.TransportError as error:
            return taken.lost(error)
