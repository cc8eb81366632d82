"""A trial: some rows are answered by single calls before the batch is sent, and say what it will come to."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from decimal import Decimal

import pytest
from upath import UPath

from airflow_provider_batch.batch.cost.budget import Budget
from airflow_provider_batch.batch.decide.actions import Wait
from airflow_provider_batch.batch.decide.call_rules import CallRules, trial_s
from airflow_provider_batch.batch.ledger.documents import Landed, Layout, TrialForecast
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.errors import BudgetError, ConfigError, TrialError
from airflow_provider_batch.gemini.prices import PriceTable
from airflow_provider_batch.rows.output.type import OutputType
from faults.task import ask
from tests.batch.conftest import failed_keys, read, statuses

ROWS = [ask(f"row-{number}") for number in range(40)]
CALL = "models.generateContent"
SHORT = [{**row, "request": {**row["request"], "generationConfig": {"maxOutputTokens": 60}}} for row in ROWS]
TOO_LITTLE = Budget(Decimal("0.0003"), PriceTable.shipped().price)
"""For the rows of :data:`SHORT`, by what a trial of them takes."""
QUICKLY = CallRules(requests_per_minute=60_000, tokens_per_minute=10_000_000)


@pytest.fixture
def folder(tmp_path):
    return UPath(tmp_path / "out")


@pytest.fixture
def trying(task):
    """A task of forty rows that tries ten of them."""
    return task.but(rows=ROWS, trial_rows=10, calls=QUICKLY, prices=PriceTable.shipped().price)


@pytest.fixture
def called(gemini_emulator):
    """The single calls that were billed so far."""
    return gemini_emulator.billed_calls


def receipts(task):
    return [json.loads(line) for line in (task.folder / "jobs.jsonl").read_text().splitlines()]


def tried_keys(task):
    lines = task.ledger.path(read_batch(task.ledger).plan.trial.shards[0].file).read_text().splitlines()
    return [json.loads(line)["key"] for line in lines]


def test_tried_rows_are_results_like_any_other_and_are_not_sent_again(trying, created, called):
    manifest = trying.finish()
    assert manifest.counts == {"success": 40}
    assert len(statuses(trying)) == 40
    assert [call["tier"] for call in called()] == ["flex"] * 10
    assert len(created()) == 1
    assert [one["counts"] for one in receipts(trying) if one["job"]] == [{"success": 30}]


def test_a_second_start_calls_and_sends_nothing_again(trying, created, called):
    trying.finish()
    assert trying.finish().counts == {"success": 40}
    assert (len(called()), len(created())) == (10, 1)


def test_the_answers_and_what_the_batch_will_come_to_are_told(trying, caplog):
    with caplog.at_level(logging.INFO):
        trying.finish()
    shown = [line for line in caplog.messages if line.startswith("Trial: ")]
    assert len(shown) == 5
    assert all("success: Answer to: hello row-" in line for line in shown)
    assert any(
        line.startswith("by the trial:  10 rows tried, and for all rows these ranges of 95 %")
        for line in caplog.messages
    )


def test_the_range_holds_what_the_batch_comes_to(trying):
    manifest = trying.finish()
    said = trying.ledger.read("r0.forecast.json", TrialForecast)
    assert said.rows_tried == 10
    assert said.input.least <= manifest.tokens.input <= said.input.most
    assert said.usd.least <= manifest.cost_usd <= said.usd.most
    assert said.usd.most < 2 * said.usd.least


def test_tried_rows_are_spread_over_the_input_and_the_same_each_time(trying, tmp_path):
    trying.attempt()
    again = trying.but(folder=UPath(tmp_path / "again"), identity=Identity("dag", "label", "again"))
    again.attempt()
    keys = tried_keys(trying)
    assert keys == tried_keys(again)
    places = [int(key.removeprefix("row-")) for key in keys]
    assert places == sorted(places)
    assert min(places) < 20 <= max(places)


@pytest.mark.parametrize("kept", [(), ("key",)])
def test_the_order_of_the_input_holds_with_a_trial(trying, kept):
    ordered = trying.but(layout=Layout(in_input_order=True), keep_columns=kept)
    rows = list(read(ordered, ordered.finish()))
    assert [row.key for row in rows] == [row["key"] for row in ROWS]
    assert all(row.source == {"key": row.key} for row in rows if kept)


def test_a_trial_of_more_rows_than_there_are_tries_all_and_sends_no_batch(trying, created, called, caplog):
    with caplog.at_level(logging.INFO):
        manifest = trying.but(trial_rows=100).finish()
    assert manifest.counts == {"success": 40}
    assert (len(called()), created()) == (40, [])
    assert "All rows were tried, so no batch is sent." in caplog.messages


def test_a_prompt_that_no_row_answers_is_found_out_before_the_batch(trying, created, called, gemini_emulator):
    gemini_emulator.add_fault(call=CALL, action="status", status=400, message="no", times=None)
    with pytest.raises(TrialError, match=r"AGB-T01 10 of 10 rows of the trial have no usable answer") as error:
        trying.finish()
    assert error.value.is_final
    assert created() == []
    # A retry without a change pays for nothing, and says the same.
    calls = len(gemini_emulator.requests())
    with pytest.raises(TrialError, match="AGB-T01"):
        trying.finish()
    assert [call for call in gemini_emulator.requests()[calls:] if call["call"] == CALL] == []


def test_rows_with_a_corrected_prompt_are_tried_anew_without_a_word_from_the_user(trying, created, called):
    wrong = OutputType.of({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
    with pytest.raises(TrialError):
        # The emulator honours the schema that is sent, so an answer is of another type only if none was sent.
        trying.but(
            max_failed=0.0,
            rows=[
                {**row, "request": {**row["request"], "generationConfig": {"maxOutputTokens": 1}}} for row in ROWS
            ],
        ).finish()
    assert created() == []
    paid = len(called())
    assert trying.but(output=wrong).finish().counts == {"success": 40}
    assert len(called()) - paid == 10


@pytest.mark.parametrize(("most", "passes"), [(None, True), (0.2, True), (0.1, False)])
def test_the_share_of_a_trial_that_may_fail_is_that_of_the_batch(trying, gemini_emulator, most, passes):
    task = trying.but(max_failed=most)
    gemini_emulator.add_fault(call=CALL, action="status", status=400, message="bad", times=2)
    if passes:
        assert task.finish().counts == {"success": 38, "error": 2}
        assert len(failed_keys(task)) == 2
    else:
        with pytest.raises(TrialError, match=r"2 of 10 rows .*At most 10 % may"):
            task.finish()


def test_a_batch_that_is_too_dear_by_its_trial_is_not_sent(trying, created, called):
    budget = Budget(Decimal("0.0003"), trying.prices)
    rows = [{**row, "request": {**row["request"], "generationConfig": {"maxOutputTokens": 60}}} for row in ROWS]
    with pytest.raises(TrialError, match=r"AGB-T02 By the trial the batch may cost USD 0\.\d+") as error:
        trying.but(rows=rows, budget=budget).finish()
    assert "The trial has cost USD 0.0" in str(error.value)
    assert (len(called()), created()) == (10, [])
    # With more money the answers of the trial are there already.
    assert trying.but(rows=rows, budget=Budget(Decimal(1), trying.prices)).finish().counts == {"success": 40}
    assert len(called()) == 10


def test_a_wide_estimate_does_not_keep_a_trial_from_narrowing_it(trying, created):
    budget = Budget(Decimal("0.5"), trying.prices)
    with pytest.raises(BudgetError, match="AGB-C09"):
        trying.but(trial_rows=0, budget=budget).finish()
    assert trying.but(budget=budget).finish().counts == {"success": 40}
    assert len(created()) == 1


def test_a_model_without_a_price_is_refused_before_the_trial_if_money_is_limited(trying, called):
    with pytest.raises(BudgetError, match="no price is known"):
        trying.but(prices=lambda *_: None, budget=Budget(Decimal(1))).finish()
    assert called() == []


def test_a_trial_stops_where_its_own_rows_would_cost_too_much(trying, called, created):
    # One answer without a cap may have 65,536 tokens.
    budget = Budget(Decimal("0.01"), trying.prices)
    with pytest.raises(TrialError, match=r"No row of the trial was answered: max_cost_usd would be exceeded"):
        trying.but(budget=budget).finish()
    assert (called(), created()) == ([], [])


def test_a_tried_row_that_fails_in_passing_is_sent_with_the_rows_of_the_next_round(
    trying, created, gemini_emulator
):
    schema = OutputType.of({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    wrong = {"candidates": [{"content": {"parts": [{"text": "no"}], "role": "model"}, "finishReason": "STOP"}]}
    gemini_emulator.add_fault(call=CALL, action="status", status=200, body=wrong, times=1)
    assert trying.but(output=schema).finish().counts == {"success": 40}
    assert len(created()) == 2


def test_a_model_without_flex_is_named_before_the_batch(trying, created):
    with pytest.raises(ConfigError, match=r"AGB-C16 .*gemini-2\.0-flash"):
        trying.but(model="gemini-2.0-flash").finish()
    assert created() == []


def test_flex_without_capacity_is_waited_for_without_a_worker(trying, called, gemini_emulator):
    gemini_emulator.add_fault(call=CALL, action="status", tier="flex", message="No capacity now.", times=None)
    patient = trying.but(trial_s=7_200.0, calls=replace(QUICKLY, capacity_wait_s=(100.0, 300.0)))
    wait = patient.attempt()
    assert isinstance(wait, Wait)
    assert (wait.jobs, called()) == ((), [])
    assert isinstance(patient.resume(), Wait)
    gemini_emulator.clear_faults()
    assert patient.finish().counts == {"success": 40}
    assert len(called()) == 10


def test_rows_go_to_standard_after_so_many_refusals_and_the_bill_says_so(
    trying, called, gemini_emulator, monkeypatch
):
    gemini_emulator.add_fault(call=CALL, action="status", tier="flex", message="No capacity now.", times=None)
    rules = replace(QUICKLY, tiers=(Tier.FLEX, Tier.STANDARD), capacity_refusals=2, capacity_wait_s=(0.05, 1.0))
    # Standard is for those whom flex leaves no time, too, so there must be enough.
    assert trying.but(calls=rules, trial_s=7_200.0).finish().counts == {"success": 40}
    assert [call["tier"] for call in called()] == ["standard"] * 10
    landed = trying.ledger.read("r0.s1.landed.json", Landed)
    assert [(one.tier, one.rows) for one in landed.calls] == [(Tier.STANDARD, 10)]


def test_with_too_little_time_for_flex_rows_go_to_standard_at_once(trying, called):
    rules = replace(QUICKLY, tiers=(Tier.FLEX, Tier.STANDARD))
    trying.but(calls=rules, trial_s=300.0).finish()
    assert [call["tier"] for call in called()] == ["standard"] * 10


def test_a_refusal_for_the_rate_is_waited_out_and_is_no_reason_to_pay_more(trying, called, gemini_emulator):
    gemini_emulator.add_fault(call=CALL, action="status", status=429, retry_delay=0.2, times=3)
    rules = replace(QUICKLY, tiers=(Tier.FLEX, Tier.STANDARD), capacity_refusals=1)
    assert trying.but(calls=rules, trial_s=7_200.0).finish().counts == {"success": 40}
    assert [call["tier"] for call in called()] == ["flex"] * 10


def test_a_lost_answer_is_called_again_and_counted(trying, called, gemini_emulator):
    gemini_emulator.add_fault(call=CALL, action="accept_then_drop", times=2)
    assert trying.finish().counts == {"success": 40}
    assert len(called()) == 12
    assert trying.ledger.read("r0.s1.landed.json", Landed).lost_calls == 2


def test_a_row_whose_answers_are_all_lost_is_left_after_three_calls(trying, called, gemini_emulator):
    gemini_emulator.add_fault(call=CALL, action="accept_then_drop", times=None)
    with pytest.raises(TrialError, match="10 of 10"):
        trying.finish()
    assert len(called()) == 30


def test_the_time_for_the_jobs_begins_when_the_trial_is_over(trying, gemini_emulator):
    gemini_emulator.add_fault(call=CALL, action="status", tier="flex", message="No capacity now.", times=None)
    calls = replace(QUICKLY, capacity_wait_s=(100.0, 300.0))
    hasty = trying.but(timeout_s=60.0, trial_s=7_200.0, calls=calls)
    wait = hasty.attempt()
    assert isinstance(wait, Wait)
    assert wait.deadline == pytest.approx(time.time() + 7_200, abs=30)
    gemini_emulator.clear_faults()
    # More than the jobs may take, and the trial has begun before that.
    gemini_emulator.advance_clock(3_600)
    assert hasty.finish().counts == {"success": 40}


def test_a_batch_whose_trial_was_too_dear_is_sent_the_next_day_with_more_money(trying, created, gemini_emulator):
    daily = trying.but(rows=SHORT, timeout_s=3_600.0, at_timeout="answer")
    with pytest.raises(TrialError, match="AGB-T02"):
        daily.but(budget=TOO_LITTLE).finish()
    gemini_emulator.advance_clock(86_400)
    cleared = daily.but(budget=Budget(Decimal(1), trying.prices), is_cleared=True)
    assert cleared.finish().counts == {"success": 40}
    assert len(created()) == 1


def test_a_trial_that_is_wanted_by_now_is_made_before_a_batch_that_was_planned_without(
    trying, created, called, gemini_emulator
):
    gemini_emulator.add_fault(call="batches.create", action="status", status=429, message="full", times=None)
    capped = trying.but(rows=SHORT)
    capped.but(trial_rows=0).attempt()
    gemini_emulator.clear_faults()
    # Without the trial nothing would have judged the cost.
    with pytest.raises(TrialError, match="AGB-T02"):
        capped.but(budget=TOO_LITTLE).finish()
    assert len(called()) == 10
    assert created() == []


def test_a_task_that_makes_no_trial_any_more_keeps_its_answers_and_sends_the_rest(trying, created, called):
    capped = trying.but(rows=SHORT)
    with pytest.raises(TrialError, match="AGB-T02"):
        capped.but(budget=TOO_LITTLE).finish()
    assert capped.but(trial_rows=0, calls=None).finish().counts == {"success": 40}
    assert (len(called()), len(created())) == (10, 1)


def test_a_trial_that_broke_off_is_not_gone_on_with_by_a_task_that_makes_none(
    trying, created, called, gemini_emulator
):
    gemini_emulator.add_fault(call=CALL, action="status", status=401, after=3, times=None)
    with pytest.raises(Exception, match="401"):
        trying.finish()
    gemini_emulator.clear_faults()
    paid = len(called())
    assert trying.but(trial_rows=0, calls=None).finish().counts == {"success": 40}
    assert len(called()) == paid < 10


@pytest.mark.parametrize(
    ("ready_in_s", "most_s"), [(None, 7_200), (86_400, 7_200), (3_600, 900), (0, 0), (-60, 0)]
)
def test_a_trial_leaves_the_jobs_most_of_the_time_before_all_is_to_be_ready(ready_in_s, most_s):
    assert trial_s(None if ready_in_s is None else 1_000_000 + ready_in_s, 1_000_000) == most_s
