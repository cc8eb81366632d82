"""May a job be cancelled now that its task was stopped? Only if no try will come back for the result. Pure.

Airflow calls ``on_kill`` for many reasons that look alike from inside. A user marked the task failed, cleared it,
or marked it a success. A triggerer lost its triggers to another and woke up (apache/airflow pull request 73454). A
worker was evicted. A wrong cancellation costs what was done and the same again. A job that runs on without need
costs at most what was estimated. So an uncertain case leaves the job alone.
"""

from __future__ import annotations

from collections.abc import Sequence

RECHECK_S = 2.0
"""Seconds between the two looks at the task's state: a clear can arrive just after the first."""

_ENDED_FOR_GOOD = frozenset({"failed", "upstream_failed", "removed"})


def may_cancel(states: Sequence[str | None]) -> bool:
    """Decide.

    :param states: The task instance's state by each look, None where it could not be read or there is none.
        ``deferred``, ``queued``, ``restarting`` and their like mean that a try will come back and adopt the job.
        ``success`` means that a user is content. ``skipped`` means that the DAG run timed out.
    """
    return len(set(states)) == 1 and states[0] in _ENDED_FOR_GOOD
