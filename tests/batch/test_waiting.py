"""What follows from one look at a job."""

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from airflow_provider_batch.batch.wait.watch import MAX_NOT_FOUND, Finished, GiveUp, GoOn, Watch, duration
from airflow_provider_batch.contract import JobSnapshot, JobState
from airflow_provider_batch.errors import ApiError, ApiUnreachableError, AuthError, NotFoundError

NOON = 1_800_000_000.0
NAME = "batches/abc"
UNAVAILABLE = ApiError(call=f"get {NAME}", http_status=503, rpc_status="UNAVAILABLE")
RUNNING = JobSnapshot(NAME, JobState.RUNNING, "BATCH_STATE_RUNNING", requests=10, succeeded=4, failed=1)


def watch(deadline=NOON + 3600, interval=60.0):
    return Watch(NAME, deadline, interval)


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED])
def test_every_terminal_state_ends_the_wait_with_the_job(state):
    job = JobSnapshot(NAME, state, state.name)
    assert watch().saw(job, NOON) == Finished(job)


def test_a_running_job_is_looked_at_again_after_the_interval():
    assert watch(interval=45.0).saw(RUNNING, NOON) == GoOn(
        45.0, "batches/abc is BATCH_STATE_RUNNING, 50 % done: 5 of 10 rows, 1 failed, 1 h 0 min to the deadline"
    )


def test_no_row_is_said_to_be_done_before_the_api_counts_one():
    verdict = watch().saw(JobSnapshot(NAME, JobState.RUNNING, "BATCH_STATE_RUNNING", requests=10), NOON)
    assert verdict.note == "batches/abc is BATCH_STATE_RUNNING, 1 h 0 min to the deadline"


def test_an_unchanged_job_is_not_told_about_twice():
    waiting = watch()
    waiting.saw(RUNNING, NOON)
    assert waiting.saw(RUNNING, NOON + 60) == GoOn(60.0, "")


def test_a_line_says_every_15_minutes_that_nothing_has_changed():
    waiting = watch()
    notes = [waiting.saw(RUNNING, NOON + 60 * minute).note for minute in range(31)]
    assert [minute for minute, note in enumerate(notes) if note] == [0, 15, 30]


def test_rows_that_are_done_one_by_one_are_told_by_the_tenth():
    waiting = watch()
    jobs = [replace(RUNNING, requests=100, succeeded=done, failed=0) for done in range(100)]
    assert sum(bool(waiting.saw(job, NOON).note) for job in jobs) == 10


def test_the_first_row_that_fails_is_told_at_once():
    waiting = watch()
    waiting.saw(replace(RUNNING, requests=100, failed=0), NOON)
    assert "1 failed" in waiting.saw(replace(RUNNING, requests=100), NOON + 1).note


def test_errors_that_go_on_are_told_every_15_minutes():
    waiting = watch(deadline=NOON + 86_400)
    notes = [waiting.failed(UNAVAILABLE, NOON + 60 * minute).note for minute in range(31)]
    assert [minute for minute, note in enumerate(notes) if note] == [0, 15, 30]


@pytest.mark.parametrize(
    ("age_s", "wait_s"), [(0, 5.0), (30, 5.0), (120, 12.0), (600, 60.0), (86_000, 60.0), (-3_600, 5.0)]
)
def test_a_young_job_is_looked_at_more_often(age_s, wait_s):
    created = datetime.fromtimestamp(NOON - age_s, timezone.utc)
    job = replace(RUNNING, created_at=created)
    assert watch().saw(job, NOON).wait_s == wait_s


def test_who_wants_to_look_every_second_does_so():
    job = replace(RUNNING, created_at=datetime.fromtimestamp(NOON, timezone.utc))
    assert watch(interval=1.0).saw(job, NOON).wait_s == 1.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 s"), (59, "59 s"), (60, "1 min"), (3_600, "1 h 0 min"), (90_000, "25 h 0 min"), (180_000, "2 d 2 h")],
)
def test_a_duration_is_said_in_the_two_units_that_matter(seconds, words):
    assert duration(seconds) == words


def test_the_wait_before_the_deadline_does_not_reach_past_it():
    assert watch(deadline=NOON + 20).saw(RUNNING, NOON).wait_s == 20.0


def test_a_job_still_running_at_the_deadline_is_given_up_not_touched():
    verdict = watch(deadline=NOON).saw(RUNNING, NOON)
    assert verdict == GiveUp("timeout", "batches/abc is still BATCH_STATE_RUNNING at the deadline.")


def test_a_job_that_finished_after_the_deadline_still_counts_as_finished():
    job = JobSnapshot(NAME, JobState.SUCCEEDED, "BATCH_STATE_SUCCEEDED")
    assert watch(deadline=NOON - 1).saw(job, NOON) == Finished(job)


def test_an_unknown_state_is_waited_on_until_the_deadline():
    job = JobSnapshot(NAME, JobState.UNKNOWN, "BATCH_STATE_NEWSTATE")
    assert isinstance(watch().saw(job, NOON), GoOn)
    assert watch(deadline=NOON).saw(job, NOON).reason == "timeout"


def test_an_unknown_state_that_claims_to_be_done_fails_closed():
    job = JobSnapshot(NAME, JobState.UNKNOWN, "BATCH_STATE_NEWSTATE", done=True)
    assert watch().saw(job, NOON).reason == "unknown_state"


def test_failed_looks_wait_longer_each_time_up_to_five_minutes():
    waiting = watch(interval=60.0)
    waits = [waiting.failed(UNAVAILABLE, NOON).wait_s for _ in range(5)]
    assert waits == [60.0, 120.0, 240.0, 300.0, 300.0]


def test_thirty_minutes_without_an_answer_do_not_end_the_wait():
    waiting = watch()
    lost = ApiUnreachableError(call=f"get {NAME}", reason="ConnectError", was_sent=False)
    verdicts = [waiting.failed(lost, NOON + minute * 60) for minute in range(30)]
    assert all(isinstance(verdict, GoOn) for verdict in verdicts)


def test_a_look_that_works_makes_the_waits_short_again():
    waiting = watch(interval=60.0)
    for _ in range(4):
        waiting.failed(UNAVAILABLE, NOON)
    waiting.saw(RUNNING, NOON)
    assert waiting.failed(UNAVAILABLE, NOON).wait_s == 60.0


def test_the_hint_of_the_server_makes_a_wait_longer():
    error = ApiError(call="get", http_status=429, retry_after_s=500.0)
    assert watch().failed(error, NOON).wait_s == 500.0


def test_a_rejected_credential_ends_the_wait_at_once():
    verdict = watch().failed(AuthError(call="get", http_status=403), NOON)
    assert verdict.reason == "unreadable"


def test_not_found_is_believed_the_third_time_in_a_row():
    waiting = watch()
    verdicts = [waiting.failed(NotFoundError(call="get", http_status=404), NOON) for _ in range(MAX_NOT_FOUND)]
    assert [type(v) for v in verdicts] == [GoOn, GoOn, GiveUp]


def test_an_api_that_is_gone_past_the_deadline_ends_the_wait():
    assert watch(deadline=NOON).failed(UNAVAILABLE, NOON + 301).reason == "timeout"
