"""What happened to a batch, from the documents of its ledger."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from upath import UPath

from airflow_provider_batch.batch.ledger.documents import Cancel, Outcome, RoundPlan
from airflow_provider_batch.batch.ledger.history import MOST_DOCUMENTS, history
from airflow_provider_batch.batch.ledger.store import generation

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
