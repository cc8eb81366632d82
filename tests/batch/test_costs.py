"""The receipt: what the tokens of all jobs cost, each job once, unknown where it is not known."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from airflow_provider_batch.rows.check.shards import ShardLimits
from airflow_provider_batch.rows.manifest import Manifest
from airflow_provider_batch.rows.money import Price, Rates

RATES = Rates(Decimal(1), Decimal(0), Decimal(10))
TWICE = Rates(Decimal(2), Decimal(0), Decimal(20))


def prices(model, day):
    return Price(RATES, TWICE)


def billed(emulator):
    """USD for what the emulator's journal says would have been billed."""
    bills = list(emulator.bills().values())
    return sum(bill["input"] + 10 * (bill["output"] + bill["thinking"]) for bill in bills) / 1_000_000


def test_the_cost_is_that_of_the_journal_and_half_of_single_calls(task, gemini_emulator):
    manifest = task.but(prices=prices).finish()
    assert manifest.cost_usd == pytest.approx(billed(gemini_emulator), abs=1e-6)
    assert manifest.cost_usd > 0
    assert manifest.standard_usd == pytest.approx(2 * manifest.cost_usd, abs=1e-6)


def test_what_the_results_do_not_hold_is_billed_and_not_in_the_receipt(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="drop", keys=["b"])
    manifest = task.but(prices=prices).finish()
    counted = manifest.tokens.input + 10 * (manifest.tokens.output + manifest.tokens.thinking)
    assert manifest.rounds == 2
    assert manifest.cost_usd == pytest.approx(counted / 1_000_000, abs=1e-6)
    assert manifest.cost_usd < billed(gemini_emulator)


def test_landing_again_costs_the_same(task):
    task = task.but(prices=prices)
    assert task.finish().cost_usd == task.finish().cost_usd


def receipts(task):
    return [json.loads(line) for line in (task.folder / "jobs.jsonl").read_text().splitlines()]


def test_each_job_of_each_round_has_its_receipt_and_they_add_up(task, gemini_emulator, created):
    gemini_emulator.add_fault(action="rows", mutation="drop", keys=["b"])
    task = task.but(prices=prices, limits=ShardLimits(rows=2))
    manifest = task.finish()
    said = receipts(task)
    assert [line["job"] for line in said] == created()
    assert [line["counts"] for line in said] == [{"success": 1, "missing": 1}, {"success": 1}, {"success": 1}]
    assert sum(line["cost_usd"] for line in said) == pytest.approx(manifest.cost_usd, abs=1e-5)
    assert sum(line["standard_usd"] for line in said) == pytest.approx(manifest.standard_usd, abs=1e-5)
    assert sum(line["tokens"]["output"] for line in said) == manifest.tokens.output


def test_a_receipt_without_a_price_says_no_sum(task):
    task.finish()
    (said,) = receipts(task)
    assert (said["tokens"]["input"] > 0, "cost_usd" in said, "standard_usd" in said) == (True, False, False)


def test_a_cost_without_a_price_is_unknown_and_not_nothing(task):
    manifest = task.finish()
    assert (manifest.cost_usd, manifest.standard_usd) == (None, None)
    assert Manifest.load(manifest).to_xcom()["cost_usd"] is None


def test_answers_without_a_token_count_are_counted_and_leave_the_cost_unknown(task, gemini_emulator, caplog):
    response = {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=list("abc"), response=response)
    manifest = task.but(prices=prices).finish()
    assert (manifest.unmetered, manifest.cost_usd) == (3, None)
    assert "AGB-R06 3 answers" in caplog.text


def test_a_job_has_the_prices_of_the_day_on_which_it_ended(task, gemini_emulator):
    gemini_emulator.advance_clock(10 * 86_400)
    ended = datetime.now(timezone.utc) + timedelta(days=10)
    asked = set()

    def noted(model, day):
        asked.add(day)
        return Price(RATES, TWICE)

    task.but(prices=noted).finish()
    assert asked <= {ended.date(), (ended + timedelta(hours=1)).date()}
    assert asked
