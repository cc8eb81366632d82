"""What the end of a batch means for its task: either nothing, or an error that names the job and what to do."""

from __future__ import annotations

from airflow_provider_batch.batch.decide.common_mistake import in_words
from airflow_provider_batch.batch.ledger.documents import Fault, Landed
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.contract import JobSnapshot, JobState
from airflow_provider_batch.errors import (
    JobCancelledError,
    JobError,
    JobExpiredError,
    JobFailedError,
    JobTimeoutError,
    PartialResultsError,
)
from airflow_provider_batch.rows.dialect import RowStatus
from airflow_provider_batch.rows.manifest import Manifest, counts_in_words


def ensure_succeeded(job: JobSnapshot) -> None:
    """Return if the job succeeded.

    :raises JobError: Of the class for how the job ended.
    """
    if job.state is JobState.SUCCEEDED:
        return
    if job.state.is_terminal:
        remedy = (
            "What finished was paid for. `airflow-batch wait` lands it, or a task that fetches after a failure. "
            "A new try of the submitting task sends the rows that are left over."
        )
        raise _ended(job.state, job.name, job.error, remedy)
    raise JobError(
        f"The batch job {job.name} is {job.raw_state}, not finished.",
        job_name=job.name,
        code="AGB-J04",
        remedy="Nothing was fetched. Wait for its end first, as `airflow-batch wait` does.",
    )


def ensure_done(batch: BatchState, manifest: Manifest) -> None:
    """Return unless a job ended badly and its rows were not sent again. The results are landed all the same.

    :raises JobError: Of the class for how it ended.
    """
    landed = [shard.landed for shard in batch.round.shards if shard.landed]
    bad = [one for one in landed if one.undone]
    if not bad:
        return
    where = f"What finished is landed ({counts_in_words(manifest.counts)}), the rest is in {manifest.failed_uri}."
    if batch.round.cancel is not None and batch.round.cancel.by:
        raise JobCancelledError(
            f"The jobs were {batch.round.cancel.why}. {where}",
            job_name=manifest.job_name,
            code="AGB-J03",
            remedy="Clear the task to send, and pay for, the rows that are left over.",
        )
    if batch.round.is_live:
        reasons, left = "; ".join(sorted({one.error for one in bad})), sum(one.undone for one in bad)
        raise JobTimeoutError(
            f"{left} of {manifest.request_count} rows have no answer: {reasons}. {where}",
            job_name=manifest.job_name,
            code="AGB-P06",
            remedy="A new try of this task goes on with the rows that are left, and pays for no other.",
        )
    if batch.round.cancel is not None:
        raise JobTimeoutError(
            f"The jobs were cancelled: {batch.round.cancel.why}. {where}",
            job_name=manifest.job_name,
            code="AGB-P05",
            remedy="A new try of this task sends the rows that are left over, until max_row_attempts.",
        )
    raise _worst(bad, where)


def ensure_enough(manifest: Manifest, most_failed: float | None, mistake: Fault | None = None) -> None:
    """Return if enough rows have a usable answer.

    :param most_failed: The largest share of the rows that may have none, 0 to 1, None = any but all. Those left
        out are among them, and those with an empty answer.
    :param mistake: What all rows got wrong, if there is a common mistake.
    :raises PartialResultsError: There are more. The results are landed all the same.
    """
    failed = {status.value: n for status, n in sorted(manifest.counts.items()) if status is not RowStatus.SUCCESS}
    if manifest.empty:
        failed["success with an empty text"] = manifest.empty
    if manifest.skipped:
        failed["left out before sending"] = manifest.skipped
    rows, without = manifest.request_count + manifest.skipped, sum(failed.values())
    # A quotient: as a product, 0.29 * 100 is less than 29.
    is_enough = without < rows if most_failed is None else without / rows <= most_failed
    if is_enough:
        return
    allowed = f" At most {most_failed * 100:g} % of them may." if most_failed else ""
    raise PartialResultsError(
        f"{without} of {rows} rows of {manifest.job_name} have no usable answer: "
        f"{', '.join(f'{n} {what}' for what, n in failed.items())}.{allowed}"
        + (f" {in_words(mistake, manifest)}" if mistake else ""),
        job_name=manifest.job_name,
        code="AGB-R02",
        remedy=f"The results are landed in {manifest.result_uri}, with the reason beside each of these rows, "
        f"and their requests in {manifest.failed_uri}."
        + (
            " Correct the prompt or the output type, then clear the task to send the rows again."
            if mistake
            else ""
        ),
    )


def _worst(bad: list[Landed], where: str) -> JobError:
    one = min(bad, key=lambda landed: _ORDER.index(landed.state))
    remedy = (
        f"{where} A new try of this task sends those rows again, until max_row_attempts, and is billed for them."
    )
    return _ended(one.state, one.job or "", one.error, remedy)


_ORDER = (JobState.CANCELLED, JobState.FAILED, JobState.EXPIRED, JobState.SUCCEEDED)


def _ended(state: JobState, name: str, error: str, remedy: str) -> JobError:
    reason = f" Reason given: {error.rstrip('.')}." if error else " The API gave no reason."
    if state is JobState.FAILED:
        return JobFailedError(
            f"The batch job {name} failed.{reason}", job_name=name, code="AGB-J01", remedy=remedy
        )
    if state is JobState.EXPIRED:
        return JobExpiredError(
            f"The batch job {name} expired: it did not finish within the API's 48 h.{reason}",
            job_name=name,
            code="AGB-J02",
            remedy=remedy,
        )
    return JobCancelledError(
        f"The batch job {name} was cancelled.{reason}", job_name=name, code="AGB-J03", remedy=remedy
    )
