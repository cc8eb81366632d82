"""How the end of a wait reads to the person whose task failed."""

import pytest

from airflow_provider_batch import errors
from airflow_provider_batch.contract import JobSnapshot, JobState
from airflow_provider_batch.engine.outcome import ensure_complete, ensure_succeeded
from airflow_provider_batch.rows.manifest import Manifest


def job(state, error=""):
    return JobSnapshot("batches/abc", state, f"BATCH_STATE_{state.name}", error=error)


def test_a_succeeded_job_raises_nothing():
    assert ensure_succeeded(job(JobState.SUCCEEDED)) is None


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        (
            JobState.FAILED,
            errors.JobFailedError,
            "AGB-J01 The batch job batches/abc failed. Reason given: no room.",
        ),
        (JobState.EXPIRED, errors.JobExpiredError, "AGB-J02 The batch job batches/abc expired"),
        (JobState.CANCELLED, errors.JobCancelledError, "AGB-J03 The batch job batches/abc was cancelled."),
        (JobState.RUNNING, errors.JobError, "AGB-J04 The batch job batches/abc is BATCH_STATE_RUNNING"),
    ],
    ids=["failed", "expired", "cancelled", "running"],
)
def test_each_other_state_has_its_error_with_job_and_next_step(state, kind, words):
    with pytest.raises(kind) as caught:
        ensure_succeeded(job(state, "no room"))
    assert str(caught.value).startswith(words)
    assert caught.value.remedy
    assert caught.value.job_name == "batches/abc"


def test_rows_without_answers_are_counted_by_status():
    manifest = Manifest(
        job_name="batches/abc",
        model="m",
        result_uri="/r",
        request_count=10,
        counts={"success": 7, "error": 2, "missing": 1},
    )
    with pytest.raises(errors.PartialResultsError, match=r"3 of 10 rows .*: 2 error, 1 missing"):
        ensure_complete(manifest)


def test_all_rows_answered_raise_nothing():
    manifest = Manifest(job_name="batches/a", model="m", result_uri="/r", request_count=2, counts={"success": 2})
    assert ensure_complete(manifest) is None
