"""The trigger: waits for a job without holding a worker slot, and does nothing that costs money."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from airflow_provider_batch.contract import JobSnapshot
    from airflow_provider_batch.engine.waiting import Finished, GiveUp
    from airflow_provider_batch.gemini.service import AsyncGeminiBatchService

VERSION = 1


class GeminiBatchTrigger(BaseTrigger):
    """Waits until a Gemini batch job is finished or its deadline passes, then fires exactly one event.

    It survives a restart of the triggerer: the deadline is absolute and the job is only looked at, so a
    second start does the same again. Passing errors (429, 5xx, network, connection lookup) are waited out
    until the deadline; a rejected credential ends the wait at once. It never cancels or submits anything.

    The event: ``{"outcome": "finished" | "timeout" | "unreadable" | "unknown_state", "job_name": str,
    "state": str, "message": str, "submission": dict | None}``. Whoever receives it asks the
    API again: the event is only a wake-up.

    :param job_name: ``batches/...``.
    :param conn_id: Airflow connection id. The credential itself is never serialised.
    :param deadline: Unix time in seconds after which the wait gives up.
    :param poll_interval: Seconds between looks.
    :param submission: What the operator needs to land the job; comes back in the event as it was given. It
        travels here rather than in the kwargs of ``defer``, which ``airflow dags test`` drops.
    :param unknown: Arguments of another version are accepted and ignored, so an upgrade never strands a task.
    """

    def __init__(
        self,
        job_name: str,
        conn_id: str,
        deadline: float,
        poll_interval: float = 60.0,
        submission: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_name = job_name
        self.conn_id = conn_id
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.submission = submission

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments: names and numbers only."""
        return (
            "airflow_provider_batch.triggers.gemini.GeminiBatchTrigger",
            {
                "v": VERSION,
                "job_name": self.job_name,
                "conn_id": self.conn_id,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "submission": self.submission,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch the job, yield the one event."""
        from airflow_provider_batch.engine.waiting import Watch
        from airflow_provider_batch.engine.watching import awatch_job

        async with AsyncExitStack() as stack:
            look = _Look(self.conn_id, stack)
            watch = Watch(self.job_name, self.deadline, self.poll_interval)
            verdict = await awatch_job(look, watch, self.log.info)
        yield TriggerEvent({**_event(self.job_name, verdict), "submission": self.submission})  # type: ignore[no-untyped-call]


class _Look:
    """One look at the job. The client is built at the first look that gets a connection, and kept."""

    def __init__(self, conn_id: str, stack: AsyncExitStack) -> None:
        self._conn_id = conn_id
        self._stack = stack
        self._service: AsyncGeminiBatchService | None = None

    async def __call__(self, job_name: str) -> JobSnapshot:
        if self._service is None:
            from airflow_provider_batch.hooks.gemini import GeminiBatchHook

            self._service = await GeminiBatchHook(self._conn_id).aservice()
            self._stack.push_async_callback(self._service.aclose)
        return await self._service.look(job_name)


def _event(job_name: str, verdict: Finished | GiveUp) -> dict[str, str]:
    from airflow_provider_batch.engine.waiting import Finished

    if isinstance(verdict, Finished):
        state = verdict.job.raw_state
        return {"outcome": "finished", "job_name": job_name, "state": state, "message": f"{job_name} is {state}."}
    return {"outcome": verdict.reason, "job_name": job_name, "state": "", "message": verdict.message}
