"""For how long the API keeps what is paid for."""

from __future__ import annotations

from airflow_provider_batch.contract import JobSnapshot


def results_until(job: JobSnapshot, life_s: float) -> float | None:
    """Unix time until which there are results to fetch. None if the job runs, or the time is not known.

    A job that does not say when it ended ended after its submission: that is the careful answer.

    :param life_s: Seconds from the end of a job, when its result file is made, to the deletion of that file.
    """
    ended = job.ended_or_created_at
    if ended is None or not job.state.is_terminal:
        return None
    return ended.timestamp() + life_s
