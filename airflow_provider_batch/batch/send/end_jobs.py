"""Asks the jobs of a batch to end, and notes it in the ledger. An error of one keeps no other from being asked.

The note ``r<round>.cancel.json`` does two things. No visit sends more rows of that round. The next visit asks
those of its jobs again that still run. So the order depends on how certain the wish is:

- **Noted first**: the wish of a person, or of the user for the deadline. A worker that is about to send sees the
  note. What it sent before is in the ledger, which is read after the note. After a crash in between, the next
  visit asks.
- **Asked first**: the task was killed. A person may clear it, and its jobs then go on. A note without a job that
  was asked would end those jobs, and their rows would be paid for twice. So it is written once a job was asked.

The jobs of a superseded batch need no note: ``superseded.json`` was written first and says more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Protocol

from airflow_provider_batch.batch.ledger.documents import Cancel
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.contract import BatchService
from airflow_provider_batch.errors import BatchError, NotFoundError


class Log(Protocol):
    """What a logger of Python's and one of Airflow's have in common."""

    def warning(self, event: str, /, *values: object) -> object:
        """A line."""
        ...

    def error(self, event: str, /, *values: object) -> object:
        """A line."""
        ...


class AsyncEnder(Protocol):
    """What can ask a job to end without blocking."""

    async def cancel(self, job_name: str) -> None:
        """As :meth:`~airflow_provider_batch.contract.BatchService.cancel`."""
        ...


@dataclass
class EndRequest:
    """What came of asking.

    :param why: A sentence for the log, without its full stop.
    :param log: Told each job.
    :param asked: Names of the jobs that were asked to end.
    :param gone: Those that the vendor does not have any more, so they do not run.
    :param refused: Those that may run on, and why.
    """

    why: str
    log: Log
    asked: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    refused: dict[str, Exception] = field(default_factory=dict)

    def begin(self, job: str) -> None:
        """A job is about to be asked."""
        self.log.warning("%s is asked to end. %s.", job, self.why)

    def refuse(self, job: str, error: Exception) -> None:
        """A job was not asked."""
        if isinstance(error, NotFoundError):
            self.gone.append(job)
            return
        # The text of what a transport raises could hold a credential.
        reason = error if isinstance(error, BatchError) else type(error).__name__
        self.log.error("%s could not be asked to end and may run on: %s", job, reason)
        self.refused[job] = error

    def raise_refusal(self) -> None:
        """Raise the first error, if there is one."""
        for error in self.refused.values():
            raise error


def note_end(ledger: Ledger, name: str, why: str, *, by: str | None = None, at: datetime | None = None) -> None:
    """Write down that the jobs of a round are asked to end. The first note stays.

    :param name: ``r<round>.cancel.json``.
    :param by: The person who wished it, None if it was not a person's wish for these jobs.
    :param at: By the vendor's clock, None = now, by the clock of this machine.
    """
    ledger.put(name, Cancel(at=at or datetime.now(timezone.utc), why=why, by=by))


def ask_to_end(
    service: BatchService, jobs: Iterable[str], to: EndRequest, ensure_ours: Callable[[str], None] = lambda _: None
) -> None:
    """Ask one job after another.

    :param to: Told what came of it, job by job.
    :param ensure_ours: Raises an error if a job is not of this batch. It is not asked then.
    """
    for job in jobs:
        try:
            ensure_ours(job)
            to.begin(job)
            service.cancel(job)
        except Exception as error:  # noqa: BLE001 - the other jobs are to be asked in any case
            to.refuse(job, error)
        else:
            to.asked.append(job)


async def ask_all_to_end(service: AsyncEnder, jobs: Iterable[str], to: EndRequest) -> None:
    """Ask all jobs at the same time, as one may take long and there is little time.

    :param to: Told what came of it, job by job, also if this is cut short.
    """

    async def ask(job: str) -> None:
        to.begin(job)
        try:
            await service.cancel(job)
        except Exception as error:  # noqa: BLE001 - as above, and the caller raises it
            to.refuse(job, error)
        else:
            to.asked.append(job)

    await asyncio.gather(*map(ask, jobs))
