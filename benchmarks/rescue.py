"""``python -m benchmarks.rescue [runs]``: how often a table is in time if jobs are late, and what that costs.

A simulation in minutes, not in hours: jobs, calls and the clock are made up here. When a rescue begins, how fast
its calls leave and when they end is decided by the code of the package. A batch is sent seven hours before its
table must be there. Beside the package stand two simpler ways: a plain timeout, and a fixed buffer of 15 % of the
time, from which on all rows that are left are called in standard at the same pace.

Made up, as no figures are published: jobs that run well end after a lognormal time (median 40 minutes, one in a
hundred later than six hours). A flex call takes 1 to 15 minutes, 4 as a rule, and a standard call 2 to 60 s.
"""

from __future__ import annotations

import heapq
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import NamedTuple

from airflow_provider_batch.batch.decide.call_rules import CALL_S, END_JOBS_S, CallRules
from airflow_provider_batch.batch.decide.deadlines import rescue_begins, rescue_ends, rescue_plan
from airflow_provider_batch.batch.decide.policy import Policy
from airflow_provider_batch.batch.ledger.documents import BatchPlan, Landed, RoundPlan, ShardPlan
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.batch.ledger.state import BatchState, Round, Shard, Upload
from airflow_provider_batch.batch.live.capacity import Capacity
from airflow_provider_batch.batch.live.pace import Pace
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.contract_calls import Tier

RUNS = 200
READY_S = 7 * 3600.0
STEP_S = 60.0
BUFFER = 0.15
TOKENS = 250
SENT = datetime(2026, 1, 1, tzinfo=timezone.utc)
NEVER_S = 10**9

Ends = Callable[[random.Random, int], list[float]]
"""When the jobs of a batch end, seconds after it was sent, for so many of them."""


def _normal(rng: random.Random) -> float:
    return rng.lognormvariate(7.78, 0.94)


def normal(rng: random.Random, jobs: int) -> list[float]:
    """As a rule."""
    return [_normal(rng) for _ in range(jobs)]


def stalled(rng: random.Random, jobs: int) -> list[float]:
    """Nothing moves for 30 hours."""
    return [30 * 3600.0 + _normal(rng) for _ in range(jobs)]


def stuck(rng: random.Random, jobs: int) -> list[float]:
    """No job ever ends, also if it is asked to."""
    return [NEVER_S] * jobs


def half_stuck(rng: random.Random, jobs: int) -> list[float]:
    """Half of the jobs never end."""
    return [NEVER_S if number % 2 else _normal(rng) for number in range(jobs)]


def recovers(rng: random.Random, jobs: int) -> list[float]:
    """All jobs end in the last hour."""
    return [READY_S - 3600.0 + rng.uniform(0, 3000.0) for _ in range(jobs)]


TRACES: dict[str, Ends] = {
    "normal": normal,
    "stalled for 30 h": stalled,
    "all stuck for good": stuck,
    "half the jobs stuck": half_stuck,
    "recovers in the last hour": recovers,
}


class Night(NamedTuple):
    """A batch and its jobs.

    :param ends: When each job ends.
    :param rows: In each job.
    """

    ends: list[float]
    rows: int

    def done(self, at: float) -> int:
        """Rows that jobs have answered by then."""
        return self.rows * sum(end <= at for end in self.ends)


class Outcome(NamedTuple):
    """What came of a night.

    :param in_time: All rows were answered.
    :param cost: Of all answers, as a share of what batch mode costs for each row once.
    :param is_warned: The log said as the batch was sent that time may be too short.
    """

    in_time: bool
    cost: float
    is_warned: bool = False


def _state(night: Night, at: float) -> BatchState:
    """The batch as the ledger tells it at a time."""
    part = ShardPlan(file="f", rows=night.rows, size_bytes=1, content="c", tokens=TOKENS * night.rows)
    plan = RoundPlan(shards=(part,) * len(night.ends), created_at=SENT, clock_from=SENT)
    landed = Landed(at=SENT, job="batches/a", state=JobState.SUCCEEDED, counts={})
    shards = tuple(
        Shard(1, number, part, (), Upload(0), landed if end <= at else None)
        for number, end in enumerate(night.ends, 1)
    )
    whole = BatchPlan(
        ledger_version=1,
        identity=Identity("d", "t", "r"),
        account="a",
        model="m",
        content="c",
        place="p",
        rows=night.rows * len(night.ends),
        size_bytes=1,
        first=plan,
    )
    return BatchState(whole, 1, (Round(1, plan, shards, None, None),), None)


class _Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def _takes_s(rng: random.Random, tier: Tier) -> float:
    return rng.triangular(60.0, 900.0, 240.0) if tier is Tier.FLEX else rng.uniform(2.0, 60.0)


def called(rng: random.Random, rows: int, began: float, ends: float, rules: CallRules) -> tuple[int, float]:
    """Rows that single calls answer between two times, and their cost in units of a row in batch mode."""
    clock = _Clock(began)
    pace = Pace(rules.requests_per_minute, rules.tokens_per_minute, clock=clock)
    capacity = Capacity(rules, ends, TOKENS)
    under_way: list[float] = []
    answered, cost = 0, 0.0
    for number in range(rows):
        if len(under_way) == rules.concurrency:
            clock.now = max(clock.now, heapq.heappop(under_way))
        clock.now += pace.reserve(TOKENS)
        tier = capacity.tier(clock.now, rows - number)
        if clock.now >= ends or tier is None:
            break
        done = clock.now + _takes_s(rng, tier)
        heapq.heappush(under_way, done)
        if done <= min(ends, clock.now + CALL_S[tier]):
            answered += 1
            cost += 1.0 if tier is Tier.FLEX else 2.0
    return answered, cost


def ours(rng: random.Random, night: Night, rules: CallRules) -> Outcome:
    """The package, with ``ready_by``."""
    rows = night.rows * len(night.ends)
    policy = Policy(may_call=True, rules=rules, ready_by=SENT.timestamp() + READY_S, job_life_s=48 * 3600.0)
    plan = rescue_plan(_state(night, 0.0), policy, SENT.timestamp())
    is_warned = plan is not None and plan.startswith("AGB-T05")
    at = 0.0
    while at < READY_S:
        if night.done(at) == rows:
            return Outcome(True, 1.0, is_warned)
        begins = rescue_begins(_state(night, at), policy, SENT.timestamp() + at)
        if begins is not None and SENT.timestamp() + at >= begins:
            break
        at += STEP_S
    if at >= READY_S:
        return Outcome(False, night.done(READY_S) / rows, is_warned)
    # A job that can end does so within some minutes. One that is stuck is waited for, and its rows are called.
    is_stuck = NEVER_S in night.ends
    began = at + (END_JOBS_S if is_stuck else rng.uniform(30.0, 300.0))
    left, done = rows - night.done(began), night.done(began)
    ends = rescue_ends(_state(night, began), policy, SENT.timestamp() + began).timestamp() - SENT.timestamp()
    answered, cost = called(rng, left, began, ends, rules)
    return Outcome(answered == left, (done + cost) / rows, is_warned)


def timeout(rng: random.Random, night: Night, rules: CallRules) -> Outcome:
    """Jobs alone, until the time is up."""
    rows = night.rows * len(night.ends)
    done = night.done(READY_S)
    return Outcome(done == rows, done / rows)


def buffer(rng: random.Random, night: Night, rules: CallRules) -> Outcome:
    """From 85 % of the time on, standard calls for all rows that are left; the jobs run on and are billed."""
    rows = night.rows * len(night.ends)
    began = (1 - BUFFER) * READY_S
    done = night.done(began)
    answered, cost = called(rng, rows - done, began, READY_S, replace(rules, tiers=(Tier.STANDARD,)))
    billed = done if NEVER_S in night.ends else rows
    return Outcome(answered == rows - done, (billed + cost) / rows)


WAYS = {"ours": ours, "timeout": timeout, "buffer": buffer}

SETUPS = {
    "defaults": CallRules(),
    "1,000 a minute": CallRules(
        tiers=(Tier.FLEX, Tier.STANDARD),
        concurrency=1_000,
        requests_per_minute=1_000,
        tokens_per_minute=4_000_000,
    ),
}


def main() -> None:
    """Entry point."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    print("| rows | pace | jobs | ours: in time, warned, cost | timeout: in time | buffer: in time, cost |")
    print("|---|---|---|---|---|---|")
    for rows, jobs in ((1_000, 4), (50_000, 20)):
        for setup, rules in SETUPS.items():
            for trace, ends in TRACES.items():
                line = [_line(way, rows // jobs, jobs, rules, ends, runs) for way in WAYS.values()]
                told = f"{_share(line[0])}, {_warned(line[0])}, {_cost(line[0])}"
                print(
                    f"| {rows:,} | {setup} | {trace} | {told} | {_share(line[1])} | {_share(line[2])}, "
                    f"{_cost(line[2])} |",
                    flush=True,
                )


def _line(
    way: Callable[[random.Random, Night, CallRules], Outcome],
    rows: int,
    jobs: int,
    rules: CallRules,
    ends: Ends,
    runs: int,
) -> list[Outcome]:
    found = []
    for seed in range(runs):
        rng = random.Random(f"{seed} {ends.__name__} {jobs}")
        found.append(way(rng, Night(ends(rng, jobs), rows), rules))
    return found


def _share(found: list[Outcome]) -> str:
    return f"{100 * statistics.mean(one.in_time for one in found):.0f} %"


def _warned(found: list[Outcome]) -> str:
    return "yes" if all(one.is_warned for one in found) else "no"


def _cost(found: list[Outcome]) -> str:
    return f"{statistics.mean(one.cost for one in found):.2f}"


if __name__ == "__main__":
    main()
