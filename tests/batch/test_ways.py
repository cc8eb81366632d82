"""What came by jobs and what by single calls: the figures of the manifest and the lines of ``jobs.jsonl``."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal

import pytest
from upath import UPath

from airflow_provider_batch.batch.cost.receipts import no_prices
from airflow_provider_batch.batch.cost.ways import call_receipts, rescue_extra_usd, ways_of
from airflow_provider_batch.batch.decide.call_rules import CallRules
from airflow_provider_batch.batch.ledger.documents import (
    BatchPlan,
    CallTotals,
    Landed,
    RoundKind,
    RoundPlan,
    ShardPlan,
)
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.batch.ledger.state import BatchState, Round, Shard, Upload
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.rows.manifest import MAX_XCOM_BYTES, Manifest, TokenTotals, WayTotals
from airflow_provider_batch.rows.money import Price, Rates
from faults.task import ask

NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
RATES = Rates(Decimal(1), Decimal(0), Decimal(10))
TWICE = Rates(Decimal(2), Decimal(0), Decimal(20))
QUICKLY = CallRules(requests_per_minute=60_000, tokens_per_minute=10_000_000)
MILLION = TokenTotals(input=1_000_000)


def prices(model, day):
    return Price(RATES, TWICE)


def receipts(task):
    return [json.loads(line) for line in (task.folder / "jobs.jsonl").read_text().splitlines()]


@pytest.fixture
def folder(tmp_path):
    return UPath(tmp_path / "out")


@pytest.fixture
def trying(task):
    """A task of twelve rows that tries four of them."""
    rows = [ask(f"row-{number}") for number in range(12)]
    return task.but(rows=rows, trial_rows=4, calls=QUICKLY, prices=prices, may_call=True)


def test_a_trial_is_a_line_beside_that_of_the_job_and_they_add_up_to_the_manifest(trying, created):
    manifest = trying.finish()
    job, trial = receipts(trying)
    assert [job["job"]] == created()
    assert {"way", "kind", "round", "rows"} & set(job) == set()
    assert [trial[name] for name in ("way", "kind", "round", "rows", "counts")] == [
        "flex",
        "trial",
        0,
        4,
        {"success": 4},
    ]
    assert {way: totals.rows for way, totals in manifest.ways.items()} == {"batch": 8, "flex": 4}
    assert sum(totals.input for totals in manifest.ways.values()) == manifest.tokens.input
    assert manifest.ways["flex"].cost_usd == pytest.approx(trial["cost_usd"])
    assert sum(totals.cost_usd for totals in manifest.ways.values()) == pytest.approx(manifest.cost_usd, abs=1e-6)
    assert manifest.standard_usd == pytest.approx(2 * manifest.cost_usd, abs=2e-6)


def test_a_batch_without_single_calls_has_no_ways(task):
    manifest = task.but(prices=prices).finish()
    assert (manifest.ways, manifest.rescue_extra_usd, manifest.lost_calls) == (None, None, 0)
    assert len(receipts(task)) == 1


def called(*by_tier, **said):
    """Single calls that have landed."""
    said = {"counts": {"success": sum(one.rows for one in by_tier)}} | said
    return Landed(at=NOON, state=JobState.SUCCEEDED, raw_state="single calls", calls=by_tier, **said)


def totals(tier, rows, tokens=MILLION, **said):
    return CallTotals(tier=tier, rows=rows, tokens=tokens, **said)


def of_job(**said):
    said = {"counts": {"success": 6, "cancelled": 4}, "tokens": MILLION} | said
    return Landed(at=NOON, job="batches/a", state=JobState.CANCELLED, **said)


def batch(*rounds):
    """A batch whose rounds have landed.

    :param rounds: The kind of each, and what landed.
    """
    plan = ShardPlan(file="f", rows=10, size_bytes=1, content="c", tokens=1)
    numbered = []
    for number, (kind, *landed) in enumerate(rounds, 0 if rounds[0][0] is RoundKind.TRIAL else 1):
        shards = tuple(Shard(number, n, plan, (), Upload(0), one) for n, one in enumerate(landed, 1))
        said = RoundPlan(kind=kind, shards=(plan,) * len(landed), created_at=NOON, clock_from=NOON)
        numbered.append(Round(number, said, shards, None, None))
    whose = {
        "identity": Identity("dag", "task", "run"),
        "account": "a",
        "place": "p",
        "model": "m",
        "content": "c",
    }
    whole = BatchPlan(ledger_version=2, rows=10, size_bytes=1, first=numbered[0].plan, **whose)
    return BatchState(whole, 1, tuple(numbered), None)


RESCUED = batch(
    (RoundKind.BATCH, of_job()),
    (RoundKind.RESCUE, called(totals(Tier.FLEX, 3), totals(Tier.STANDARD, 1), lost_calls=2, called_again=1)),
)


def test_each_way_has_its_own_rows_tokens_and_price():
    assert ways_of(RESCUED, prices) == {
        "batch": WayTotals(rows=6, input=1_000_000, cost_usd=1.0),
        "flex": WayTotals(rows=3, input=1_000_000, cost_usd=1.0),
        "standard": WayTotals(rows=1, input=1_000_000, cost_usd=2.0),
    }


def test_what_a_rescue_costs_more_than_batch_mode_is_that_of_its_standard_calls():
    assert rescue_extra_usd(RESCUED, prices) == 1.0
    assert rescue_extra_usd(RESCUED, no_prices) is None


def test_a_trial_is_no_rescue_whatever_it_cost():
    tried = batch((RoundKind.TRIAL, called(totals(Tier.STANDARD, 4))), (RoundKind.BATCH, of_job()))
    assert rescue_extra_usd(tried, prices) is None
    assert ways_of(tried, prices)["standard"].cost_usd == 2.0


def test_the_first_line_of_a_round_has_what_belongs_to_the_round():
    flex, standard = call_receipts(RESCUED, prices)
    assert (flex.way, flex.rows, flex.counts, flex.lost_calls, flex.called_again) == (
        "flex",
        3,
        {"success": 4},
        2,
        1,
    )
    assert (standard.way, standard.rows, standard.counts, standard.lost_calls) == ("standard", 1, {}, 0)
    assert (standard.cost_usd, standard.standard_usd, standard.round) == (2.0, 2.0, 2)


def test_lost_calls_have_a_line_even_if_no_call_was_answered():
    lost = batch((RoundKind.BATCH, of_job()), (RoundKind.RESCUE, called(lost_calls=3, counts={"error": 10})))
    (line,) = call_receipts(lost, prices)
    assert (line.rows, line.lost_calls, line.cost_usd) == (0, 3, 0.0)
    assert set(ways_of(lost, prices)) == {"batch"}


def test_a_tier_that_was_assumed_and_answers_without_a_count_are_said():
    bare = totals(Tier.FLEX, 2, TokenTotals(), unmetered=2, assumed=2)
    (line,) = call_receipts(batch((RoundKind.TRIAL, called(bare)), (RoundKind.BATCH, of_job())), prices)
    assert (line.unmetered, line.assumed, line.cost_usd) == (2, 2, None)


def test_a_job_that_failed_as_a_whole_has_answered_nothing():
    failed = of_job(counts={"error": 10}, tokens=TokenTotals()).model_copy(update={"state": JobState.FAILED})
    known = batch((RoundKind.BATCH, failed), (RoundKind.RESCUE, called(totals(Tier.FLEX, 10))))
    assert set(ways_of(known, prices)) == {"flex"}


def test_a_manifest_with_all_ways_fits_into_an_xcom():
    every = WayTotals(rows=1_234_567, input=123_456_789_012, output=123_456_789_012, cost_usd=123_456.123456)
    place = "s3://a-bucket-of-some-department/labels/" + "x" * 60
    manifest = Manifest(
        job_name="batches/" + "a" * 40,
        job_count=12_345,
        model="gemini-2.5-flash-lite-preview-09-2026",
        task_mark="a" * 24,
        result_uri=f"{place}/results.parquet",
        failed_uri=f"{place}/failed.jsonl",
        quarantine_uri=f"{place}/quarantine.jsonl",
        ledger_uri=f"{place}/_ledger/{'a' * 24}/1",
        request_count=1_234_567,
        counts=dict.fromkeys(("success", "error", "blocked", "truncated", "invalid_output", "expired"), 123_456),
        tokens=TokenTotals(**dict.fromkeys(TokenTotals.model_fields, 123_456_789_012)),
        cost_usd=123_456.123456,
        standard_usd=123_456.123456,
        ways={"batch": every, "flex": every, "standard": every},
        rescue_extra_usd=123_456.123456,
        lost_calls=1_234_567,
        called_again=1_234_567,
        jobs_left_running=12_345,
        submitted_at=NOON,
        landed_at=NOON,
    )
    assert len(json.dumps(manifest.to_xcom())) < MAX_XCOM_BYTES
    assert Manifest.load(manifest.to_xcom()) == manifest


def test_a_job_that_was_not_waited_for_is_counted_in_the_manifest(task, gemini_emulator):
    gemini_emulator.add_fault(call="batches.cancel", action="status", status=200, body={}, times=None)
    late = task.but(calls=QUICKLY, prices=prices, timeout_s=3600.0, at_timeout="answer")
    late.attempt()
    gemini_emulator.force_job(late.jobs[0], state="STUCK")
    gemini_emulator.advance_clock(3605)
    late.attempt()
    gemini_emulator.advance_clock(901)
    manifest = late.finish()
    assert (manifest.counts, manifest.jobs_left_running) == ({"success": 3}, 1)
    assert manifest.ways == {"flex": WayTotals(rows=3, **_in_and_out(manifest), cost_usd=manifest.cost_usd)}
    assert manifest.rescue_extra_usd == 0.0


def _in_and_out(manifest):
    tokens = manifest.tokens
    return {"input": tokens.input, "output": tokens.output + tokens.thinking}
