"""Why a visit fails its task although a ledger is there, as errors that say what happens to the jobs."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_batch.batch.decide import actions
from airflow_provider_batch.errors import (
    BatchError,
    JobTimeoutError,
    JobUnreadableError,
    NotFoundError,
    SubmitUnknownError,
)


def timed_out(action: actions.TimedOut, not_sent: Mapping[str, BatchError]) -> BatchError:
    """The deadline passed."""
    if not action.jobs:
        last = next((f" {error.message}" for error in not_sent.values()), "")
        return JobTimeoutError(
            f"Nothing could be submitted before the deadline.{last}",
            job_name="",
            code="AGB-P05",
            remedy="No job exists. Read the reasons in the log, and run the task again later.",
        )
    names = ", ".join(action.jobs[:5]) + (f" and {len(action.jobs) - 5} more" if len(action.jobs) > 5 else "")
    return JobTimeoutError(
        f"{names} not finished at the deadline. Nothing was cancelled: the jobs may still run and be billed.",
        job_name=action.jobs[0],
        code="AGB-P05",
        remedy="Clear the task to wait on for the same jobs, which are not paid for again. Or raise timeout, set "
        "at_timeout, or end the jobs with `airflow-batch cancel`.",
    )


def unknown_state(action: actions.UnknownState) -> JobUnreadableError:
    """A job says that it is done, in a word that is unknown here."""
    return JobUnreadableError(
        f"{action.job.name} ended in a state that this package does not know: {action.job.raw_state}.",
        job_name=action.job.name,
        code="AGB-P03",
        remedy="Nothing was sent again or cancelled. Upgrade this package and run the task again.",
    )


def unreadable(name: str, error: BatchError) -> JobUnreadableError:
    """A job cannot be asked about, for a reason that does not pass."""
    is_gone = isinstance(error, NotFoundError)
    return JobUnreadableError(
        f"{name} cannot be asked about: {error}",
        job_name=name,
        code="AGB-P04" if is_gone else "AGB-P03",
        remedy="Nothing was sent again or cancelled. "
        + (
            "Check that the connection is of the project that submitted the job. If the job is gone for good, "
            "delete the task's folder below _ledger to pay for its rows anew."
            if is_gone
            else "Correct the connection and run the task again: it goes on with the same job."
        ),
    )


def ambiguous(action: actions.Ambiguous) -> SubmitUnknownError:
    """A job is presumed absent, and the user wants to decide."""
    name = action.shard.last.sending.display_name if action.shard.last else ""
    return SubmitUnknownError(
        f"The answer to a create call was lost, and no listing shows the job {name}.",
        display_name=name,
        code="AGB-S04",
        remedy='Nothing was sent again, as on_ambiguous="fail" asks. Look for the job in AI Studio. Only if '
        'the job is not there, run the task with on_ambiguous="resubmit".',
    )
