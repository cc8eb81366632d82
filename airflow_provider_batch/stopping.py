"""Ends the jobs of a task that was stopped for good, or says loudly that it could not.

The API server says what became of the task, and on a loaded Airflow it takes its time. Airflow gives a trigger
30 s (``[triggerer] on_kill_timeout``) and a worker about 5 s (the supervisor's way from SIGTERM to SIGKILL).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_provider_batch.airflow_compat import object_path, task_state
from airflow_provider_batch.batch.decide.after_kill import RECHECK_S, may_cancel
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.batch.send.end_jobs import EndRequest, ask_to_end, note_end

if TYPE_CHECKING:
    from airflow_provider_batch.airflow_types import TaskKey, TaskLog
    from airflow_provider_batch.batch.ledger.job_names import Identity
    from airflow_provider_batch.hooks.gemini import GeminiBatchHook

WORKER_LOOKS_S = 20.0
"""For both looks at the task's state on a worker, seconds, as far as it is left alone."""

KILLED = "the task was stopped"
"""Why, in the ledger."""

MAX_NAMED = 20
"""Jobs that one line names."""


def states_of(task: TaskKey, within_s: float) -> list[str | None]:
    """Two looks at the state of a task, some time apart. None where no answer came in time. Blocks.

    :param task: dag_id, task_id, run_id and map_index.
    :param within_s: Seconds for both.
    """
    until = time.monotonic() + within_s
    # A slow answer is waited for, as the next question would stand behind the same queue.
    first = _patient_state(task, until - RECHECK_S - within_s / 4)
    if first is None:
        return [None, None]
    time.sleep(RECHECK_S)
    return [first, _patient_state(task, until)]


def _patient_state(task: TaskKey, until: float) -> str | None:
    while True:
        state = task_state(task, max(0.1, until - time.monotonic()))
        if state is not None or time.monotonic() > until - 1.0:
            return state
        time.sleep(0.5)


def warning(jobs: Sequence[str], conn_id: str, ledger: str | None) -> str:
    """What runs on, what it costs at most, and how to end it."""
    cost = _cost(ledger)
    named = " ".join(jobs[:MAX_NAMED])
    more = f" ({len(jobs) - MAX_NAMED} more are in the ledger {ledger})" if len(jobs) > MAX_NAMED else ""
    return (
        f"{len(jobs)} jobs may run on, and what they do is billed{cost}. If the results are not wanted, end "
        f'them by `airflow-batch cancel {named} --conn-id {conn_id}`{more}, or on the page "Gemini batches". '
        "If they are wanted, clear the task: it goes on with the same jobs."
    )


def _cost(ledger: str | None) -> str:
    # Even if something is wrong with the ledger, the line about the jobs matters more.
    with suppress(Exception):
        estimate = read_batch(Ledger(object_path(ledger or "", "ledger"))).plan.estimate
        if estimate and estimate.batch_usd:
            return f" (the batch was estimated at USD {estimate.batch_usd.most:,.2f} at most)"
    return ""


def task_of(identity: Identity) -> TaskKey:
    """What the API server is asked about."""
    return {
        "dag_id": identity.dag_id,
        "task_id": identity.task_id,
        "run_id": identity.run_id,
        "map_index": identity.map_index,
    }


def end_if_failed(hook: GeminiBatchHook, ledger: Ledger, identity: Identity, log: TaskLog) -> None:
    """On a worker that is stopped: ask the jobs to end if the task was marked failed.

    :raises BatchError: One of them was not asked. It may run on.
    """
    if not (jobs := read_batch(ledger).round.open_jobs):
        return
    # First of all, as the supervisor may kill this process before there is an answer.
    log.warning(
        "The task is being stopped. Unless a line below says more: %s",
        warning(jobs, hook.gemini_conn_id, str(ledger.folder)),
    )
    states = states_of(task_of(identity), WORKER_LOOKS_S)
    if may_cancel(states):
        end_jobs(hook, ledger, f"The task is {states[-1]}", log)
    elif states[-1] is None:
        log.error("What became of the task cannot be told: its jobs are left alone.")
    else:
        log.info("The task is %s: its jobs are left alone.", states[-1])


def end_jobs(hook: GeminiBatchHook, ledger: Ledger, why: str, log: TaskLog) -> None:
    """Ask the jobs of a batch to end, all of them, and note it.

    :param why: For the log.
    :raises BatchError: One of them was not asked. It may run on.
    """
    last = read_batch(ledger).round
    if not last.open_jobs:
        return
    request = EndRequest(why, log)
    try:
        with hook.service() as service:
            ask_to_end(service, last.open_jobs, request)
    finally:
        if request.asked:
            note_end(ledger, last.document(names.CANCEL), KILLED)
        left = [name for name in last.open_jobs if name not in (*request.asked, *request.gone)]
        if left:
            log.error("%s: %s", why, warning(left, hook.gemini_conn_id, str(ledger.folder)))
    request.raise_refusal()
