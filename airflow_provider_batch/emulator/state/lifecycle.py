"""In which state a batch is: a pure function of its record and the time.

Nothing here reads a clock or a disk. A state is derived and never stored. So a restart, however abrupt, cannot
find a batch in a state that its facts contradict.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from airflow_provider_batch.emulator.state.records import BatchRecord, Outcome, Verdict

# The first part of a job's time passes as PENDING.
PENDING_SHARE = 0.3
JOB_LIFETIME_S = 48 * 3600.0

_FINAL = {"BATCH_STATE_SUCCEEDED", "BATCH_STATE_FAILED", "BATCH_STATE_CANCELLED", "BATCH_STATE_EXPIRED"}
_STATES = {*_FINAL, "BATCH_STATE_PENDING", "BATCH_STATE_RUNNING", "BATCH_STATE_UNSPECIFIED"}


class JobView(NamedTuple):
    """What a reader sees of a batch at one moment."""

    state: str
    done: bool
    updated_at: float
    ended_at: float | None
    succeeded: int
    failed: int
    pending: int
    error: dict[str, object] | None


def job_view(batch: BatchRecord, now: float) -> JobView:
    """Say what the API would show of a batch.

    :param batch: its facts.
    :param now: the time on the emulator's clock.
    """
    if batch.outcome is not None:
        return _finished_view(batch.outcome)
    if batch.verdict is not None and batch.verdict.state in _FINAL:
        return _view(batch, batch.verdict.state, batch.verdict.at, batch.verdict.error)
    if was_cancelled_before_start(batch):
        error = {"code": 13, "message": "The batch was cancelled before it started."}
        return _view(batch, "BATCH_STATE_CANCELLED", batch.cancelled_at or now, error)
    if has_expired(batch, now):
        return _view(batch, "BATCH_STATE_EXPIRED", batch.created_at + JOB_LIFETIME_S, None)
    if batch.verdict is not None:
        view = _view(batch, batch.verdict.state, batch.verdict.at, batch.verdict.error)
        return _progressed(view, batch, batch.verdict.at) if view.state == "BATCH_STATE_RUNNING" else view
    if now < batch.starts_at:
        return _view(batch, "BATCH_STATE_PENDING", batch.created_at, None)
    running = _view(batch, "BATCH_STATE_RUNNING", batch.starts_at, None)
    return _progressed(running, batch, now if batch.cancelled_at is None else batch.cancelled_at)


def as_it_was(batch: BatchRecord, at: float) -> BatchRecord:
    """Return the record without what became true after a time: its end, its cancellation, a forced outcome."""
    outcome, verdict = batch.outcome, batch.verdict
    return msgspec.structs.replace(
        batch,
        outcome=outcome if outcome is not None and outcome.at <= at else None,
        verdict=verdict if verdict is not None and verdict.at <= at else None,
        cancelled_at=batch.cancelled_at if (batch.cancelled_at or 0.0) <= at else None,
    )


def results_due_at(batch: BatchRecord) -> float | None:
    """Return when the results of a batch are to be written, or None if never."""
    if batch.outcome is not None or batch.verdict is not None or was_cancelled_before_start(batch):
        return None
    if batch.cancelled_at is not None:
        return min(batch.cancelled_at, batch.finishes_at)
    # A job that would finish after its 48 hours expires instead and never has results.
    return batch.finishes_at if batch.finishes_at < batch.created_at + JOB_LIFETIME_S else None


def rows_served(batch: BatchRecord) -> int:
    """Return how many rows are answered: all, or those whose time had come when it was cancelled."""
    return batch.rows if batch.cancelled_at is None else _rows_by(batch, batch.cancelled_at)


def was_cancelled_before_start(batch: BatchRecord) -> bool:
    """Say whether the cancellation came while the batch was PENDING: then it has no results."""
    return batch.cancelled_at is not None and batch.cancelled_at < batch.starts_at


def has_expired(batch: BatchRecord, now: float) -> bool:
    """Say whether 48 hours went by without an end. A state the API does not have never expires."""
    known = batch.verdict is None or batch.verdict.state in _STATES
    never_ends = results_due_at(batch) is None
    return known and never_ends and now >= batch.created_at + JOB_LIFETIME_S


def forced_state(word: str) -> str:
    """Complete a state given from outside: ``FAILED`` and ``STUCK`` are short for wire names.

    A word that the API does not have is kept as it is: clients must survive new states.
    """
    if word == "STUCK":
        return "BATCH_STATE_PENDING"
    return f"BATCH_STATE_{word}" if f"BATCH_STATE_{word}" in _STATES else word


def verdict_for(word: str, error: dict[str, object] | None, now: float) -> Verdict:
    """Make the record of a forced outcome. FAILED without an error gets the general one."""
    state = forced_state(word)
    if state == "BATCH_STATE_FAILED" and error is None:
        error = {"code": 13, "message": "internal error"}
    if state == "BATCH_STATE_CANCELLED" and error is None:
        error = {"code": 13, "message": "The batch was cancelled."}
    return Verdict(state=state, at=now, error=error)


def forced(batch: BatchRecord, word: str, error: dict[str, object] | None, now: float) -> BatchRecord:
    """Return the record with the outcome forced upon it.

    SUCCEEDED lets the batch finish now. FORGOTTEN hides it from all clients while it runs on.
    """
    if word == "FORGOTTEN":
        return msgspec.structs.replace(batch, forgotten=True)
    if word.removeprefix("BATCH_STATE_") == "SUCCEEDED":
        due = min(now, batch.finishes_at)
        started = min(batch.starts_at, due)
        return msgspec.structs.replace(batch, verdict=None, starts_at=started, finishes_at=due)
    return msgspec.structs.replace(batch, verdict=verdict_for(word, error, now), outcome=None)


def _rows_by(batch: BatchRecord, at: float) -> int:
    """Return how many rows have had their time: they take turns evenly from the start to the finish."""
    if at >= batch.finishes_at:
        return batch.rows
    return max(0, int(batch.rows * (at - batch.starts_at) / (batch.finishes_at - batch.starts_at)))


def _progressed(view: JobView, batch: BatchRecord, at: float) -> JobView:
    """Show how far a running batch is. Which rows failed is known at its end, and one row is left until then."""
    served = min(_rows_by(batch, at), batch.rows - 1)
    if served <= 0:
        return view
    changed_at = batch.starts_at + (batch.finishes_at - batch.starts_at) * served / batch.rows
    return view._replace(
        succeeded=served, pending=batch.rows - served, updated_at=max(view.updated_at, changed_at)
    )


def _finished_view(outcome: Outcome) -> JobView:
    return JobView(
        state="BATCH_STATE_SUCCEEDED",
        done=True,
        updated_at=outcome.at,
        ended_at=outcome.at,
        succeeded=outcome.succeeded,
        failed=outcome.failed,
        pending=0,
        error=None,
    )


def _view(batch: BatchRecord, state: str, since: float, error: dict[str, object] | None) -> JobView:
    done = state in _FINAL
    return JobView(
        state=state,
        done=done,
        updated_at=since,
        ended_at=since if done else None,
        succeeded=0,
        failed=0,
        pending=batch.rows,
        error=error,
    )
