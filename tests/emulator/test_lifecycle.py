"""In which state a batch is, from its facts and the time alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_provider_batch.emulator.state.lifecycle import job_view, results_due_at, rows_served, verdict_for
from airflow_provider_batch.emulator.state.records import BatchRecord, Outcome

DAY = 86_400.0

BATCH = BatchRecord(
    id="b",
    project="p",
    kind="generate",
    model="models/m",
    display_name="d",
    priority=None,
    input_file=None,
    rows=10,
    created_at=0.0,
    starts_at=30.0,
    finishes_at=100.0,
)


def batch(**facts: Any) -> BatchRecord:
    return msgspec.structs.replace(BATCH, **facts)


@pytest.mark.parametrize(
    ("facts", "now", "state"),
    [
        ({}, 29.0, "BATCH_STATE_PENDING"),
        ({}, 30.0, "BATCH_STATE_RUNNING"),
        ({}, 101.0, "BATCH_STATE_RUNNING"),
        ({"outcome": Outcome(at=101.0, succeeded=9, failed=1)}, 102.0, "BATCH_STATE_SUCCEEDED"),
        ({"cancelled_at": 29.0}, 29.0, "BATCH_STATE_CANCELLED"),
        ({"cancelled_at": 31.0}, 31.0, "BATCH_STATE_RUNNING"),
        ({"verdict": verdict_for("STUCK", None, 1.0)}, DAY, "BATCH_STATE_PENDING"),
        ({"verdict": verdict_for("STUCK", None, 1.0)}, 2 * DAY, "BATCH_STATE_EXPIRED"),
        ({"verdict": verdict_for("NEW", None, 1.0)}, 9 * DAY, "NEW"),
        ({"finishes_at": 3 * DAY}, 2 * DAY, "BATCH_STATE_EXPIRED"),
    ],
    ids=["new", "started", "late", "ended", "cancelled", "stopping", "stuck", "expired", "unknown", "too slow"],
)
def test_state_follows_from_facts_and_time(facts: dict[str, Any], now: float, state: str) -> None:
    assert job_view(batch(**facts), now).state == state


def test_results_are_due_at_the_end_or_at_the_cancellation() -> None:
    assert results_due_at(batch()) == 100.0
    assert results_due_at(batch(cancelled_at=50.0)) == 50.0
    assert results_due_at(batch(cancelled_at=10.0)) is None


def test_cancellation_serves_the_share_of_rows_that_had_run() -> None:
    assert [rows_served(batch(cancelled_at=at)) for at in (30.0, 65.0, 100.0)] == [0, 5, 10]


@pytest.mark.parametrize(
    ("facts", "now", "counts"),
    [
        ({}, 0.0, (0, 0, 10)),
        ({}, 30.0, (0, 0, 10)),
        ({}, 36.9, (0, 0, 10)),
        ({}, 37.0, (1, 0, 9)),
        ({}, 65.0, (5, 0, 5)),
        ({}, 99.9, (9, 0, 1)),
        ({}, 200.0, (9, 0, 1)),
        ({"outcome": Outcome(at=101.0, succeeded=8, failed=2)}, 101.0, (8, 2, 0)),
        ({"cancelled_at": 65.0}, 90.0, (5, 0, 5)),
        ({"cancelled_at": 20.0}, 90.0, (0, 0, 10)),
        ({"verdict": verdict_for("RUNNING", None, 65.0)}, 90.0, (5, 0, 5)),
        ({"verdict": verdict_for("RUNNING", None, 10.0)}, 90.0, (0, 0, 10)),
        ({"verdict": verdict_for("STUCK", None, 65.0)}, 90.0, (0, 0, 10)),
        ({"verdict": verdict_for("FAILED", None, 65.0)}, 90.0, (0, 0, 10)),
        ({"rows": 1}, 99.0, (0, 0, 1)),
        ({"starts_at": 100.0}, 100.0, (9, 0, 1)),
    ],
)
def test_counts_move_with_the_clock_and_add_up(facts: dict[str, Any], now: float, counts: tuple[int, ...]) -> None:
    view = job_view(batch(**facts), now)

    assert (view.succeeded, view.failed, view.pending) == counts
    assert sum(counts) == batch(**facts).rows


def test_time_of_the_update_follows_the_counts() -> None:
    seen = [job_view(batch(), now).updated_at for now in (30.0, 36.0, 37.0, 43.0, 44.5)]

    assert seen == [30.0, 30.0, 37.0, 37.0, 44.0]
