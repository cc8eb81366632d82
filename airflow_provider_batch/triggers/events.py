"""The event trigger: a DAG starts when a batch ends, wherever it was submitted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_batch.argument_checks import between_looks, is_template, text, wrong
from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.triggers.pollers import poller_of

if TYPE_CHECKING:
    from airflow_provider_batch.contract import JobSnapshot

STORE_KEY = "gemini_batch_endings"
"""Where Airflow's store for the state of an asset (3.3) holds what was told."""


class GeminiBatchEventTrigger(BaseEventTrigger):
    """For an :class:`~airflow.sdk.AssetWatcher`: fires for each batch of the project that ends.

    An event is fired for every batch whose display name begins with the prefix, however it ended. The batch must
    have ended after the watcher first saw the listing. From Airflow 3.3 on it is remembered which were told. So a
    batch that ends while no triggerer runs is told later. A batch may be told twice if a triggerer is killed right
    after it was told. Before 3.3 the watcher begins anew with each start of a triggerer. It shares the poller with
    all other triggers of the connection, and asks for nothing of its own beyond the listing.

    The event, which a DAG finds in ``triggering_asset_events`` as ``extra["payload"]``: ``{"job_name":
    "batches/...", "display_name": str, "state": "succeeded" | "failed" | "cancelled" | "expired" | "unknown",
    "requests": int, "succeeded": int, "failed": int, "created_at": str | None, "ended_at": str,
    "output_file": "files/..." | None, "conn_id": str}``, times in ISO 8601. Results are deleted after 48 h.

    None of the arguments is templated.

    :param display_name_prefix: What display names begin with. Empty = every batch of the project. Batches of this
        package begin with ``agb1.``. For those, outlets of the operator tell more.
    :param gemini_conn_id: Airflow connection of type ``gemini``.
    :param poll_interval: Seconds between readings of the listing, 1 to 3,600.
    :param conn_id: The same as ``gemini_conn_id``, in serialized triggers.
    :param unknown: Arguments of another version, which says so, are accepted and ignored.
    :raises ConfigError: An argument cannot be meant, or there is none of its name.
    """

    def __init__(
        self,
        display_name_prefix: str = "",
        gemini_conn_id: str = "gemini_default",
        poll_interval: float | timedelta = 60.0,
        conn_id: str | None = None,
        **unknown: object,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if unknown and "v" not in unknown:
            raise ConfigError(
                f"GeminiBatchEventTrigger has no argument {min(unknown)!r}.",
                code="AGB-C06",
                remedy="It has display_name_prefix, gemini_conn_id and poll_interval.",
            )
        is_empty = display_name_prefix == ""
        self.display_name_prefix = "" if is_empty else text("display_name_prefix", display_name_prefix)
        self.conn_id = text("gemini_conn_id", gemini_conn_id if conn_id is None else conn_id)
        self.poll_interval = between_looks("poll_interval", poll_interval)
        for name in ("display_name_prefix", "conn_id"):
            if is_template(getattr(self, name)):
                raise wrong(name, "a text", getattr(self, name))

    def serialize(self) -> tuple[str, dict[str, object]]:
        """Class path and arguments. The same for the same arguments: Airflow tells watchers apart by them."""
        return (
            "airflow_provider_batch.triggers.events.GeminiBatchEventTrigger",
            {
                "display_name_prefix": self.display_name_prefix,
                "conn_id": self.conn_id,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each batch that ends. Never ends itself."""
        from airflow_provider_batch.batch.wait.endings import Endings

        poller = poller_of(self.conn_id)
        endings: Endings | None = None
        async for jobs in poller.listings(self.display_name_prefix, self.poll_interval):
            if endings is None:
                now = datetime.fromtimestamp(poller.now(), timezone.utc)
                endings = Endings.from_json(await self._stored(), now)
            # Not right after the events: by now Airflow has written those of the listing before to its database.
            await self._store(endings.to_json())
            for job in endings.fresh(jobs):
                yield TriggerEvent(_payload(job, self.conn_id))  # type: ignore[no-untyped-call]

    async def _stored(self) -> object:
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return None
        try:
            return await store.aget(STORE_KEY)
        except Exception as error:  # noqa: BLE001
            # Of several assets with this watcher none is its own. And the API server may be away.
            self.log.warning("What was told cannot be read (%s): watching from now on.", type(error).__name__)
            return None

    async def _store(self, endings: dict[str, object]) -> None:
        store = getattr(self, "asset_state_store", None)
        if store is None or endings == self._last_stored:
            return
        try:
            await store.aset(STORE_KEY, endings)
            self._last_stored = endings
        except Exception as error:  # noqa: BLE001
            # The API server may be away, and that is any exception. The events matter more than the note.
            self.log.warning("What was told cannot be kept: %s.", type(error).__name__)

    _last_stored: dict[str, object] | None = None


def _payload(job: JobSnapshot, conn_id: str) -> dict[str, object]:
    return {
        "job_name": job.name,
        "display_name": job.display_name,
        "state": job.state.value,
        "requests": job.requests,
        "succeeded": job.succeeded,
        "failed": job.failed,
        "created_at": job.created_at and job.created_at.isoformat(),
        "ended_at": job.ended_at and job.ended_at.isoformat(),
        "output_file": job.output_file,
        "conn_id": conn_id,
    }
