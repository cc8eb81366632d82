"""Who is told what a visit to a batch does: no one, unless an operator names an observer.

What happened to a remote job is told once, by the visit that wrote it into the ledger first. So a retry, a resume
and a second landing count nothing again. A worker that dies between the two tells no one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from airflow_provider_batch.batch.cost.receipts import JobReceipt
from airflow_provider_batch.batch.ledger.documents import BatchPlan, CallTotals
from airflow_provider_batch.batch.ledger.state import Shard
from airflow_provider_batch.contract import JobSnapshot
from airflow_provider_batch.rows.manifest import Manifest

log = logging.getLogger(__name__)

SUBMISSION, CALLS, LANDING = "Submission", "Single calls", "Landing"
"""Chapters of what a task does. What comes before and after them is worth seeing, and has none."""


class Observer:
    """Does nothing."""

    def chapter(self, title: str | None) -> None:
        """What is logged from here on belongs together. None = to nothing. The same title again is no news."""

    def submitted(self, plan: BatchPlan) -> None:
        """One more remote job exists."""

    def landed(self, plan: BatchPlan, receipt: JobReceipt, turnaround: timedelta | None) -> None:
        """The results of a remote job are here, however it ended.

        :param turnaround: From its submission to its end, by the server's clock. None if the server did not say.
        """

    def called(self, plan: BatchPlan, receipts: Sequence[JobReceipt], extra_usd: float | None) -> None:
        """The answers of single calls for a part of the rows are here.

        :param receipts: One for each tier that served them.
        :param extra_usd: What a rescue cost more than the same tokens in batch mode. None where there is
            no rescue, or no price.
        """

    def noted(self, shard: Shard, calls: Iterable[CallTotals]) -> None:
        """Answers of single calls were noted. Told from a thread.

        :param calls: What all noted answers for rows of the shard took, by tier.
        """

    def finished(self, plan: BatchPlan, manifest: Manifest) -> None:
        """All results are in the folder. Told by each visit that finds it so."""


def tell(what: Callable[..., None], *arguments: object) -> None:
    """Call an observer. The batch goes on even if the observer fails."""
    try:
        what(*arguments)
    except Exception:
        # An observer is the code of others and may raise anything. What was paid for goes on.
        log.warning("An observer failed; the batch goes on.", exc_info=True)


def turnaround(job: JobSnapshot) -> timedelta | None:
    """From the submission of a job to its end, None if that is not known."""
    return job.ended_at - job.created_at if job.ended_at and job.created_at else None
