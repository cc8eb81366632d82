"""A rescue: jobs that are late are asked to end, and the rows that are left are answered by single calls."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal

import pytest
from upath import UPath

from airflow_provider_batch.batch.cost.budget import Budget
from airflow_provider_batch.batch.decide.actions import Wait
from airflow_provider_batch.batch.decide.call_rules import CallRules
from airflow_provider_batch.batch.ledger.documents import Landed
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.batch.live.notes import NoteWriter, Window, read_notes
from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.errors import JobTimeoutError
from airflow_provider_batch.gemini.prices import PriceTable
from airflow_provider_batch.rows.check.shards import ShardLimits
from faults.task import QUICK, ask
from tests.batch.conftest import read, statuses

CAP = {"generationConfig": {"maxOutputTokens": 1_000}}
CAPPED = [{**row, "request": {**row["request"], **CAP}} for row in map(ask, (f"row-{n}" for n in range(20)))]
ROWS = [ask(f"row-{number}") for number in range(20)]
CALL = "models.generateContent"
QUICKLY = CallRules(requests_per_minute=60_000, tokens_per_minute=10_000_000)
HOUR_S = 3_600.0
LATE_S = HOUR_S + 5


@pytest.fixture
def folder(tmp_path):
    return UPath(tmp_path / "out")


@pytest.fixture
def late(task):
    """A task of twenty rows in four jobs, whose rows are called after an hour."""
    return task.but(
        rows=ROWS,
        limits=ShardLimits(rows=5),
        calls=QUICKLY,
        prices=PriceTable.shipped().price,
        timeout_s=HOUR_S,
        at_timeout="answer",
    )


@pytest.fixture
def called(gemini_emulator):
    """The single calls that were billed so far."""
    return gemini_emulator.billed_calls


@pytest.fixture
def stuck(gemini_emulator, created):
    """Lets the jobs that exist, or some of them, stay as they are until they are asked to end."""

    def hold(jobs=None):
        for name in created() if jobs is None else jobs:
            gemini_emulator.force_job(name, state="STUCK")

    return hold


def begun(task, stuck, jobs=slice(None)):
    """The task with its jobs sent, some of which do not move."""
    task.attempt()
    stuck(task.jobs[jobs])
    return task


def test_rows_of_jobs_that_are_late_are_answered_by_single_calls(
    late, stuck, created, cancelled, called, gemini_emulator
):
    begun(late, stuck)
    gemini_emulator.advance_clock(LATE_S)
    manifest = late.finish()
    assert manifest.counts == {"success": 20}
    assert sorted(cancelled()) == sorted(created())
    assert [call["tier"] for call in called()] == ["flex"] * 20
    assert len(created()) == 4


def test_what_the_jobs_have_finished_is_not_called_again(late, stuck, called, gemini_emulator):
    begun(late, stuck, slice(1, 3))
    time.sleep(0.5)
    gemini_emulator.advance_clock(LATE_S)
    assert late.finish().counts == {"success": 20}
    assert len(called()) == 10


def test_a_job_that_ends_between_the_wish_and_the_calls_is_landed(late, stuck, called, gemini_emulator):
    begun(late, stuck, slice(0, 0))
    gemini_emulator.advance_clock(LATE_S)
    assert late.finish().counts == {"success": 20}
    assert called() == []


def test_a_job_that_does_not_end_is_not_waited_for_for_ever(late, stuck, called, gemini_emulator):
    gemini_emulator.add_fault(call="batches.cancel", action="status", status=200, body={}, times=None)
    begun(late, stuck, slice(0, 1))
    time.sleep(0.5)
    gemini_emulator.advance_clock(LATE_S)
    wait = late.attempt()
    assert isinstance(wait, Wait)
    assert called() == []
    gemini_emulator.advance_clock(901)
    assert late.finish().counts == {"success": 20}
    assert len(called()) == 5
    landed = [one for one in read_batch(late.ledger).landed if one.may_run_on]
    assert [one.job for one in landed] == late.jobs[:1]


def test_a_ready_by_begins_early_enough_and_says_when(late, stuck, called, gemini_emulator, caplog):
    ready_by = time.time() + 3 * HOUR_S
    punctual = late.but(timeout_s=86_400.0, at_timeout="fail", ready_by=ready_by)
    with caplog.at_level(logging.INFO):
        wait = begun(punctual, stuck).attempt()
    assert isinstance(wait, Wait)
    # 15 minutes for the jobs to end, 32 s for 20 rows, 15 minutes for the last call in flex, and 15 as a margin.
    assert wait.deadline == pytest.approx(ready_by - 2_732, abs=5)
    assert any("Single calls begin at" in line for line in caplog.messages)
    gemini_emulator.advance_clock(3 * HOUR_S - 2_860)
    assert isinstance(punctual.attempt(), Wait)
    assert called() == []
    gemini_emulator.advance_clock(120)
    assert punctual.finish().counts == {"success": 20}
    assert len(called()) == 20


def test_a_ready_by_that_cannot_be_met_is_told_as_the_batch_is_sent(late, gemini_emulator, caplog):
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    slow = replace(QUICKLY, requests_per_minute=1)
    with caplog.at_level(logging.WARNING):
        late.but(calls=slow, ready_by=time.time() + 1_500, timeout_s=86_400.0).attempt()
    (told,) = [line for line in caplog.messages if line.startswith("AGB-T05")]
    assert "20 rows take about 20 min at 1 a minute" in told
    assert "Raise requests_per_minute of the connection" in told


def test_jobs_go_on_where_single_calls_could_answer_few_of_their_rows_in_time(
    late, stuck, called, cancelled, gemini_emulator
):
    ready_by = time.time() + HOUR_S
    slow = replace(QUICKLY, requests_per_minute=1 / 10)
    hopeful = begun(late.but(calls=slow, ready_by=ready_by, timeout_s=86_400.0, at_timeout="fail"), stuck)
    for _ in range(4):
        gemini_emulator.advance_clock(HOUR_S / 2)
        assert isinstance(hopeful.attempt(), Wait)
    assert (called(), cancelled()) == ([], [])
    gemini_emulator.advance_clock(86_400.0)
    with pytest.raises(JobTimeoutError, match=r"AGB-P05 .* not finished at the deadline. Nothing was cancelled"):
        hopeful.finish()


def test_what_is_left_at_the_end_is_expired_and_says_why(late, stuck, gemini_emulator):
    begun(late, stuck)
    gemini_emulator.add_fault(
        call=CALL, action="status", tier="flex", message="No capacity now.", after=7, times=None
    )
    gemini_emulator.advance_clock(LATE_S)
    hasty = late.but(ready_by=time.time() + LATE_S + 3, calls=replace(QUICKLY, capacity_wait_s=(0.05, 0.05)))
    with pytest.raises(JobTimeoutError, match=r"AGB-P06 \d+ of 20 rows have no answer: the time was up") as error:
        hasty.finish()
    assert not error.value.is_final
    ended = statuses(hasty)
    assert 7 <= sum(status == "success" for status in ended.values()) < 20
    assert set(ended.values()) == {"success", "expired"}
    rows = [json.loads(line) for line in (hasty.folder / "results.jsonl").read_text().splitlines()]
    why = next(row["error"]["message"] for row in rows if row["status"] == "expired")
    assert why == "the row was not answered by a single call: the time was up"


def test_a_new_try_goes_on_with_the_rows_that_are_left(late, stuck, called, gemini_emulator):
    begun(late, stuck)
    gemini_emulator.add_fault(call=CALL, action="status", status=503, after=5, times=None)
    gemini_emulator.advance_clock(LATE_S)
    with pytest.raises(JobTimeoutError):
        late.but(ready_by=time.time() + LATE_S + 2).finish()
    answered = len(called())
    gemini_emulator.clear_faults()
    assert late.but(ready_by=time.time() + LATE_S + 2).finish().counts == {"success": 20}
    assert len(called()) == 20
    assert answered >= 5


def test_money_is_limited_over_jobs_and_single_calls_together(late, stuck, called, gemini_emulator):
    limited = late.but(rows=CAPPED, budget=Budget(Decimal("0.0256"), late.prices))
    begun(limited, stuck)
    gemini_emulator.advance_clock(LATE_S)
    assert limited.finish().counts == {"success": 20}
    least = limited.but(budget=Budget(Decimal("0.00126"), late.prices), folder=late.folder)
    assert least.finish().counts == {"success": 20}
    assert len(called()) == 20


def test_no_call_leaves_that_could_cost_more_than_is_allowed(late, stuck, called, gemini_emulator):
    begun(late.but(rows=CAPPED), stuck)
    gemini_emulator.advance_clock(LATE_S)
    with pytest.raises(JobTimeoutError, match="max_cost_usd would be exceeded"):
        late.but(rows=CAPPED, budget=Budget(Decimal("0.0013"), late.prices), jobs=late.jobs).finish()
    # USD 0.15 and 1.25 a million tokens, by the price list of the package.
    spent = sum(call["tokens"]["input"] * 0.15e-6 + call["tokens"]["output"] * 1.25e-6 for call in called())
    assert 0 < spent <= 0.0013


def test_two_visits_never_call_for_the_same_rows(late, stuck, called, gemini_emulator):
    begun(late, stuck)
    gemini_emulator.advance_clock(LATE_S)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: late.but().attempt(), range(3)))
    assert late.finish().counts == {"success": 20}
    assert len(called()) == 20


def test_rows_are_not_called_again_after_a_visit_was_cut_off(late, stuck, called, gemini_emulator):
    begun(late, stuck)
    gemini_emulator.advance_clock(LATE_S)
    gemini_emulator.add_fault(call=CALL, action="status", status=401, after=8, times=None)
    with pytest.raises(Exception, match="401"):
        late.finish()
    paid = len(called())
    gemini_emulator.clear_faults()
    assert late.finish().counts == {"success": 20}
    assert paid >= 8
    assert len(called()) == 20


def test_rows_in_order_and_typed_are_as_from_a_job(late, stuck, gemini_emulator):
    from airflow_provider_batch.batch.ledger.documents import Layout
    from airflow_provider_batch.rows.output.type import OutputType

    schema = OutputType.of({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    typed = late.but(output=schema, layout=Layout(in_input_order=True))
    begun(typed, stuck)
    gemini_emulator.advance_clock(LATE_S)
    rows = list(read(typed, typed.finish()))
    assert [row.key for row in rows] == [row["key"] for row in ROWS]
    assert all(isinstance(row.parsed["n"], int) for row in rows)


def test_the_person_who_ends_the_batch_is_not_answered_by_single_calls(late, stuck, called, gemini_emulator):
    from airflow_provider_batch.batch.send.end_jobs import note_end

    begun(late, stuck)
    note_end(late.ledger, "r1.cancel.json", "ended by a person", by="ann")
    gemini_emulator.advance_clock(LATE_S)
    with pytest.raises(Exception, match="ended by a person"):
        late.finish()
    assert called() == []


def test_the_receipt_counts_what_calls_may_have_cost_without_an_answer(late, stuck, called, gemini_emulator):
    begun(late, stuck)
    gemini_emulator.advance_clock(LATE_S)
    gemini_emulator.add_fault(call=CALL, action="accept_then_drop", times=3)
    late.finish()
    landed = [one for one in read_batch(late.ledger).landed if one.calls]
    assert sum(one.lost_calls for one in landed) == 3
    assert sum(total.rows for one in landed for total in one.calls) == 20
    assert len(called()) == 23
    assert isinstance(landed[0], Landed)
    assert {total.tier for one in landed for total in one.calls} == {Tier.FLEX}


@pytest.mark.parametrize(("most_usd", "calls"), [(Decimal(1000), 0), (None, 3)])
def test_beside_a_visit_that_may_spend_what_is_left_of_the_money_nothing_is_called(
    late, stuck, called, gemini_emulator, most_usd, calls
):
    # Of one lease are 10,000 rows at most.
    rows = [{"key": f"row-{n}", "request": CAPPED[0]["request"]} for n in range(10_003)]
    many = late.but(rows=rows, limits=ShardLimits(), budget=Budget(most_usd, late.prices))
    begun(many, stuck)
    gemini_emulator.advance_clock(LATE_S)
    gemini_emulator.add_fault(call=CALL, action="status", status=401, times=None)
    with pytest.raises(Exception, match="401"):
        many.finish()
    gemini_emulator.clear_faults()
    first, _ = read_batch(many.ledger).round.shards
    with many.service() as service:
        service.ask_time()
        now = datetime.fromtimestamp(service.now(), timezone.utc)
    another = NoteWriter(many.ledger, first, read_notes(many.ledger, first), lambda: now, lease_s=3_600)
    assert another.take(Window(10_000))
    assert isinstance(many.resume(), Wait)
    assert len(called()) == calls


def test_a_lease_that_outlives_the_time_of_the_calls_is_waited_for_without_haste(
    late, stuck, called, gemini_emulator
):
    begun(late, stuck)
    gemini_emulator.advance_clock(LATE_S)
    gemini_emulator.add_fault(call=CALL, action="status", status=401, times=None)
    with pytest.raises(Exception, match="401"):
        late.finish()
    (shard,) = read_batch(late.ledger).round.shards
    gemini_emulator.advance_clock(24 * HOUR_S)
    with late.service() as service:
        service.ask_time()
        now = service.now()
    gone = NoteWriter(
        late.ledger,
        shard,
        read_notes(late.ledger, shard),
        lambda: datetime.fromtimestamp(now, timezone.utc),
        lease_s=180,
    )
    assert gone.take(Window(1))
    wait = late.but(patience=replace(QUICK, retry=60.0)).resume()
    assert isinstance(wait, Wait)
    assert min(wait.until, wait.deadline) > now + 30


def test_a_task_that_is_stopped_begins_no_more_calls_and_keeps_the_answers_to_those_under_way(
    late, stuck, called, gemini_emulator
):
    begun(late, stuck)
    gemini_emulator.advance_clock(LATE_S)
    few_at_once = replace(QUICKLY, concurrency=2)
    stopped = late.but(calls=few_at_once, is_stopped=lambda: len(called()) >= 4)
    assert isinstance(stopped.attempt(), Wait)
    paid = len(called())
    assert 4 <= paid < 20
    assert late.finish().counts == {"success": 20}
    assert len(called()) == 20


def test_an_answer_without_a_token_count_keeps_what_it_may_have_cost(late, stuck, called, gemini_emulator):
    limited = late.but(rows=CAPPED, budget=Budget(Decimal("0.03"), late.prices))
    begun(limited, stuck)
    bare = {"candidates": [{"content": {"parts": [{"text": "so"}], "role": "model"}, "finishReason": "STOP"}]}
    gemini_emulator.add_fault(call=CALL, action="status", status=200, body=bare, times=4)
    gemini_emulator.advance_clock(LATE_S)
    limited.finish()
    landed = [one for one in read_batch(late.ledger).landed if one.calls]
    # Each of the four answers may have 1,000 tokens at USD 1.25 a million, and some input.
    assert sum(one.lost_usd for one in landed) == pytest.approx(4 * 0.00125, rel=0.02)
    assert sum(one.unmetered for one in landed) == 4
