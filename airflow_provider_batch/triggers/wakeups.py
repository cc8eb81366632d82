"""Listens to what the receiver of webhooks has noted, and makes a poller look at once.

It can only make a poller look sooner. What goes wrong here is not felt: polling goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Coroutine
from typing import TypeVar

from airflow_provider_batch.airflow_compat import aget_variable, aput_variable
from airflow_provider_batch.batch.wait.poller import Poller
from airflow_provider_batch.batch.wait.webhook_notes import Reader, description_of, key_of

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""Seconds between readings."""

TELL_AFTER = 12
"""Readings that fail one after the other before a line in the log says so: once, until one works again."""

T = TypeVar("T")

_open: set[object] = set()


class WebhookListener:
    """Reads the note for a connection as long as its poller runs."""

    def __init__(self, conn_id: str, every_s: float = EVERY_S) -> None:
        self._conn_id = conn_id
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def begin(self, poller: Poller) -> None:
        """Listen, if it does not already."""
        if self._task is None:
            # In a context of its own: what it logs must not end up in the log of the first wait.
            self._task = contextvars.Context().run(asyncio.ensure_future, self._listen(poller))

    def end(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()

    async def _listen(self, poller: Poller) -> None:
        reader, failures = Reader(), 0
        while True:
            try:
                for job in reader.news(await self._note()):
                    # A job of another program is none of ours. What does not look like a name may mean any.
                    if poller.waits_for(job) or not job.startswith("batches/"):
                        poller.wake(job)
                failures = 0
            except Exception as error:  # noqa: BLE001
                # The supervisor raises anything, and a wait needs no webhook: it must not end with this.
                failures += 1
                if failures == TELL_AFTER:
                    log.warning(
                        "Webhooks for %s are not heard of (%s); polling goes on.",
                        self._conn_id,
                        type(error).__name__,
                    )
            await asyncio.sleep(self._every_s)

    async def _note(self) -> str | None:
        key = key_of(self._conn_id)
        note = await _undisturbed(aget_variable(key))
        if note is None:
            # Airflow 3.1 writes an error into its log each time that a Variable is not there.
            await _undisturbed(aput_variable(key, "{}", description_of(self._conn_id)))
        return note


async def _undisturbed(question: Coroutine[object, object, T]) -> T:
    """Have a question answered, even if the task that asked it is cancelled meanwhile."""
    asked = asyncio.ensure_future(question)
    _open.add(asked)
    asked.add_done_callback(_close)
    return await asyncio.shield(asked)


def _close(asked: asyncio.Future[T]) -> None:
    _open.discard(asked)
    if not asked.cancelled():
        # There may be no caller left to take it.
        asked.exception()
