"""The trigger: waits without holding a worker slot, and does nothing that costs money."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_batch.airflow_compat import object_path
from airflow_provider_batch.argument_checks import seconds

if TYPE_CHECKING:
    from airflow_provider_batch.airflow_types import TaskKey

VERSION = 2

ON_KILL_S = 25.0
"""Seconds for asking the jobs to end. Airflow's ``[triggerer] on_kill_timeout`` is 30."""

LOOKS_S = 20.0
"""Of these, for finding out what became of the task."""


class GeminiBatchTrigger(BaseTrigger):
    """Waits until there is a reason for a worker to go on, then fires exactly one event.

    There are five reasons. One of the jobs is finished. A display name shows in the listing. A time has come. The
    deadline has passed. Or a job cannot be asked about any more. The trigger survives a restart of the triggerer.
    All times are absolute and it only looks, so a second start does the same again. Passing errors (429, 5xx,
    network, connection lookup) are waited out until the deadline. It never submits anything. All triggers of a
    connection in a triggerer share one poller, so many cost little more than one.

    The event: ``{"outcome": "finished" | "found" | "due" | "timeout" | "unreadable" | "unknown_state", "job_name":
    str, "state": str, "message": str, "ledger": str | None}``. The event is only a wake-up. The task that
    receives it asks the ledger and the API.

    :param conn_id: Airflow connection id. The credential itself is never serialised.
    :param deadline: Unix time in seconds after which the wait gives up.
    :param job_names: ``batches/...``. The first that is finished ends the wait.
    :param display_names: The first that shows in the listing ends the wait.
    :param until: Unix time in seconds that ends the wait, None = no time does.
    :param poll_interval: Longest time between looks, seconds. A young job is looked at more often.
    :param ledger: Where the task's ledger is. Comes back in the event. It travels here rather than in the kwargs
        of ``defer``, which ``airflow dags test`` drops.
    :param job_name: One more job. How version 1 named its only one.
    :param waiting_task: dag_id, task_id, run_id and map_index of the task that waits. When it is stopped for good,
        the jobs are asked to end. None = never.
    :param cancel_note: Name of the document that then says so in the ledger.
    :param looks: False = wait for the time only, as looking from the triggerer has proved of no use.
    :param asked_at: Unix time at which the wait was begun, by the clock that set ``deadline`` and ``until``. Until
        an answer of the API says what time it is, the time that passes is measured. So no machine's clock judges.
    :param begin_by: The task has not begun yet, and gives up at this Unix time. Comes back in the event.
    :param unknown: Arguments of another version are accepted and ignored, so an upgrade never strands a task.
    """

    def __init__(
        self,
        conn_id: str,
        deadline: float,
        job_names: Sequence[str] = (),
        display_names: Sequence[str] = (),
        until: float | None = None,
        poll_interval: float = 60.0,
        ledger: str | None = None,
        job_name: str | None = None,
        waiting_task: TaskKey | None = None,
        cancel_note: str | None = None,
        looks: bool = True,
        asked_at: float | None = None,
        begin_by: float | None = None,
        **unknown: object,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.deadline = deadline
        self.job_names = [*job_names, *([job_name] if job_name else [])]
        self.display_names = list(display_names)
        self.until = until
        # One that another version has written must not strand its task.
        self.poll_interval = (
            poll_interval if "v" in unknown else seconds(1.0, 86_400.0)("poll_interval", poll_interval)
        )
        self.ledger = ledger
        self.waiting_task = waiting_task
        self.cancel_note = cancel_note
        self.looks = looks
        self.asked_at = asked_at
        self.begin_by = begin_by

    def serialize(self) -> tuple[str, dict[str, object]]:
        """Class path and arguments: names and numbers only."""
        return (
            "airflow_provider_batch.triggers.gemini.GeminiBatchTrigger",
            {
                "v": VERSION,
                "conn_id": self.conn_id,
                "deadline": self.deadline,
                "job_names": self.job_names,
                "display_names": self.display_names,
                "until": self.until,
                "poll_interval": self.poll_interval,
                "ledger": self.ledger,
                "waiting_task": self.waiting_task,
                "cancel_note": self.cancel_note,
                "looks": self.looks,
                "asked_at": self.asked_at,
                "begin_by": self.begin_by,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, yield the one event."""
        from airflow_provider_batch.batch.wait.poller import WaitFor
        from airflow_provider_batch.triggers.pollers import poller_of

        jobs, names = (self.job_names, self.display_names) if self.looks else ((), ())
        wanted = WaitFor(tuple(jobs), tuple(names), self.until, self.deadline, self.poll_interval, self.asked_at)
        # The logger of the class: one for each trigger would take more memory than the wait itself.
        news = await poller_of(self.conn_id).wait(wanted, self.logger().info)
        begin = {} if self.begin_by is None else {"begin_by": self.begin_by}
        yield TriggerEvent({**news._asdict(), "ledger": self.ledger, **begin})  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Ask the jobs to end, if the task's state says that no try will come back for the results.

        Airflow 3.3 calls this when a user marks the task failed, clears it or marks it a success. It also does so
        when a triggerer has lost the trigger to another. Only the first cancels.
        """
        if self.waiting_task is None:
            return
        # The triggerer cancels the trigger anew at every turn of its loop, about once a second, this call too.
        # What was begun is finished all the same, within the time that Airflow gives it.
        work = asyncio.ensure_future(asyncio.wait_for(self._cancel_jobs(self.waiting_task), ON_KILL_S))
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        if work.exception() is not None:
            self.log.error("The task was stopped and its jobs were not all ended: %s", await self._warning())
        work.result()

    async def _cancel_jobs(self, task: TaskKey) -> None:
        from airflow_provider_batch.batch.decide.after_kill import may_cancel
        from airflow_provider_batch.batch.send.end_jobs import EndRequest, ask_all_to_end
        from airflow_provider_batch.stopping import states_of
        from airflow_provider_batch.triggers.pollers import service_of

        states = await asyncio.to_thread(states_of, task, LOOKS_S)
        if not may_cancel(states):
            if states[-1] is None:
                self.log.error("What became of the task cannot be told. %s", await self._warning())
            else:
                self.log.info("The task is %s: its jobs are left alone.", states[-1])
            return
        service = await service_of(self.conn_id)
        try:
            request = EndRequest(f"The task is {states[-1]}", self.log)
            try:
                await ask_all_to_end(service, self.job_names, request)
            finally:
                if request.asked:
                    await asyncio.to_thread(self._note_end)
            request.raise_refusal()
        finally:
            await service.aclose()

    async def _warning(self) -> str:
        from airflow_provider_batch.stopping import warning

        return await asyncio.to_thread(warning, self.job_names, self.conn_id, self.ledger)

    def _note_end(self) -> None:
        from airflow_provider_batch.batch.ledger.store import Ledger
        from airflow_provider_batch.batch.send.end_jobs import note_end
        from airflow_provider_batch.stopping import KILLED

        if self.ledger and self.cancel_note:
            note_end(Ledger(object_path(self.ledger, "ledger")), self.cancel_note, KILLED)
