"""Real faults of a real Airflow. The journal of the emulator says what they cost.

Jobs are done when a test says so, so a fault always strikes during the wait that it is meant for. The docstring
of a test names its fault in the table at the end.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

import pytest

from tests.real_airflow.processes import until

STALL_S = float(os.environ.get("REAL_AIRFLOW_STALL_S", "45"))
PARALLEL = 20
CANCEL_S = 40.0
"""A little more than ``[triggerer] on_kill_timeout``: what a triggerer has to cancel a job."""


def test_a_sibling_goes_on_when_a_triggerer_is_killed(case):
    """Triggerer killed during the wait."""
    run = case.start_waiting()
    run.until_assigned().kill()
    case.finish_jobs()
    case.succeeds()


def test_a_retry_adopts_the_job_of_a_worker_killed_in_execute(case, airflow, emulator):
    """Worker killed right after the job was created."""
    emulator.add_fault(call="batches.create", action="delay", seconds=3)
    run = case.start()
    worker = run.until_running()
    case.until_struck()
    # With the API server stalled, the task can tell nobody what it has created.
    with airflow.components["api-server"].stalled():
        case.until_created()
        worker.kill()
    case.finish_jobs()
    case.succeeds()
    assert run.instance()["try_number"] == 2


def test_a_retry_lands_every_row_after_a_killed_landing(case, emulator):
    """Worker killed while it lands."""
    run = case.start_waiting()
    # The download stops in the middle, and the worker dies while it waits for the rest.
    emulator.add_fault(call="files.download", action="cut", bytes=2000)
    emulator.add_fault(call="files.download", action="delay", seconds=60, after=1)
    case.finish_jobs()
    worker = run.until_running()
    case.until_struck()
    worker.kill()
    case.cleared()
    case.succeeds()
    assert run.instance()["try_number"] == 2


def test_a_triggerer_that_wakes_from_a_stall_cancels_nothing(case, airflow):
    """Triggerer stalled, its sibling took over, then it woke up."""
    run = case.start_waiting()
    holder = run.until_assigned()
    wake_at = time.monotonic() + STALL_S
    with holder.stalled():
        run.until_assigned(other_than=holder)
        time.sleep(max(0.0, wake_at - time.monotonic()))
    airflow.await_heartbeats(holder, count=5)
    case.finish_jobs()
    case.succeeds()


def test_the_next_try_after_a_clear_adopts_the_job(case):
    """Task cleared while deferred."""
    run = case.start_waiting()
    first = run.instance()["id"]
    run.clear()
    until("the next try waits", lambda: run.instance()["id"] != first and run.instance()["state"] == "deferred")
    case.await_calm()
    case.finish_jobs()
    case.succeeds()


@pytest.fixture
def marked_failed(case):
    """A run that a user marked as failed while it was deferred, after the triggerers have seen it."""
    run = case.start_waiting()
    case.lands = False
    run.mark("failed")
    run.until("failed")
    case.await_calm()
    yield run
    # The service would go on with a job that nobody cancelled.
    case.finish_jobs()


def test_a_task_marked_failed_stays_failed_and_submits_nothing(case, marked_failed):
    """Task marked failed while deferred."""
    assert marked_failed.instance()["state"] == "failed"
    assert len(case.created()) == 1
    assert len(case.cancelled()) <= 1


def test_a_task_marked_failed_cancels_its_job_once(case, marked_failed):
    """Task marked failed while deferred."""
    with suppress(TimeoutError):
        until("the job is cancelled", case.cancelled, timeout_s=CANCEL_S)
    assert len(case.cancelled()) == 1


def test_a_task_marked_success_leaves_its_job_alone(case):
    """Task marked success while deferred."""
    run = case.start_waiting()
    case.lands = False
    run.mark("success")
    run.until("success")
    case.await_calm()
    case.finish_jobs()
    assert len(case.created()) == 1
    assert case.cancelled() == []


def test_a_scheduler_started_again_resumes_what_was_deferred(case, airflow):
    """Scheduler ended and started again during the wait."""
    run = case.start_waiting()
    scheduler = airflow.components["scheduler"]
    assert scheduler.stop()
    case.finish_jobs()
    run.until("scheduled")
    scheduler.start()
    case.cleared()
    case.succeeds()


def test_an_airflow_killed_as_a_whole_goes_on_where_it_was(case, airflow):
    """All of Airflow killed during the wait and started again."""
    case.start_waiting()
    airflow.kill()
    case.finish_jobs()
    airflow.ensure_running()
    case.succeeds()


def test_twenty_parallel_batches_outlast_a_killed_triggerer(case, airflow):
    """Triggerer killed and started again under 20 parallel batches."""
    run = case.start("faulted_mapped", batches=PARALLEL)
    run.until("deferred", count=PARALLEL // 4)
    run.until_assigned().kill()
    airflow.ensure_running()
    case.until_created(PARALLEL)
    case.finish_jobs()
    case.succeeds()


def test_no_job_was_created_or_cancelled_after_its_test(figures, emulator):
    calls = [entry["call"] for entry in emulator.journal()]
    assert calls.count("batches.create") == sum(f.creates for f in figures)
    assert calls.count("batches.cancel") == sum(f.cancels for f in figures)
