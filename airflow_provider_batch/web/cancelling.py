"""Ends the jobs of a batch because a person pressed a button."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.job_names import JobTag
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.batch.send.end_jobs import EndRequest, ask_to_end, note_end
from airflow_provider_batch.contract import JobSnapshot
from airflow_provider_batch.errors import BatchError
from airflow_provider_batch.web.detail import forget, ledger_of, message_for_page
from airflow_provider_batch.web.views import Row

log = logging.getLogger(__name__)


@dataclass
class Asked:
    """What came of it.

    :param jobs: Those that were asked to end.
    :param refused: Those that run on, and why.
    """

    jobs: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def trouble(self) -> str:
        """What to do about those that run on. Empty if there are none."""
        if not self.refused:
            return ""
        job, why = next(iter(self.refused.items()))
        return (
            f"Nothing more of the batch is sent, but {len(self.refused)} of its jobs may run on: "
            f"{job} was not asked to end. {why} Try again."
        )


def cancel(row: Row, who: str) -> Asked:
    """Note that nothing more of a batch is to be sent, then ask all its jobs to end.

    In that order, as :mod:`~airflow_provider_batch.batch.send.end_jobs` says.

    :param who: For the note.
    :raises BatchError: The ledger cannot be read or written, or the connection does not exist.
    """
    from airflow_provider_batch.web.server_hook import ServerHook

    ledger, batch = ledger_of(row)
    noted = 0
    # A worker may have begun the next round in the meantime.
    while batch.round.published is None and batch.round.number > noted:
        noted = batch.round.number
        note_end(ledger, batch.round.document(names.CANCEL), f"cancelled in Airflow's UI by {who}", by=who)
        ledger, batch = ledger_of(row)
    forget(row)
    request = EndRequest(f"{who} pressed the button", log)
    if noted and batch.round.open_jobs:
        with ServerHook(row.conn_id).service() as service:
            ask_to_end(service, batch.round.open_jobs, request, lambda job: _ensure_of(batch, service.look(job)))
    return Asked(request.asked, {job: _for_page(error) for job, error in request.refused.items()})


def _ensure_of(batch: BatchState, job: JobSnapshot) -> None:
    """A person who may write XComs and files could name the job of another DAG."""
    tag = JobTag.read(job.display_name)
    if tag is None or (tag.task_digest, tag.folder) != (batch.plan.identity.task_digest, batch.plan.place):
        raise BatchError("It is not a job of this batch.")


def _for_page(error: Exception) -> str:
    if isinstance(error, BatchError):
        return message_for_page(error)
    # The text of what a transport raises could hold a credential.
    return f"It cannot be asked ({type(error).__name__})."
