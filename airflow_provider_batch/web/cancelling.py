"""Ends the jobs of a batch because a person pressed a button."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.job_names import JobTag
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.batch.ledger.store import note_cancel
from airflow_provider_batch.contract import BatchService
from airflow_provider_batch.errors import BatchError, NotFoundError
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
        """What to do about those that run on; empty if there are none."""
        if not self.refused:
            return ""
        job, why = next(iter(self.refused.items()))
        return (
            f"Nothing more of the batch is sent, but {len(self.refused)} of its jobs may run on: "
            f"{job} was not asked to end. {why} Try again."
        )


def cancel(row: Row, who: str) -> Asked:
    """Note that nothing more of a batch is to be sent, then ask all its jobs to end.

    In that order: a worker that is about to send sees the note, and what it sent before that is in the ledger,
    which is read again.

    :param who: For the note.
    :raises BatchError: The ledger cannot be read or written, or there is no such connection.
    """
    from airflow_provider_batch.web.server_hook import ServerHook

    ledger, batch = ledger_of(row)
    noted = 0
    # A worker may have begun the next round in the meantime.
    while batch.round.published is None and batch.round.number > noted:
        noted = batch.round.number
        note_cancel(ledger, batch.round.document(names.CANCEL), f"cancelled in Airflow's UI by {who}", by=who)
        ledger, batch = ledger_of(row)
    forget(row)
    asked = Asked()
    jobs = [shard.job for shard in batch.round.shards if shard.job and not shard.landed]
    if noted and jobs:
        with ServerHook(row.conn_id).service() as service:
            for job in jobs:
                _ask(service, batch, job, asked)
    return asked


def _ask(service: BatchService, batch: BatchState, job: str, asked: Asked) -> None:
    """One job: what goes wrong with it does not keep the others from being asked."""
    try:
        if not _is_of(batch, service.look(job).display_name):
            # Whoever may write XComs and files could name the job of another DAG.
            asked.refused[job] = "It is not a job of this batch."
            return
        service.cancel(job)
    except NotFoundError:
        # It is gone, so it does not run.
        return
    except BatchError as error:
        asked.refused[job] = message_for_page(error)
    except Exception as error:
        # Transports raise anything; the text of it could hold a credential.
        log.exception("%s could not be asked to end.", job)
        asked.refused[job] = f"It cannot be asked ({type(error).__name__})."
    else:
        asked.jobs.append(job)


def _is_of(batch: BatchState, display_name: str) -> bool:
    tag = JobTag.read(display_name)
    return tag is not None and (tag.mark, tag.place) == (batch.plan.identity.mark, batch.plan.place)
