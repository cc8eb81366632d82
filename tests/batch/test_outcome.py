"""How the end of a wait reads to the person whose task failed."""

from datetime import datetime, timezone

import pytest

from airflow_provider_batch import errors
from airflow_provider_batch.batch.decide.outcome import ensure_done, ensure_enough, ensure_succeeded
from airflow_provider_batch.batch.ledger.documents import BatchPlan, Cancel, Landed, RoundPlan, ShardPlan
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.batch.ledger.state import BatchState, Round, Shard, Upload
from airflow_provider_batch.contract import JobSnapshot, JobState
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


def manifest(skipped=0, **counts):
    return Manifest(
        job_name="batches/abc",
        model="m",
        result_uri="/r",
        request_count=sum(counts.values()),
        counts=counts,
        skipped=skipped,
    )


def test_rows_without_answers_are_counted_by_status():
    words = r"AGB-R02 4 of 11 rows of batches/abc have no usable answer: 2 error, 1 missing, 1 left out"
    with pytest.raises(errors.PartialResultsError, match=words) as caught:
        ensure_enough(manifest(success=7, error=2, missing=1, skipped=1), 0)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("rows", "most_failed"),
    [
        (manifest(success=2), 0),
        (manifest(success=71, error=29), 0.29),
        (manifest(success=1, error=99), None),
        (manifest(truncated=3), 1),
    ],
    ids=["none", "as many as may", "any but all", "all"],
)
def test_as_many_rows_may_fail_as_are_allowed(rows, most_failed):
    assert ensure_enough(rows, most_failed) is None


@pytest.mark.parametrize(
    ("rows", "most_failed"),
    [
        (manifest(success=3, error=1), 0.2),
        (manifest(success=3, skipped=1), 0.2),
        (manifest(error=2), None),
        (manifest(error=1, skipped=1), None),
    ],
    ids=["more than may", "left out", "all", "all or left out"],
)
def test_more_do_not_pass(rows, most_failed):
    with pytest.raises(errors.PartialResultsError):
        ensure_enough(rows, most_failed)


NOW = datetime(2026, 5, 4, tzinfo=timezone.utc)


def cancelled(by):
    """A batch whose only job was cancelled before its rows had their turn."""
    shard = ShardPlan(file="r1", rows=2, size_bytes=9, content="c", tokens=4)
    round_ = RoundPlan(shards=(shard,), created_at=NOW, clock_from=NOW)
    plan = BatchPlan(
        ledger_version=1,
        identity=Identity("d", "t", "r"),
        account="a",
        model="m",
        content="c",
        place="p",
        rows=2,
        size_bytes=9,
        first=round_,
    )
    landed = Landed(at=NOW, job="batches/abc", state=JobState.CANCELLED, counts={"cancelled": 2}, undone=2)
    cancel = Cancel(at=NOW, why=f"cancelled by {by}" if by else "the deadline passed", by=by)
    return BatchState(
        plan, 1, (Round(1, round_, (Shard(1, 1, shard, (), Upload(0), landed),), cancel, None),), None
    )


@pytest.mark.parametrize(
    ("by", "kind", "words"),
    [
        ("eva", errors.JobCancelledError, "AGB-J03 The jobs were cancelled by eva."),
        (None, errors.JobTimeoutError, "AGB-P05 The jobs were cancelled: the deadline passed."),
    ],
    ids=["a person", "the deadline"],
)
def test_jobs_that_a_person_has_cancelled_are_not_sent_again_by_a_retry(by, kind, words):
    with pytest.raises(kind) as caught:
        ensure_done(cancelled(by), manifest(cancelled=2))
    assert str(caught.value).startswith(words)
