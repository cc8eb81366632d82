"""Until when jobs are waited for, and when single calls take their place. Pure.

All times are Unix times, seconds, by the vendor's clock.
"""

from __future__ import annotations

import math
from datetime import datetime, timezone

from airflow_provider_batch.batch.decide.call_rules import END_JOBS_S, MARGIN_S
from airflow_provider_batch.batch.decide.policy import Policy
from airflow_provider_batch.batch.decide.rows_again import left_for_calls
from airflow_provider_batch.batch.ledger.state import BatchState, Round

AFTER_CANCEL_S = 3600.0
"""How long cancelled jobs are waited for, seconds."""


JOBS_SHARE = 0.5
"""Of the time until all rows are to be answered, which the jobs have at least."""


def deadline(batch: BatchState, policy: Policy) -> float:
    """Unix time at which something is done about what is late, whatever it is."""
    last = batch.round
    if last.is_live:
        return calls_end(last)
    if last.cancel:
        is_rescued = policy.rescues and last.cancel.by is None
        return last.cancel.at.timestamp() + (END_JOBS_S if is_rescued else AFTER_CANCEL_S)
    ends = _patience_ends(last, policy)
    begins = rescue_begins(batch, policy)
    return ends if begins is None else min(ends, begins)


def calls_end(called: Round) -> float:
    """Unix time at which the single calls of a round end."""
    return called.plan.ends_at.timestamp() if called.plan.ends_at else math.inf


def rescue_begins(batch: BatchState, policy: Policy) -> float | None:
    """Unix time at which the rows that are left must begin to be answered by single calls.

    None if they are not to be.
    """
    if not policy.rescues:
        return None
    ends = _patience_ends(batch.round, policy) if policy.at_timeout == "answer" else math.inf
    if policy.ready_by is None:
        return ends
    began = batch.round.plan.clock_from.timestamp()
    jobs_have_s = JOBS_SHARE * max(0.0, policy.ready_by - began)
    return min(ends, max(policy.ready_by - rescue_needs_s(batch, policy), began + jobs_have_s))


def rescue_needs_s(batch: BatchState, policy: Policy) -> float:
    """Seconds that a rescue of the rows that are left now takes, with a margin."""
    return policy.rules.rescue_s(rows_left(batch), tokens_per_row(batch))


def rows_left(batch: BatchState) -> int:
    """Rows without a usable answer, those of jobs that run among them."""
    return sum(shard.plan.rows for shard in batch.round.open_shards) + left_for_calls(batch)


def rescue_plan(batch: BatchState, policy: Policy, now: float) -> str | None:
    """When single calls begin if jobs are late, in words. None if none will.

    What begins with a code is a warning.
    """
    begins, rows = rescue_begins(batch, policy), rows_left(batch)
    if begins is None or not rows or batch.round.is_live or batch.round.cancel:
        return None
    pace = policy.rules.rows_per_minute(tokens_per_row(batch))
    words = f"{rows:,} rows take about {60 * rows / pace / 60:,.0f} min at {pace:,.0f} a minute"
    if policy.ready_by is not None and rescue_needs_s(batch, policy) > policy.ready_by - max(now, begins) + 1.0:
        return (
            f"AGB-T05 If the jobs are late, single calls may not answer all rows before ready_by, "
            f"{_told(policy.ready_by)}: {words}, after up to {END_JOBS_S / 60:.0f} min for the jobs to end. Raise "
            "requests_per_minute of the connection if the project's limits allow it, or give a later time."
        )
    return f"Single calls begin at {_told(begins)} for rows that the jobs have not answered by then: {words}."


def _told(at: float) -> str:
    return f"{datetime.fromtimestamp(at, timezone.utc):%F %T} UTC"


def rescue_ends(batch: BatchState, policy: Policy, now: float) -> datetime:
    """When the single calls of a rescue that begins now end, whatever is left."""
    ends = policy.ready_by
    if ends is None or ends <= now:
        # There is no such time, or it has passed: twice what the rows should take.
        ends = now + 2 * policy.rules.calls_s(left_for_calls(batch), tokens_per_row(batch)) + MARGIN_S
    return datetime.fromtimestamp(ends, timezone.utc)


def tokens_per_row(batch: BatchState) -> float:
    """Rough number of input tokens."""
    return sum(shard.plan.tokens for shard in batch.originals) / max(1, batch.plan.rows)


def _patience_ends(last: Round, policy: Policy) -> float:
    began = last.plan.clock_from.timestamp()
    extended = max((one.at.timestamp() + policy.timeout_s for one in last.extended), default=began)
    # The vendor ends the jobs itself, so no person's new time for them reaches further.
    return max(began + policy.timeout_s, min(extended, began + policy.job_life_s))
