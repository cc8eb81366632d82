"""Whether a task goes on with a job that exists, or may pay for a new one."""

from datetime import datetime, timezone

import pytest

from airflow_provider_batch.contract import Absent, CannotTell, Found, JobSnapshot, JobState
from airflow_provider_batch.engine.identity import Identity
from airflow_provider_batch.engine.submit import adoptable
from airflow_provider_batch.errors import BatchError, ConfigError

PREFIX = Identity("dag", "task", "run").prefix
SAME, OTHER = "a" * 16, "b" * 16


def job(name, state, mark=SAME, minute=0):
    created = datetime(2026, 11, 23, 12, minute, tzinfo=timezone.utc)
    return JobSnapshot(name, state, state.name, display_name=f"{PREFIX}{mark}.cafe", created_at=created)


def adopted(*jobs):
    chosen = adoptable(Found(jobs), PREFIX, SAME)
    return chosen.name if chosen else None


def test_without_any_job_a_new_one_is_due():
    assert adoptable(Absent(), PREFIX, SAME) is None


def test_a_listing_that_cannot_tell_never_leads_to_a_new_job():
    with pytest.raises(BatchError, match="Nothing was sent"):
        adoptable(CannotTell(BatchError("page 2 failed")), PREFIX, SAME)


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING, JobState.SUCCEEDED, JobState.UNKNOWN])
def test_a_live_or_succeeded_job_with_the_same_rows_is_adopted(state):
    assert adopted(job("batches/a", state)) == "batches/a"


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED])
def test_a_job_that_gave_no_results_makes_room_for_a_new_one(state):
    assert adopted(job("batches/a", state)) is None


def test_of_several_the_succeeded_one_is_used_then_the_oldest():
    late, early = job("batches/late", JobState.RUNNING, minute=9), job("batches/early", JobState.RUNNING)
    assert adopted(late, early) == "batches/early"
    assert adopted(late, early, job("batches/done", JobState.SUCCEEDED, minute=5)) == "batches/done"


def test_a_running_job_with_other_rows_is_named_and_nothing_is_sent():
    with pytest.raises(ConfigError, match="batches/a still runs for this task with other rows"):
        adopted(job("batches/a", JobState.RUNNING, OTHER))


def test_a_finished_job_with_other_rows_does_not_stand_in_the_way():
    assert adopted(job("batches/a", JobState.SUCCEEDED, OTHER)) is None


def test_the_identity_is_the_same_for_every_try_and_differs_by_each_part():
    names = {
        Identity("d", "t", "r").prefix,
        Identity("d", "t", "r", 0).prefix,
        Identity("d", "tr", "").prefix,
        Identity("dt", "", "r").prefix,
    }
    assert len(names) == 4
    assert Identity("d", "t", "r").prefix in names
