"""The blocking client: a thin shell that performs what the scripts of ``calls`` and ``upload`` say.

:mod:`async_client` differs in how it waits, and in nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

import httpx

from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.gemini import webhooks
from airflow_provider_batch.gemini.client import calls, single, upload
from airflow_provider_batch.gemini.client.answers import UnreadableEntry
from airflow_provider_batch.gemini.client.exchange import Act, Pause, ReadBlock, Reply, Script
from airflow_provider_batch.gemini.client.pages import Page, PageWalk
from airflow_provider_batch.gemini.client.server_clock import ServerClock
from airflow_provider_batch.gemini.client.single import SingleAnswer
from airflow_provider_batch.gemini.client.transport import (
    Endpoint,
    Taken,
    api_date,
    blocking_transport,
    http_options,
    http_request,
    parts,
    pieces,
    quiet_own_traffic,
    read_block,
)
from airflow_provider_batch.gemini.wire import Batch, File, InlineRequest, Model, TokenCount, Webhook

T = TypeVar("T")
P = TypeVar("P", bound=Page[Any])


class GeminiClient:
    """Blocking client, for tasks. Use as a context manager. Not safe to share between threads.

    Every method raises :class:`~airflow_provider_batch.errors.BatchError`: ``ApiError`` for an error that the API
    answered, ``ApiUnreachableError`` for no answer, ``ProtocolError`` for an answer that makes no sense. A call
    that fails for passing reasons is repeated for a while, if it may be repeated (``docs/retries.md``). A create
    is sent exactly once.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.clock = ServerClock()
        quiet_own_traffic(endpoint)
        self._http = httpx.Client(**http_options(endpoint), transport=blocking_transport(endpoint))

    def __enter__(self) -> GeminiClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def upload_file(
        self,
        source: BinaryIO,
        size_bytes: int,
        display_name: str,
        mime_type: str | None = None,
        on_session: Callable[[str], object] = lambda _: None,
        name: str = "",
    ) -> File:
        """Upload a seekable binary file of at most 2 GB, in blocks of 8 MiB.

        :param mime_type: None = ``application/jsonl``, or ``text/plain`` where the server refuses that.
        :param on_session: Called with the URL of the session as it begins, for :meth:`resume_upload`: a secret.
        :param name: ``files/...`` that the file is to have, empty = the server gives it one.
        """
        return self._run(upload.upload_file(size_bytes, display_name, mime_type, on_session, name), source)

    def start_upload(self, size_bytes: int, display_name: str, mime_type: str = upload.JSONL_MIME) -> str:
        """Begin an upload that another process may finish, and return the URL of its session.

        The URL is enough to write the file: keep it as a secret.
        """
        return self._run(upload.start_upload(size_bytes, display_name, mime_type))

    def resume_upload(self, session: str, source: BinaryIO, size_bytes: int, display_name: str) -> File:
        """Send what a session of :meth:`start_upload` does not have yet. Return its file if it has all.

        :raises ApiError: The session does not exist any more.
        """
        return self._run(upload.resume_upload(session, size_bytes, display_name), source)

    def create_batch(
        self,
        model: str,
        display_name: str,
        *,
        file_name: str | None = None,
        requests: Iterable[InlineRequest] = (),
        priority: int = 0,
        embeddings: bool = False,
    ) -> Batch:
        """Create a paid job from an uploaded file or a few inline requests. Sent exactly once.

        :param priority: Jobs of the project with a higher one go first. May be negative.
        :param embeddings: The rows are EmbedContentRequests.
        :raises SubmitUnknownError: The request may have arrived: look for ``display_name`` in the listing.
        """
        return self._run(
            calls.create_batch(
                model,
                display_name,
                file_name=file_name,
                requests=requests,
                priority=priority,
                embeddings=embeddings,
            )
        )

    def get_batch(self, name: str) -> Batch:
        """One batch by name, ``batches/...``."""
        return self._run(calls.get_batch(name))

    def list_batches(self, page_size: int = calls.PAGE_SIZE) -> Iterator[Batch]:
        """All batches of the project, page by page."""
        return self._each(lambda token: calls.list_batches(token, page_size))

    def list_batch_entries(self, page_size: int = calls.PAGE_SIZE) -> Iterator[Batch | UnreadableEntry]:
        """The same listing, with what cannot be read in its place."""
        for page in self._pages(lambda token: calls.list_batches(token, page_size)):
            yield from page.entries

    def update_batch(
        self,
        name: str,
        *,
        display_name: str | None = None,
        priority: int | None = None,
        embeddings: bool = False,
    ) -> Batch:
        """Change the display name or the priority of a job. An argument that is None changes nothing."""
        return self._run(
            calls.update_batch(name, display_name=display_name, priority=priority, embeddings=embeddings)
        )

    def cancel_batch(self, name: str) -> None:
        """Ask for cancellation. Get the batch afterwards to see what it became."""
        self._run(calls.cancel_batch(name))

    def delete_batch(self, name: str) -> None:
        """Delete a batch and its results."""
        self._run(calls.delete_batch(name))

    def get_file(self, name: str) -> File:
        """Metadata of a file, ``files/...``."""
        return self._run(calls.get_file(name))

    def wait_for_file(self, name: str, timeout_s: float = 600.0) -> File:
        """Wait until the server has processed an uploaded file.

        :raises FileNotReadyError: It could not, or not within ``timeout_s`` seconds.
        """
        return self._run(calls.wait_for_file(name, timeout_s))

    def list_files(self, page_size: int = calls.PAGE_SIZE) -> Iterator[File]:
        """All files of the project, page by page."""
        return self._each(lambda token: calls.list_files(token, page_size))

    def delete_file(self, name: str) -> None:
        """Delete a file."""
        self._run(calls.delete_file(name))

    def download_file(self, name: str, to: BinaryIO, from_byte: int = 0) -> int:
        """Write a generated file to a seekable binary file. Return the size in bytes.

        :param from_byte: ``to`` holds the file up to here already. Only the rest is fetched.
        """
        self._run(calls.download_file(name, from_byte), to)
        return to.seek(0, 2)

    def get_model(self, model: str) -> Model:
        """One model by name, with or without ``models/``."""
        return self._run(calls.get_model(model))

    def list_models(self, page_size: int = calls.PAGE_SIZE) -> Iterator[Model]:
        """All models that the credential may use, page by page."""
        return self._each(lambda token: calls.list_models(token, page_size))

    def count_tokens(self, model: str, request: Mapping[str, Any]) -> TokenCount:
        """Tokens of a GenerateContentRequest, as the model counts them."""
        return self._run(calls.count_tokens(model, request))

    def generate_content(
        self,
        model: str,
        request: Mapping[str, object],
        *,
        tier: Tier | str = Tier.STANDARD,
        timeout_s: float = single.TIMEOUT_S,
    ) -> SingleAnswer:
        """Have one GenerateContentRequest answered now. The answer is billed by the tier that served it.

        A refusal for now (429, 503) is repeated for a while. A lost answer is not asked for again.

        :param request: As in the row of a batch. It holds no tier.
        :param tier: ``standard``, or ``flex``: in 1 to 15 minutes at the price of batch mode.
        :param timeout_s: After which the API is to give up, seconds.
        :raises AnswerLostError: The answer did not arrive and may be billed.
        """
        return self._run(single.generate_content(model, request, tier, timeout_s))

    def create_webhook(self, uri: str, events: Iterable[str] = webhooks.EVENTS) -> Webhook:
        """Register a receiver of events. ``new_signing_secret`` of the answer is told only here."""
        return self._run(webhooks.create_webhook(uri, events))

    def list_webhooks(self) -> Iterator[Webhook]:
        """All webhooks of the project."""
        return self._each(webhooks.list_webhooks)

    def delete_webhook(self, name: str) -> None:
        """Delete a webhook."""
        self._run(webhooks.delete_webhook(name))

    def rotate_webhook_secret(self, name: str) -> str:
        """Get a new secret. The old one stays valid for 24 h."""
        return (self._run(webhooks.rotate_webhook_secret(name))).secret

    def _each(self, page_at: Callable[[str], Script[Page[T]]]) -> Iterator[T]:
        for page in self._pages(page_at):
            yield from page.items

    def _pages(self, page_at: Callable[[str], Script[P]]) -> Iterator[P]:
        walk = PageWalk()
        while walk.goes_on:
            page = self._run(page_at(walk.token))
            walk.turn(page.next_page_token)
            yield page

    def _run(self, script: Script[T], file: BinaryIO | None = None) -> T:
        began = time.monotonic()
        reply: Reply = None
        while True:
            try:
                step = script.send(reply)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            reply = self._pause(step, began) if isinstance(step, Pause) else self._perform(step, file)

    def _pause(self, step: Pause, began: float) -> float:
        time.sleep(step.seconds)
        return time.monotonic() - began

    def _perform(self, step: Act, file: BinaryIO | None) -> Reply:
        if isinstance(step, ReadBlock):
            return read_block(file, step)
        request, download = parts(step)
        taken = Taken(request, download, file)
        try:
            with self._http.stream(
                **http_request(request, download, self.endpoint.address(request), self.endpoint.headers(request)),
                content=pieces(request.content),
            ) as response:
                taken.begin(response)
                self.clock.note(api_date(response))
                # In the pieces in which they come: putting them together would copy each byte three times more.
                for chunk in response.iter_raw():
                    taken.add(chunk)
                return taken.answer()
        except httpx.TransportError as error:
            return taken.lost(error)
