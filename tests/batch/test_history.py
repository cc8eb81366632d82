"""What happened to a batch, from the documents of its ledger."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from upath import UPath

from airflow_provider_batch.batch.cost.estimate import Span
from airflow_provider_batch.batch.ledger.documents import (
    BatchPlan,
    CallTotals,
    Cancel,
    Landed,
    Outcome,
    RoundKind,
    RoundPlan,
    ShardPlan,
    TrialForecast,
)
from airflow_provider_batch.batch.ledger.history import MOST_DOCUMENTS, history
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.batch.ledger.store import generation
from airflow_provider_batch.batch.state_words import Standing, by_ledger
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.contract_calls import Tier

NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)


@pytest.fixture
def ledger(tmp_path):
    return generation(UPath(tmp_path), "a" * 24, 1)


def accepted(ledger, round_, shards):
    for shard in range(1, shards + 1):
        said = Outcome(at=NOON + timedelta(hours=round_, seconds=shard), job=f"batches/{round_}-{shard}")
        ledger.put(f"r{round_}.s{shard}.e1.outcome.json", said)


def test_of_a_very_large_batch_the_newest_round_is_not_left_out(ledger):
    accepted(ledger, 1, MOST_DOCUMENTS)
    accepted(ledger, 2, 12)
    ledger.put("r2.plan.json", RoundPlan(shards=(), created_at=NOON, clock_from=NOON))
    ledger.put("r2.cancel.json", Cancel(at=NOON + timedelta(hours=5), why="enough", by="me"))
    events, left_out = history(ledger)
    assert (len(events), left_out) == (MOST_DOCUMENTS, 14)
    assert [event.shard for event in events if event.round == 2 and event.shard] == [*range(1, 13)]
    assert [event.kind for event in events if event.round == 2 and not event.shard] == ["round", "cancel"]
    # Of the earlier round the last shards are left out, by their numbers.
    assert [event.shard for event in events if event.round == 1] == [*range(1, MOST_DOCUMENTS - 13)]


def plan_of(rows, kind=RoundKind.BATCH, minutes=0):
    at = NOON + timedelta(minutes=minutes)
    shard = ShardPlan(file="f", rows=rows, size_bytes=1, content="c", tokens=1)
    return RoundPlan(kind=kind, shards=(shard,), created_at=at, clock_from=at)


def landed(minutes, state=JobState.SUCCEEDED, **said):
    return Landed(at=NOON + timedelta(minutes=minutes), state=state, **said)


def told(ledger):
    return [(event.kind, event.title, event.text) for event in history(ledger)[0]]


@pytest.fixture
def tried(ledger):
    """A ledger of a batch of which ten rows are tried."""
    whose = {
        "identity": Identity("dag", "task", "run"),
        "account": "a",
        "place": "p",
        "model": "m",
        "content": "c",
    }
    trial = plan_of(10, RoundKind.TRIAL)
    first = plan_of(990)
    ledger.put(
        "plan.json", BatchPlan(ledger_version=2, rows=1000, size_bytes=1, trial=trial, first=first, **whose)
    )
    return ledger


def test_a_trial_is_told_with_its_answers_and_the_estimate_by_it(tried):
    flex = CallTotals(tier=Tier.FLEX, rows=9)
    tried.put("r0.s1.landed.json", landed(5, counts={"success": 8, "error": 2}, calls=(flex,), lost_calls=1))
    spans = {"input": Span(900, 1100), "output": Span(90, 110), "thinking": Span(0, 0)}
    at = NOON + timedelta(minutes=6)
    tried.put("r0.forecast.json", TrialForecast(at=at, rows_tried=10, usd=Span(0.5, 0.75), **spans))
    tried.put_lines("r0.s1.note1.jsonl", Cancel(at=NOON, why="a note is no event"), b"")
    assert told(tried) == [
        ("plan", "Planned", "1,000 rows, 1 job"),
        ("trial", "Trial", "10 rows are answered by single calls before the batch is sent"),
        ("landed", "Trial landed", "2 error, 8 success; 9 by flex; 1 call lost, which may be billed"),
        (
            "forecast",
            "Estimate by the trial",
            "by 10 rows, for all rows (95 %): USD 0.5000 to 0.7500 in batch mode; "
            "900 to 1,100 input, 90 to 110 output and 0 to 0 thinking tokens",
        ),
    ]


def test_a_rescue_is_told_as_one_and_not_as_rows_sent_again(tried):
    tried.put("r1.s1.landed.json", landed(60, JobState.CANCELLED, job="batches/a", counts={"cancelled": 990}))
    tried.put("r2.plan.json", plan_of(990, RoundKind.RESCUE, 61))
    tiers = CallTotals(tier=Tier.FLEX, rows=900), CallTotals(tier=Tier.STANDARD, rows=80)
    counts = {"success": 980, "expired": 10}
    late = landed(70, JobState.EXPIRED, counts=counts, calls=tiers, error="the time was up")
    tried.put("r2.s1.landed.json", late)
    assert told(tried)[2:] == [
        ("ended", "Landed, cancelled", "990 cancelled"),
        ("rescue", "Rescue", "the jobs were late: 990 rows are answered by single calls"),
        ("ended", "Rescue landed", "10 expired, 980 success; 900 by flex; 80 by standard; the time was up"),
    ]


def test_a_ledger_says_that_rows_are_tried_or_called(tried):
    assert by_ledger(read_batch(tried)) is Standing.TRYING
    tried.put("r0.s1.landed.json", landed(5, counts={"success": 10}))
    assert by_ledger(read_batch(tried)) is Standing.UNSENT
    tried.put("r1.s1.landed.json", landed(60, JobState.CANCELLED, counts={"cancelled": 990}))
    tried.put("r2.plan.json", plan_of(990, RoundKind.RESCUE, 61))
    assert by_ledger(read_batch(tried)) is Standing.RESCUING
    tried.put("r2.s1.landed.json", landed(70, counts={"success": 990}))
    assert by_ledger(read_batch(tried)) is Standing.UNPUBLISHED
