"""The client for an event loop: the same scripts as :mod:`client`, performed without blocking.

The two differ in how they wait, and in nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, BinaryIO, TypeVar

import httpx

from airflow_provider_batch.gemini import webhooks
from airflow_provider_batch.gemini.client import calls, upload
from airflow_provider_batch.gemini.client.answers import UnreadableEntry
from airflow_provider_batch.gemini.client.exchange import Act, Pause, ReadBlock, Reply, Script
from airflow_provider_batch.gemini.client.pages import Page, PageWalk
from airflow_provider_batch.gemini.client.server_clock import ServerClock
from airflow_provider_batch.gemini.client.transport import (
    COPY_BYTES,
    Endpoint,
    Taken,
    api_date,
    apieces,
    http_options,
    http_request,
    parts,
    quiet_own_traffic,
    read_block,
)
from airflow_provider_batch.gemini.wire import Batch, File, InlineRequest, Model, TokenCount, Webhook

T = TypeVar("T")
P = TypeVar("P", bound=Page[Any])


class AsyncGeminiClient:
    """The same client for an event loop: triggers. Nothing in it blocks the loop.

    Close it with ``await client.aclose()`` or use it as an async context manager.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.clock = ServerClock()
        quiet_own_traffic(endpoint)
        self._http = httpx.AsyncClient(**http_options(endpoint))

    async def __aenter__(self) -> AsyncGeminiClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def upload_file(
        self, source: BinaryIO, size_bytes: int, display_name: str, mime_type: str | None = None
    ) -> File:
        """As :meth:`GeminiClient.upload_file`."""
        return await self._run(upload.upload_file(size_bytes, display_name, mime_type), source)

    async def start_upload(self, size_bytes: int, display_name: str, mime_type: str = upload.JSONL_MIME) -> str:
        """As :meth:`GeminiClient.start_upload`."""
        return await self._run(upload.start_upload(size_bytes, display_name, mime_type))

    async def resume_upload(self, session: str, source: BinaryIO, size_bytes: int, display_name: str) -> File:
        """As :meth:`GeminiClient.resume_upload`."""
        return await self._run(upload.resume_upload(session, size_bytes, display_name), source)

    async def create_batch(
        self,
        model: str,
        display_name: str,
        *,
        file_name: str | None = None,
        requests: Iterable[InlineRequest] = (),
        priority: int = 0,
        embeddings: bool = False,
    ) -> Batch:
        """As :meth:`GeminiClient.create_batch`."""
        return await self._run(
            calls.create_batch(
                model,
                display_name,
                file_name=file_name,
                requests=requests,
                priority=priority,
                embeddings=embeddings,
            )
        )

    async def get_batch(self, name: str) -> Batch:
        """As :meth:`GeminiClient.get_batch`."""
        return await self._run(calls.get_batch(name))

    def list_batches(self, page_size: int = calls.PAGE_SIZE) -> AsyncIterator[Batch]:
        """As :meth:`GeminiClient.list_batches`."""
        return self._each(lambda token: calls.list_batches(token, page_size))

    async def list_batch_pages(
        self, page_size: int = calls.PAGE_SIZE
    ) -> AsyncIterator[Iterable[Batch | UnreadableEntry]]:
        """The same listing, a page at a time, with what cannot be read in its place.

        The next page is not asked for before this one is used up.
        """
        async for page in self._pages(lambda token: calls.list_batches(token, page_size)):
            yield page.entries

    async def update_batch(
        self,
        name: str,
        *,
        display_name: str | None = None,
        priority: int | None = None,
        embeddings: bool = False,
    ) -> Batch:
        """As :meth:`GeminiClient.update_batch`."""
        return await self._run(
            calls.update_batch(name, display_name=display_name, priority=priority, embeddings=embeddings)
        )

    async def cancel_batch(self, name: str) -> None:
        """As :meth:`GeminiClient.cancel_batch`."""
        await self._run(calls.cancel_batch(name))

    async def delete_batch(self, name: str) -> None:
        """As :meth:`GeminiClient.delete_batch`."""
        await self._run(calls.delete_batch(name))

    async def get_file(self, name: str) -> File:
        """As :meth:`GeminiClient.get_file`."""
        return await self._run(calls.get_file(name))

    async def wait_for_file(self, name: str, timeout_s: float = 600.0) -> File:
        """As :meth:`GeminiClient.wait_for_file`."""
        return await self._run(calls.wait_for_file(name, timeout_s))

    def list_files(self, page_size: int = calls.PAGE_SIZE) -> AsyncIterator[File]:
        """As :meth:`GeminiClient.list_files`."""
        return self._each(lambda token: calls.list_files(token, page_size))

    async def delete_file(self, name: str) -> None:
        """As :meth:`GeminiClient.delete_file`."""
        await self._run(calls.delete_file(name))

    async def download_file(self, name: str, to: BinaryIO, from_byte: int = 0) -> int:
        """As :meth:`GeminiClient.download_file`."""
        await self._run(calls.download_file(name, from_byte), to)
        return await asyncio.to_thread(to.seek, 0, 2)

    async def get_model(self, model: str) -> Model:
        """As :meth:`GeminiClient.get_model`."""
        return await self._run(calls.get_model(model))

    def list_models(self, page_size: int = calls.PAGE_SIZE) -> AsyncIterator[Model]:
        """As :meth:`GeminiClient.list_models`."""
        return self._each(lambda token: calls.list_models(token, page_size))

    async def count_tokens(self, model: str, request: Mapping[str, Any]) -> TokenCount:
        """As :meth:`GeminiClient.count_tokens`."""
        return await self._run(calls.count_tokens(model, request))

    async def create_webhook(self, uri: str, events: Iterable[str] = webhooks.EVENTS) -> Webhook:
        """As :meth:`GeminiClient.create_webhook`."""
        return await self._run(webhooks.create_webhook(uri, events))

    def list_webhooks(self) -> AsyncIterator[Webhook]:
        """As :meth:`GeminiClient.list_webhooks`."""
        return self._each(webhooks.list_webhooks)

    async def delete_webhook(self, name: str) -> None:
        """As :meth:`GeminiClient.delete_webhook`."""
        await self._run(webhooks.delete_webhook(name))

    async def rotate_webhook_secret(self, name: str) -> str:
        """As :meth:`GeminiClient.rotate_webhook_secret`."""
        return (await self._run(webhooks.rotate_webhook_secret(name))).secret

    async def _each(self, page_at: Callable[[str], Script[Page[T]]]) -> AsyncIterator[T]:
        async for page in self._pages(page_at):
            for item in page.items:
                yield item

    async def _pages(self, page_at: Callable[[str], Script[P]]) -> AsyncIterator[P]:
        walk = PageWalk()
        while walk.goes_on:
            page = await self._run(page_at(walk.token))
            walk.turn(page.next_page_token)
            yield page

    async def _run(self, script: Script[T], file: BinaryIO | None = None) -> T:
        began = time.monotonic()
        reply: Reply = None
        while True:
            try:
                step = script.send(reply)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            reply = await (self._pause(step, began) if isinstance(step, Pause) else self._perform(step, file))

    async def _pause(self, step: Pause, began: float) -> float:
        await asyncio.sleep(step.seconds)
        return time.monotonic() - began

    async def _perform(self, step: Act, file: BinaryIO | None) -> Reply:
        if isinstance(step, ReadBlock):
            return await asyncio.to_thread(read_block, file, step)
        request, download = parts(step)
        taken = Taken(download, file)
        headers = await asyncio.to_thread(self.endpoint.headers, request)
        try:
            async with self._http.stream(
                **http_request(request, download, self.endpoint.address(request), headers),
                content=apieces(request.content),
            ) as response:
                taken.begin(response)
                self.clock.note(api_date(response))
                async for chunk in response.aiter_raw(COPY_BYTES):
                    await asyncio.to_thread(taken.add, chunk) if taken.to_file else taken.add(chunk)
                return taken.answer()
        except httpx.TransportError as error:
            return taken.lost(error)
