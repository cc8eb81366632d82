"""What the end of a wait means for the task: nothing, or an error that names the job and what to do."""

from __future__ import annotations

from airflow_provider_batch.contract import JobSnapshot, JobState
from airflow_provider_batch.engine.waiting import Finished, GiveUp
from airflow_provider_batch.errors import (
    JobCancelledError,
    JobError,
    JobExpiredError,
    JobFailedError,
    JobTimeoutError,
    JobUnreadableError,
    PartialResultsError,
)
from airflow_provider_batch.rows.dialect import RowStatus
from airflow_provider_batch.rows.manifest import Manifest

_ADOPTS = "The next try of this task goes on with the same job and pays nothing more."


def ensure_succeeded(job: JobSnapshot) -> None:
    """Return if there are results to land.

    :raises JobError: Of the class for how the job ended.
    """
    if job.state is JobState.SUCCEEDED:
        return
    reason = f" Reason given: {job.error}." if job.error else " The API gave no reason."
    if job.state is JobState.FAILED:
        raise JobFailedError(
            f"The batch job {job.name} failed.{reason}",
            job_name=job.name,
            code="AGB-J01",
            remedy="Its rows gave no results. The next try of this task submits a new, paid job.",
        )
    if job.state is JobState.EXPIRED:
        raise JobExpiredError(
            f"The batch job {job.name} expired: it did not finish within the API's 48 h.{reason}",
            job_name=job.name,
            code="AGB-J02",
            remedy="The API offers no results for it. The next try submits a new, paid job; smaller files "
            "tend to wait less.",
        )
    if job.state is JobState.CANCELLED:
        raise JobCancelledError(
            f"The batch job {job.name} was cancelled.{reason}",
            job_name=job.name,
            code="AGB-J03",
            remedy="Rows that had finished may have been billed. The next try submits a new, paid job.",
        )
    raise JobError(
        f"The batch job {job.name} is {job.raw_state}, not finished.",
        job_name=job.name,
        code="AGB-J04",
        remedy=_ADOPTS,
    )


def ensure_finished(verdict: Finished | GiveUp, job_name: str) -> JobSnapshot:
    """The finished job.

    :raises JobTimeoutError: The deadline passed.
    :raises JobUnreadableError: The job cannot be asked about, or is in a state that nobody here knows.
    """
    if isinstance(verdict, Finished):
        return verdict.job
    if verdict.reason == "timeout":
        raise JobTimeoutError(
            f"{verdict.message} It was not cancelled and may still run and be billed.",
            job_name=job_name,
            code="AGB-P05",
            remedy=f"{_ADOPTS} Raise timeout, or cancel the job with GeminiBatchHook.cancel_batch.",
        )
    raise JobUnreadableError(
        f"{verdict.message} It was not cancelled and may still run and be billed.",
        job_name=job_name,
        code="AGB-P03",
        remedy=f"Correct the connection and run the task again. {_ADOPTS}",
    )


def ensure_complete(manifest: Manifest) -> None:
    """Return if every row is a success.

    :raises PartialResultsError: Some are not. The results are landed all the same.
    """
    failed = {status.value: n for status, n in manifest.counts.items() if status is not RowStatus.SUCCESS}
    if failed:
        counts = ", ".join(f"{n} {status}" for status, n in sorted(failed.items()))
        raise PartialResultsError(
            f"{sum(failed.values())} of {manifest.request_count} rows of {manifest.job_name} have no usable "
            f"answer: {counts}.",
            job_name=manifest.job_name,
            code="AGB-R02",
            remedy=f"All rows are in {manifest.result_uri}; fail_on_partial_error=False would accept them.",
        )
