"""The faults of single calls: in a trial before the batch, and in a rescue from jobs that are late."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from airflow_provider_batch.batch.cost.budget import Budget
from airflow_provider_batch.batch.decide.call_rules import CallRules, Keeping
from airflow_provider_batch.gemini.prices import PriceTable
from airflow_provider_batch.rows.check.shards import ShardLimits
from faults.crash import DONE, FAILED
from faults.harness import WITHIN_S, Bench, Case, CaseError
from faults.judge import digest_of
from faults.task import Task, ask

CALL = "models.generateContent"
ROWS = 24
LATE_S = 3_605.0

QUICKLY = CallRules(
    concurrency=4, requests_per_minute=60_000, tokens_per_minute=10_000_000, capacity_wait_s=(0.02, 0.2)
)


BRIEF = Keeping(lease_s=0.6, note_s=0.05)
"""How answers are noted, in tenths of seconds instead of minutes."""


def _rows(task: Task) -> list[Any]:
    """Rows whose texts are those of no other run."""
    return [ask(f"k{number} of {task.folder.name}") for number in range(ROWS)]


def tried(task: Task) -> Task:
    """Twelve rows are tried before the others are sent."""
    return task.but(rows=_rows(task), trial_rows=12, trial_s=7_200.0, calls=QUICKLY, keeping=BRIEF)


def late(task: Task) -> Task:
    """Three jobs whose rows are called after an hour."""
    rows, limits = _rows(task), ShardLimits(rows=8)
    of_calls = {"calls": QUICKLY, "keeping": BRIEF, "at_timeout": "answer"}
    return task.but(rows=rows, limits=limits, timeout_s=3_600.0, **of_calls)


def held_longer(shape: Callable[[Task], Task]) -> Callable[[Task], Task]:
    """The same with leases that a machine under load does not lose."""
    return lambda task: shape(task).but(keeping=Keeping(lease_s=4.0, note_s=0.05))


def late_and_capped(task: Task) -> Task:
    """The same with a price and with answers of 100 tokens at most."""
    prices = PriceTable.shipped().price
    cap = {"generationConfig": {"maxOutputTokens": 100}}
    rows = [{**row, "request": {**row["request"], **cap}} for row in _rows(task)]
    return replace(late(task), rows=rows, prices=prices, budget=Budget(Decimal(1), prices))


def late_and_patient(task: Task) -> Task:
    """The same with waits for capacity that no worker waits out."""
    return late(task).but(calls=replace(QUICKLY, capacity_wait_s=(100.0, 300.0)))


def _stuck(bench: Bench, jobs: int = 3) -> list[str]:
    """Send the jobs, let some of them stand still, and let the time pass. The names of those."""
    bench.emulator.add_fault(action="job", state="STUCK", times=jobs)
    bench.task.attempt()
    give_up = time.monotonic() + WITHIN_S
    with bench.task.service() as service:
        while len(still := [job for job in bench.task.jobs if not service.look(job).state.is_terminal]) > jobs:
            if time.monotonic() > give_up:
                raise CaseError("the other jobs do not end")
            time.sleep(0.02)
    bench.emulator.advance_clock(LATE_S)
    return still


def _killed(bench: Bench) -> float:
    """Kill up to three tries by the clock, then let one through."""
    for _ in range(bench.rng.randint(1, 3)):
        worker = bench.worker()
        time.sleep(bench.rng.uniform(0.0, 0.9))
        worker.signal(signal.SIGKILL)
        worker.wait()
    return bench.until_done()


def killed_in_a_trial(bench: Bench) -> float:
    """Calls are on their way, and others are answered and not noted."""
    return _killed(bench)


def killed_in_a_rescue(bench: Bench) -> float:
    """The same where some jobs have ended and others have not."""
    _stuck(bench, bench.rng.randint(1, 3))
    return _killed(bench)


def _at_once(bench: Bench) -> float:
    workers = [bench.worker() for _ in range(bench.rng.randint(2, 3))]
    if bench.rng.random() < 0.5:
        time.sleep(bench.rng.uniform(0.0, 0.5))
        workers.pop().signal(signal.SIGKILL)
    for worker in workers:
        worker.wait(WITHIN_S)
    return bench.until_done()


def two_in_a_trial(bench: Bench) -> float:
    """Two or three tries call at the same time; one may die."""
    return _at_once(bench)


def two_in_a_rescue(bench: Bench) -> float:
    """The same from jobs that are late."""
    _stuck(bench)
    return _at_once(bench)


def frozen_in_a_rescue(bench: Bench) -> float:
    """A worker stands still for longer than its lease, another goes on, and the first wakes up."""
    _stuck(bench)
    worker = bench.worker()
    time.sleep(bench.rng.uniform(0.2, 0.8))
    worker.signal(signal.SIGSTOP)
    took = bench.until_done()
    worker.signal(signal.SIGCONT)
    worker.wait(WITHIN_S)
    return took


def _storm(status: int, **fault: Any) -> Callable[[Bench], float]:
    def run(bench: Bench) -> float:
        _stuck(bench)
        times = bench.rng.randint(1, 40)
        bench.emulator.add_fault(call=CALL, action="status", status=status, times=times, **fault)
        return bench.until_done()

    return run


def answers_are_lost(bench: Bench) -> float:
    """Up to six answers do not arrive."""
    _stuck(bench)
    action = bench.rng.choice(["accept_then_drop", "drop"])
    bench.emulator.add_fault(call=CALL, action=action, times=bench.rng.randint(1, 6))
    return bench.until_done()


def flex_is_gone(bench: Bench) -> float:
    """Flex has no capacity for an hour: its rows wait, and none is paid at the price of standard."""
    _stuck(bench)
    bench.emulator.add_fault(call=CALL, action="status", tier="flex", times=None)
    status, report = bench.worker(attempt_only=True).wait(WITHIN_S)
    if status != DONE:
        raise CaseError(report)
    bench.emulator.advance_clock(600.0)
    bench.emulator.clear_faults()
    return bench.until_done()


def ends_after_all(bench: Bench) -> float:
    """A job ends between the wish that it ends and the calls: what it answered is landed."""
    [late_job] = _stuck(bench, 1)
    bench.emulator.add_fault(call="batches.cancel", action="status", status=200, body={}, times=None)
    bench.worker(attempt_only=True).wait(WITHIN_S)
    bench.emulator.force_job(late_job, state="SUCCEEDED")
    bench.emulator.clear_faults()
    return bench.until_done()


def runs_on(bench: Bench) -> float:
    """A job does not end, and is billed after its rows were called."""
    bench.emulator.add_fault(call="batches.cancel", action="status", status=200, body={}, times=None)
    _stuck(bench, 1)
    bench.worker(attempt_only=True).wait(WITHIN_S)
    bench.emulator.advance_clock(905.0)
    return bench.until_done()


def clock_is_off(bench: Bench) -> float:
    """The worker's clock is hours off."""
    _stuck(bench)
    off_s = bench.rng.choice([-7_200.0, 7_200.0])
    real = time.time

    def plant() -> None:
        time.time = lambda: real() + off_s  # type: ignore[assignment]

    return replace(bench, plant=plant).until_done()


def money_ends(bench: Bench) -> float:
    """What may be spent is reached in the middle: not one call more leaves."""
    most = Decimal(str(round(bench.rng.uniform(0.0002, 0.0006), 6)))
    poor = replace(bench.task, budget=Budget(most, bench.task.prices))
    _stuck(bench)
    status, report = bench.worker(poor).wait(WITHIN_S)
    if status == FAILED and "AGB-P06" not in report:
        raise CaseError(report)
    wanted = {digest_of(row) for row in bench.task.rows}
    usd = sum(
        call["tokens"]["input"] * 0.15e-6 + call["tokens"]["output"] * 1.25e-6
        for call in bench.emulator.billed_calls()
        if call["request"] in wanted
    )
    if usd > float(most):
        raise CaseError(f"USD {usd} were spent of {most}")
    return bench.until_done()


CASES = [
    Case("L1", "killed in a trial", killed_in_a_trial, shape=tried, resends=-12),
    Case("L2", "killed in a rescue", killed_in_a_rescue, shape=late),
    Case("L3", "two workers at once in a trial", two_in_a_trial, shape=held_longer(tried), resends=-12),
    Case("L3", "two workers at once in a rescue", two_in_a_rescue, shape=held_longer(late)),
    Case(
        "L4", "a worker is frozen beyond its lease", frozen_in_a_rescue, shape=late, weight=0.5, calls_again=True
    ),
    Case("L5", "no capacity (503) again and again", _storm(503), shape=late, weight=0.25),
    Case("L5", "too many calls (429) again and again", _storm(429, retry_delay=0.1), shape=late, weight=0.25),
    Case("L6", "answers of single calls are lost", answers_are_lost, shape=late),
    Case("L7", "flex is gone for long", flex_is_gone, shape=late_and_patient, weight=0.25),
    Case("L8", "a job ends between the wish and the calls", ends_after_all, shape=late),
    Case("L9", "a job runs on after its rows were called", runs_on, shape=late, tells_all=False),
    Case("L10", "a rescue by a clock that is hours off", clock_is_off, shape=late),
    Case("L11", "the money ends in a rescue", money_ends, shape=late_and_capped, resends=None),
]
