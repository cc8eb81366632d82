"""Each job that ends is told once, also after a restart."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_batch.batch.wait.endings import REMEMBERED, Endings
from airflow_provider_batch.contract import JobSnapshot, JobState

NOON = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def job(name, ended=NOON + HOUR, state=JobState.SUCCEEDED, done=True):
    return JobSnapshot(f"batches/{name}", state, state.name, done=done, ended_at=ended)


def names(jobs):
    return [one.name.removeprefix("batches/") for one in jobs]


def test_a_job_that_ended_is_told_once():
    endings = Endings(NOON)
    assert names(endings.fresh([job("a")])) == ["a"]
    assert endings.fresh([job("a")]) == []


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED])
def test_however_it_ended_it_is_told(state):
    assert names(Endings(NOON).fresh([job("a", state=state)])) == ["a"]


def test_a_job_that_runs_and_one_that_ended_before_are_not_told():
    running = JobSnapshot("batches/a", JobState.RUNNING, "RUNNING", created_at=NOON)
    assert Endings(NOON).fresh([running, job("b", ended=NOON - HOUR)]) == []


def test_those_that_ended_first_are_told_first():
    jobs = [job("late", ended=NOON + 2 * HOUR), job("early", ended=NOON + HOUR)]
    assert names(Endings(NOON).fresh(jobs)) == ["early", "late"]


def test_after_a_restart_nothing_is_told_twice_and_nothing_is_forgotten():
    endings = Endings(NOON)
    endings.fresh([job("a")])
    kept = json.loads(json.dumps(endings.to_json()))
    again = Endings.from_json(kept, now=NOON + 5 * HOUR)
    assert names(again.fresh([job("a"), job("b", ended=NOON + 2 * HOUR)])) == ["b"]


@pytest.mark.parametrize(
    "said", [None, {}, {"since": 1, "told": {}}, {"since": "x", "told": {}}, {"told": []}, "x"]
)
def test_what_cannot_be_read_is_a_reason_to_watch_from_now_on(said):
    assert Endings.from_json(said, NOON) == Endings(NOON)


def test_what_is_remembered_does_not_grow_for_ever():
    endings = Endings(NOON)
    for day in range(30):
        endings.fresh([job(f"day-{day}", ended=NOON + timedelta(days=day))])
    assert len(endings.told) == REMEMBERED.days + 1
    assert endings.fresh([job("day-0", ended=NOON)]) == []
