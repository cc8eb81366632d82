"""For how long the API keeps what is paid for."""

from __future__ import annotations

from airflow_provider_batch.contract import JobSnapshot

RESULT_LIFE_S = 48 * 3600.0
"""Of a result file, seconds from the end of its job, when it is made. A page of the API says six weeks for the
results of batches, another 48 h for files; the shorter is believed (docs/conformance.md)."""


def results_until(job: JobSnapshot) -> float | None:
    """Unix time until which there are results to fetch; None if the job runs, or nobody knows.

    A job that does not say when it ended ended after its submission: that is the careful answer.
    """
    ended = job.ended_or_created_at
    if ended is None or not job.state.is_terminal:
        return None
    return ended.timestamp() + RESULT_LIFE_S
