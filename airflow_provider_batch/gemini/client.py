"""The sync and the async client: thin shells that perform what the scripts of ``calls`` and ``upload`` say.

The two differ in how they wait, and in nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import BinaryIO, TypeVar

import httpx

from airflow_provider_batch.errors import ProtocolError
from airflow_provider_batch.gemini import calls
from airflow_provider_batch.gemini.exchange import Pause, ReadBlock, Reply, Script, Step
from airflow_provider_batch.gemini.transport import (
    COPY_BYTES,
    Endpoint,
    Taken,
    apieces,
    http_options,
    http_request,
    parts,
    pieces,
    quiet_own_traffic,
    read_block,
)
from airflow_provider_batch.gemini.upload import upload_file
from airflow_provider_batch.gemini.wire import Batch, BatchPage, File, FilePage, InlineRequest, Model

T = TypeVar("T")


class GeminiClient:
    """Blocking client, for tasks. Use as a context manager; not safe to share between threads.

    Every method raises :class:`~airflow_provider_batch.errors.BatchError`: ``ApiError`` for an error that the
    API answered, ``ApiUnreachableError`` for no answer, ``ProtocolError`` for an answer that makes no sense.
    Reads, cancels and deletes are repeated for a few seconds while they fail for passing reasons; a create
    is sent exactly once.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        quiet_own_traffic(endpoint)
        self._http = httpx.Client(**http_options(endpoint))

    def __enter__(self) -> GeminiClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def upload_file(
        self, source: BinaryIO, size_bytes: int, display_name: str, mime_type: str | None = None
    ) -> File:
        """Upload a seekable binary file of at most 2 GB, in blocks of 8 MiB."""
        return self._run(upload_file(size_bytes, display_name, mime_type), source)

    def create_batch(
        self,
        model: str,
        display_name: str,
        *,
        file_name: str | None = None,
        requests: Iterable[InlineRequest] = (),
    ) -> Batch:
        """Create a paid job from an uploaded file or a few inline requests. Sent exactly once.

        :raises SubmitUnknownError: The request may have arrived: look for ``display_name`` in the listing.
        """
        return self._run(calls.create_batch(model, display_name, file_name=file_name, requests=requests))

    def get_batch(self, name: str) -> Batch:
        """One batch by name, ``batches/...``."""
        return self._run(calls.get_batch(name))

    def list_batches(self, page_size: int = calls.BATCH_PAGE_SIZE) -> Iterator[Batch]:
        """All batches of the project, page by page."""
        pages = _Pages()
        while pages.wants_more:
            page: BatchPage = self._run(calls.list_batches(pages.token, page_size))
            pages.turn(page.next_page_token)
            yield from page.items

    def cancel_batch(self, name: str) -> None:
        """Ask for cancellation; get the batch afterwards to see what it became."""
        self._run(calls.cancel_batch(name))

    def delete_batch(self, name: str) -> None:
        """Delete a batch and its results."""
        self._run(calls.delete_batch(name))

    def get_file(self, name: str) -> File:
        """Metadata of a file, ``files/...``."""
        return self._run(calls.get_file(name))

    def list_files(self, page_size: int = calls.BATCH_PAGE_SIZE) -> Iterator[File]:
        """All files of the project, page by page."""
        pages = _Pages()
        while pages.wants_more:
            page: FilePage = self._run(calls.list_files(pages.token, page_size))
            pages.turn(page.next_page_token)
            yield from page.items

    def delete_file(self, name: str) -> None:
        """Delete a file."""
        self._run(calls.delete_file(name))

    def download_file(self, name: str, to: BinaryIO) -> int:
        """Write a generated file to a seekable binary file, from its start; return the bytes written."""
        self._run(calls.download_file(name), to)
        return to.seek(0, 2)

    def get_model(self, model: str) -> Model:
        """One model by name, with or without ``models/``."""
        return self._run(calls.get_model(model))

    def list_models(self, page_size: int = calls.BATCH_PAGE_SIZE) -> tuple[Model, ...]:
        """The first page of the models that the credential may use: the cheapest real call."""
        return self._run(calls.list_models(page_size=page_size)).items

    def _run(self, script: Script[T], file: BinaryIO | None = None) -> T:
        reply: Reply = None
        while True:
            try:
                step = script.send(reply)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            reply = self._perform(step, file)

    def _perform(self, step: Step, file: BinaryIO | None) -> Reply:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        if isinstance(step, ReadBlock):
            return read_block(file, step)
        request, download = parts(step)
        taken = Taken(download, file)
        try:
            with self._http.stream(
                **http_request(request, download, self.endpoint.address(request), self.endpoint.headers(request)),
                content=pieces(request.content),
            ) as response:
                taken.begin(response)
                for chunk in response.iter_raw(COPY_BYTES):
                    taken.add(chunk)
                return taken.answer()
        except httpx.TransportError as error:
            return taken.lost(error)


class AsyncGeminiClient:
    """The same client for an event loop: triggers. Nothing in it blocks the loop.

    Close it with ``await client.aclose()`` or use it as an async context manager.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
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
        return await self._run(upload_file(size_bytes, display_name, mime_type), source)

    async def create_batch(
        self,
        model: str,
        display_name: str,
        *,
        file_name: str | None = None,
        requests: Iterable[InlineRequest] = (),
    ) -> Batch:
        """As :meth:`GeminiClient.create_batch`."""
        return await self._run(calls.create_batch(model, display_name, file_name=file_name, requests=requests))

    async def get_batch(self, name: str) -> Batch:
        """As :meth:`GeminiClient.get_batch`."""
        return await self._run(calls.get_batch(name))

    async def list_batches(self, page_size: int = calls.BATCH_PAGE_SIZE) -> AsyncIterator[Batch]:
        """As :meth:`GeminiClient.list_batches`."""
        pages = _Pages()
        while pages.wants_more:
            page: BatchPage = await self._run(calls.list_batches(pages.token, page_size))
            pages.turn(page.next_page_token)
            for batch in page.items:
                yield batch

    async def cancel_batch(self, name: str) -> None:
        """As :meth:`GeminiClient.cancel_batch`."""
        await self._run(calls.cancel_batch(name))

    async def delete_batch(self, name: str) -> None:
        """As :meth:`GeminiClient.delete_batch`."""
        await self._run(calls.delete_batch(name))

    async def get_file(self, name: str) -> File:
        """As :meth:`GeminiClient.get_file`."""
        return await self._run(calls.get_file(name))

    async def list_files(self, page_size: int = calls.BATCH_PAGE_SIZE) -> AsyncIterator[File]:
        """As :meth:`GeminiClient.list_files`."""
        pages = _Pages()
        while pages.wants_more:
            page: FilePage = await self._run(calls.list_files(pages.token, page_size))
            pages.turn(page.next_page_token)
            for file in page.items:
                yield file

    async def delete_file(self, name: str) -> None:
        """As :meth:`GeminiClient.delete_file`."""
        await self._run(calls.delete_file(name))

    async def download_file(self, name: str, to: BinaryIO) -> int:
        """As :meth:`GeminiClient.download_file`."""
        await self._run(calls.download_file(name), to)
        return await asyncio.to_thread(to.seek, 0, 2)

    async def get_model(self, model: str) -> Model:
        """As :meth:`GeminiClient.get_model`."""
        return await self._run(calls.get_model(model))

    async def list_models(self, page_size: int = calls.BATCH_PAGE_SIZE) -> tuple[Model, ...]:
        """As :meth:`GeminiClient.list_models`."""
        return (await self._run(calls.list_models(page_size=page_size))).items

    async def _run(self, script: Script[T], file: BinaryIO | None = None) -> T:
        reply: Reply = None
        while True:
            try:
                step = script.send(reply)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            reply = await self._perform(step, file)

    async def _perform(self, step: Step, file: BinaryIO | None) -> Reply:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
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
                async for chunk in response.aiter_raw(COPY_BYTES):
                    await asyncio.to_thread(taken.add, chunk) if taken.to_file else taken.add(chunk)
                return taken.answer()
        except httpx.TransportError as error:
            return taken.lost(error)


class _Pages:
    """Walks a listing and refuses one that runs in a circle."""

    def __init__(self) -> None:
        self.token = ""
        self.wants_more = True
        self._seen: set[str] = set()

    def turn(self, next_token: str) -> None:
        if next_token in self._seen:
            raise ProtocolError(
                "The listing came back to a page that it had shown before, so it has no end.",
                code="AGB-A07",
                remedy="Treated as unknown; run the task again later.",
            )
        self._seen.add(next_token)
        self.token = next_token
        self.wants_more = bool(next_token)
