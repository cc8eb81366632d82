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
from airflow_provider_batch.contract_calls import Tier

AFTER_CANCEL_S = 3600.0
"""How long cancelled jobs are waited for, seconds."""


MOST_SHARE = 0.9
"""Of the rows that are left. Single calls take the place of jobs if they can answer so many in time."""


FEW_SHARE = 0.4
"""Of the time until all rows are to be answered. Few are those that leave at the pace in so much of it."""

ON_TIME_S = 600.0
"""A visit that comes so much too late is still in time, seconds. A trigger fires within five minutes."""


def deadline(batch: BatchState, policy: Policy, now: float) -> float:
    """Unix time at which something is done about what is late, whatever it is."""
    last = batch.round
    called = batch.trial if batch.trial and batch.trial.open_shards else last
    if called.is_live:
        return calls_end(called)
    if last.cancel:
        is_rescued = policy.rescues and last.cancel.by is None
        return last.cancel.at.timestamp() + (END_JOBS_S if is_rescued else AFTER_CANCEL_S)
    ends = patience_ends(batch, policy)
    begins = rescue_begins(batch, policy, now)
    return ends if begins is None else min(ends, begins)


def all_is_due(batch: BatchState, policy: Policy) -> float:
    """Unix time by which all rows are to be answered, by jobs or by single calls."""
    ends = patience_ends(batch, policy)
    return ends if policy.ready_by is None else min(ends, policy.ready_by)


def calls_end(called: Round) -> float:
    """Unix time at which the single calls of a round end."""
    return called.plan.ends_at.timestamp() if called.plan.ends_at else math.inf


def rescue_begins(batch: BatchState, policy: Policy, now: float) -> float | None:
    """Unix time at which the rows that are left must begin to be answered by single calls.

    None if they are not to be. What cannot be answered in time in the first tier may be in the next. Single calls
    may not be able to answer all rows in the time that is left. If they can answer nearly all, or the rows are
    few, they begin. Else the jobs are more likely to be done, and go on.
    """
    if not policy.rescues:
        return None
    ends = patience_ends(batch, policy) if policy.at_timeout == "answer" else math.inf
    if policy.ready_by is None:
        return ends
    for tier in policy.rules.tiers:
        if now <= policy.ready_by - rescue_needs_s(batch, policy, tier, with_margin=False):
            return min(ends, policy.ready_by - rescue_needs_s(batch, policy, tier))
    last, began = policy.rules.tiers[-1], batch.clock_from.timestamp()
    window_s = max(0.0, policy.ready_by - began)
    if 60 * rows_left(batch) / policy.rules.rows_per_minute(tokens_per_row(batch), last) <= FEW_SHARE * window_s:
        # Few rows and little time: a call may take less than it may take at most.
        return min(ends, began + window_s / 2)
    if now >= policy.ready_by and not policy.may_send:
        # Late rows are what this task or command is there for.
        return policy.ready_by
    most = math.ceil(MOST_SHARE * rows_left(batch))
    begins = policy.ready_by - policy.rules.rescue_s(most, tokens_per_row(batch), last, with_margin=False)
    return min(ends, begins) if now <= begins + ON_TIME_S else ends


def is_rescue_due(batch: BatchState, policy: Policy, now: float) -> bool:
    """The rows that are left must begin to be answered by single calls."""
    begins = rescue_begins(batch, policy, now)
    return begins is not None and now >= begins


def rescue_needs_s(
    batch: BatchState, policy: Policy, tier: Tier | None = None, *, with_margin: bool = True
) -> float:
    """Seconds that a rescue of the rows that are left now takes.

    :param tier: In which most of the rows are answered, None = in the first.
    """
    return policy.rules.rescue_s(rows_left(batch), tokens_per_row(batch), tier, with_margin=with_margin)


def rows_left(batch: BatchState) -> int:
    """Rows without a usable answer, those of jobs that run among them."""
    return sum(shard.plan.rows for shard in batch.round.open_shards) + left_for_calls(batch)


def rescue_plan(batch: BatchState, policy: Policy, now: float) -> str | None:
    """When single calls begin if jobs are late, in words. None if none will.

    What begins with a code is a warning.
    """
    begins, rows = rescue_begins(batch, policy, now), rows_left(batch)
    if begins is None or not rows or batch.round.is_live or batch.round.cancel:
        return None
    left_s = math.inf if policy.ready_by is None else policy.ready_by - max(now, begins)
    in_time = [
        t for t in policy.rules.tiers if rescue_needs_s(batch, policy, t, with_margin=False) <= left_s + 1.0
    ]
    tier = (in_time or policy.rules.tiers[-1:])[0]
    pace = policy.rules.rows_per_minute(tokens_per_row(batch), tier)
    words = f"in {tier}, {rows:,} rows take about {rows / pace:,.0f} min at {pace:,.0f} a minute"
    if not in_time and policy.ready_by is not None:
        return (
            f"AGB-T05 If the jobs are late, single calls may not answer all rows before ready_by, "
            f"{told_time(policy.ready_by)}: {words}, after up to {END_JOBS_S / 60:.0f} min for the jobs to end. "
            f"Raise {policy.rules.bound(tokens_per_row(batch), tier)} if the project's limits allow it, or give a "
            "later time."
        )
    return f"Single calls begin at {told_time(begins)} for rows that the jobs have not answered by then: {words}."


def told_time(at: float) -> str:
    """A Unix time in words."""
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


def patience_ends(batch: BatchState, policy: Policy) -> float:
    """Unix time until which jobs are waited for, by the timeout."""
    last, began = batch.round, batch.clock_from.timestamp()
    extended = max((one.at.timestamp() + policy.timeout_s for one in last.extended), default=began)
    if not batch.has_spent:
        return max(began + policy.timeout_s, extended)
    # The vendor ends the jobs itself, so no person's new time for them reaches further.
    sent = [attempt.sending.at.timestamp() for shard in last.open_shards for attempt in shard.attempts]
    return max(began + policy.timeout_s, min(extended, max([began, *sent]) + policy.job_life_s))
