"""Whether what came as the results of a job is believed, for every way to contradict what is known."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_batch.batch.decide.belief import Arrived, Belief, BeliefPatience, belief, is_confirmed
from airflow_provider_batch.batch.ledger.documents import Fetched
from airflow_provider_batch.contract import JobSnapshot, JobState

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def job(succeeded=8, failed=0, state=JobState.SUCCEEDED, requests=8):
    return JobSnapshot("batches/a", state, state.name, requests=requests, succeeded=succeeded, failed=failed)


def came(rows=8, damaged=0, unknown=0, is_torn=False, size=800):
    return Arrived(size, rows + damaged + unknown, rows, damaged, unknown, is_torn)


@pytest.mark.parametrize(
    ("one", "arrived"),
    [
        (job(), came()),
        (job(succeeded=7, failed=1), came()),
        (job(succeeded=0), came()),
        (job(), came(unknown=3)),
        (job(), came(damaged=1)),
        (job(succeeded=5), came(rows=5)),
        (job(succeeded=0), came(rows=5)),
        (job(succeeded=5, state=JobState.CANCELLED), came(rows=5)),
        (job(succeeded=0, state=JobState.EXPIRED), Arrived()),
        (job(succeeded=3), came(rows=5)),
        (job(succeeded=0), Arrived()),
    ],
    ids=[
        "all rows",
        "some of them failed",
        "a job that counts nothing",
        "all rows and lines of others",
        "all rows and a damaged line",
        "as many as are finished",
        "fewer, and none is counted",
        "of a cancelled job",
        "none of an expired job",
        "more than are counted",
        "none, and none is finished",
    ],
)
def test_results_that_contradict_nothing_are_believed(one, arrived):
    assert belief(one, 8, arrived) == (Belief.BELIEVED, "")


@pytest.mark.parametrize(
    ("one", "arrived", "kind", "why"),
    [
        (job(), Arrived(), Belief.FOREIGN, "nothing came, and 8 rows are finished"),
        (job(), Arrived(800, lines=1), Belief.FOREIGN, "1 lines came, and none answers"),
        (job(), came(rows=0, damaged=1), Belief.DOUBTED, "0 rows came, and 8 are finished"),
        (job(), came(rows=0, damaged=8), Belief.TWICE, "8 lines cannot be read"),
        (job(), came(rows=0, unknown=8), Belief.FOREIGN, "8 lines came, and none answers"),
        (job(succeeded=0), came(rows=0, unknown=8), Belief.FOREIGN, "8 lines came, and none answers"),
        (job(), came(rows=5, damaged=1, is_torn=True), Belief.FOREIGN, "the last line is cut off"),
        (job(), came(rows=5), Belief.DOUBTED, "5 rows came, and 8 are finished"),
        (job(succeeded=5), came(rows=5, unknown=3), Belief.DOUBTED, "3 lines are of rows that were not sent"),
        (job(succeeded=0, requests=0), Arrived(), Belief.DOUBTED, "nothing came, and the job does not say"),
        (job(succeeded=9, failed=9), came(rows=7), Belief.DOUBTED, "7 rows came, and 8 are finished"),
        (job(), came(rows=7, damaged=1), Belief.TWICE, "1 lines cannot be read"),
        (job(6, 0, JobState.CANCELLED), came(rows=5), Belief.DOUBTED, "5 rows came, and 6 are finished"),
    ],
)
def test_results_that_contradict_the_job_are_not_believed_at_once(one, arrived, kind, why):
    said = belief(one, 8, arrived)
    assert said[0] is kind
    assert said[1].startswith(why)


def before(*seconds_and_rows):
    return [
        Fetched(at=NOON + timedelta(seconds=s), size_bytes=800, lines=rows, rows=rows, why="")
        for s, rows in seconds_and_rows
    ]


@pytest.mark.parametrize(
    ("kind", "earlier", "believed"),
    [
        (Belief.TWICE, before(), False),
        (Belief.TWICE, before((0, 5)), True),
        (Belief.TWICE, before((0, 6)), False),
        (Belief.DOUBTED, before((0, 5)), False),
        (Belief.DOUBTED, before((0, 5), (300, 5)), True),
        (Belief.DOUBTED, before((1, 5), (300, 5)), False),
        (Belief.DOUBTED, before((0, 5), (300, 6)), False),
        (Belief.DOUBTED, before((0, 6), (1, 5), (2, 5), (3, 5)), False),
        (Belief.FOREIGN, before(*[(n, 5) for n in range(9)]), False),
    ],
)
def test_a_contradiction_is_believed_if_it_stays_as_it_is_for_a_while(kind, earlier, believed):
    now = NOON + timedelta(seconds=600)
    assert is_confirmed(kind, came(rows=5), earlier, now, BeliefPatience(3, 600)) is believed
